"""What the network says of every window of a split, kept once and judged many ways."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Windows:
    """What the network says of every window of a split, `clip` being the window's row in `clips`, and each clip's mean flow."""

    clips: pd.DataFrame
    clip: Int[np.ndarray, " window"]
    signature: Float[np.ndarray, "window channel"]
    gender_probability: Float[np.ndarray, "window 2"]
    age_years: Float[np.ndarray, " window"]
    mean_flow: Float[np.ndarray, "clip element"]

    def of(self, rows: Int[np.ndarray, " clip"]) -> tuple[Int[np.ndarray, " window"], Int[np.ndarray, " window"]]:
        """The windows of these clips, and for each the place of its clip in `rows`."""
        place = np.full(len(self.clips), -1)
        place[rows] = np.arange(len(rows))
        windows = np.flatnonzero(place[self.clip] >= 0)
        return windows, place[self.clip[windows]]

    def rows(self, clip_ids: Sequence[str]) -> Int[np.ndarray, " clip"]:
        return pd.Index(self.clips["clip_id"]).get_indexer(list(clip_ids))

    def subjects(self, rows: Int[np.ndarray, " clip"]) -> np.ndarray:
        return self.clips["subject_id"].to_numpy(dtype=str)[rows]


@torch.no_grad()
def extract(
    network: nn.Module,
    clips: pd.DataFrame,
    clip: Int[np.ndarray, " window"],
    batch: Callable[[Int[np.ndarray, " window"]], dict[str, Tensor]],
    batch_size: int,
) -> Windows:
    """One pass over all windows: signatures, heads' outputs, and the mean over frames of the flow that went in."""
    network.eval()
    outputs: dict[str, list[Tensor]] = {"signature": [], "gender": [], "age_years": []}
    flows = torch.zeros(0)
    for rows in np.split(np.arange(len(clip)), range(batch_size, len(clip), batch_size)):
        made = batch(rows)
        flow = made["flow"].unflatten(1, (-1, 2)).mean(1).flatten(1).double().cpu()
        flows = flows if len(flows) else torch.zeros(len(clips), flow.shape[1], dtype=torch.float64)
        flows.index_add_(0, torch.from_numpy(clip[rows]), flow)
        for name, value in network(made).items():
            if name in outputs:
                outputs[name].append(value.float().cpu())
    joined = {name: torch.cat(values) for name, values in outputs.items()}
    return Windows(
        clips=clips,
        clip=clip,
        signature=joined["signature"].numpy(),
        gender_probability=joined["gender"].double().softmax(1).numpy(),
        age_years=joined["age_years"].double().numpy(),
        mean_flow=flows.numpy() / np.bincount(clip, minlength=len(clips))[:, None],
    )
