"""The network's outputs for every window of a split, computed once for all metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import nn

from people.evaluation import finite
from people.nn.inference import joined, over_split
from people.systems.dmt import data
from people.training.system import Spec, Statistics


@dataclass(frozen=True, eq=False)
class Windows:
    """The outputs for every window of a split, `clip` being the window's row in `clips`, and each clip's mean flow.

    Gender and age are None where the network has no such head.
    """

    clips: pd.DataFrame
    clip: Int[np.ndarray, " window"]
    signature: Float[np.ndarray, "window channel"]
    gender_probability: Float[np.ndarray, "window 2"] | None
    age_years: Float[np.ndarray, " window"] | None
    mean_flow: Float[np.ndarray, "clip element"]

    def select_clips(self, rows: Int[np.ndarray, " clip"]) -> tuple[Int[np.ndarray, " window"], Int[np.ndarray, " window"]]:
        """The windows of these clips, and for each the position of its clip in `rows`."""
        position = np.full(len(self.clips), -1)
        position[rows] = np.arange(len(rows))
        windows = np.flatnonzero(position[self.clip] >= 0)
        return windows, position[self.clip[windows]]

    def rows(self, clip_ids: Sequence[str]) -> Int[np.ndarray, " clip"]:
        """The rows of these clips in `clips`."""
        return pd.Index(self.clips["clip_id"]).get_indexer(list(clip_ids))

    def subjects(self, rows: Int[np.ndarray, " clip"]) -> np.ndarray:
        """The subjects of these rows of `clips`."""
        return self.clips["subject_id"].to_numpy(dtype=str)[rows]


def extract(network: nn.Module, samples: data.Samples, spec: Spec, statistics: Statistics, batch_size: int) -> Windows:
    """One pass over all windows: signatures, heads' outputs, and each clip's mean flow; what is not finite is refused."""
    clip, clips = samples.targets(spec)["clip"].numpy(), samples.clips
    parts, flows, done = [], torch.zeros(0), 0
    for outputs, batch in over_split(network, samples, spec, statistics, batch_size):
        flow = batch["flow"].unflatten(1, (-1, 2)).mean(1).flatten(1).double().cpu()
        flows = flows if len(flows) else torch.zeros(len(clips), flow.shape[1], dtype=torch.float64)
        flows.index_add_(0, torch.from_numpy(clip[done : done + len(flow)]), flow)
        done += len(flow)
        parts.append({name: value.cpu() for name, value in outputs.items() if name != "identity"})
    outputs, clip_ids = joined(parts), clips["clip_id"].to_numpy(str)
    finite.check_outputs("dmt", {"mean flow": flows}, clip_ids)
    finite.check_outputs("dmt", outputs, clip_ids[clip])
    return Windows(
        clips=clips,
        clip=clip,
        signature=outputs["signature"].numpy(),
        gender_probability=outputs["gender"].double().softmax(1).numpy() if "gender" in outputs else None,
        age_years=outputs["age_years"].double().numpy() if "age_years" in outputs else None,
        mean_flow=flows.numpy() / np.bincount(clip, minlength=len(clips))[:, None],
    )
