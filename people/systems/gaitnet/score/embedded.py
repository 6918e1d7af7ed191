"""The test clips with what the network says of them, and what is known of their frames."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from people.evaluation.crossview import ViewedClips
from people.storage.store import Store

PREFIXES = 16  # lengths at which a score is read


@dataclass(frozen=True, eq=False)
class Embedded:
    """The clips of the test split; what belongs to frames is a list with an array for each clip.

    `embedding`: the gait feature of all frames, of unit length; `energy`: the gait energy image (mean mask), flat.
    `prefixes` (frame, channel), the gait feature of the first t frames, `gait` and `appearance` (frame, code): lists that are
    empty where the network has no such output. `pictures` (frame, height, width, 3) uint8, `masks` (frame, height, width) uint8
    and `keypoints` (frame, 17, 3), in pixels and zeros where the dataset has none, as the store holds them.
    """

    clips: pd.DataFrame
    embedding: Float[Tensor, "clip channel"]
    energy: Float[Tensor, "clip pixel"]
    prefixes: list[Float[np.ndarray, "_ channel"]]
    gait: list[Float[np.ndarray, "_ gait_code"]]
    appearance: list[Float[np.ndarray, "_ appearance_code"]]
    pictures: list[np.ndarray]
    masks: list[np.ndarray]
    keypoints: list[np.ndarray]

    @staticmethod
    def build(
        clips: pd.DataFrame, embedding: Float[Tensor, "clip channel"], by_frame: dict[str, list[Tensor]], store: Store
    ) -> "Embedded":
        """Without the padding behind the clips' ends, and with what the store holds of their frames."""
        rows = [slice(start, start + length) for start, length in zip(clips["start"], clips["length"], strict=True)]
        stored = {name: [np.asarray(store.field(name)[part]) for part in rows] for name in ("foreground", "mask", "keypoints")}
        arrays = {
            name: [values[:length].numpy() for values, length in zip(by_frame.get(name, []), clips["length"], strict=False)]
            for name in ("prefixes", "gait", "appearance")
        }
        energy = torch.from_numpy(np.stack([mask.mean(axis=0).ravel() / 255 for mask in stored["mask"]]).astype(np.float32))
        pictures, masks, keypoints = (stored[name] for name in ("foreground", "mask", "keypoints"))
        return Embedded(clips, embedding, energy, **arrays, pictures=pictures, masks=masks, keypoints=keypoints)

    def rows(self, clip_ids: tuple[str, ...]) -> Int[np.ndarray, " row"]:
        """The places of these clips."""
        return pd.Index(self.clips["clip_id"]).get_indexer(list(clip_ids))

    def subjects(self, rows: Int[np.ndarray, " row"]) -> np.ndarray:
        """Whose these clips are."""
        return self.clips["subject_id"].to_numpy(str)[rows]

    def viewed(self, values: Float[Tensor, "clip channel"], rows: Int[np.ndarray, " row"]) -> ViewedClips:
        """These clips by `values`, the embedding or the energy images of all, as one strip: two vectors of unit length are in
        the same order by Euclidean distance as by cosine.
        """
        clips = self.clips.iloc[rows]
        subject, view_deg = clips["subject_id"].to_numpy(str), clips["view_deg"].to_numpy(float)
        return ViewedClips(values[torch.from_numpy(rows)][:, None], subject, view_deg)

    def seen(self, rows: Int[np.ndarray, " row"], frames: int) -> ViewedClips:
        """These clips by the gait feature of their first `frames` frames."""
        clips = self.clips.iloc[rows]
        subject, view_deg = clips["subject_id"].to_numpy(str), clips["view_deg"].to_numpy(float)
        return ViewedClips(torch.from_numpy(self.features(rows, frames))[:, None], subject, view_deg)

    def frame_counts(self, rows: Int[np.ndarray, " row"]) -> list[int]:
        """Numbers of frames at which a score is read, up to the longest of these clips, spread evenly by their logarithm."""
        longest = max(len(self.prefixes[row]) for row in rows)
        return np.unique(np.geomspace(1, longest, PREFIXES).round().astype(int)).tolist()

    def features(self, rows: Int[np.ndarray, " row"], frames: int) -> Float[np.ndarray, "row channel"]:
        """The gait features of these clips' first `frames` frames, or of all where a clip is shorter, of unit length."""
        chosen = np.stack([self.prefixes[row][min(frames, len(self.prefixes[row])) - 1] for row in rows])
        return chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-12)
