"""Pictures that the network makes: reconstructions, and one person's appearance with another's gait."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from people.evaluation import plots
from people.evaluation.results import Results
from people.nn.inference import to_device
from people.systems.gaitnet import data
from people.systems.gaitnet.model import Frames
from people.systems.gaitnet.score.embedded import Embedded
from people.training.system import Spec, Statistics

PEOPLE_SHOWN, FRAMES_SHOWN, ENLARGED = 5, 8, 2


@torch.no_grad()
def add(
    network: nn.Module, samples: data.Samples, spec: Spec, statistics: Statistics, embedded: Embedded, results: Results
) -> None:
    """A grid and an animation of swapped codes, and reconstructions; nothing where the network has no decoder."""
    if getattr(network, "decoder", None) is None:
        return
    made: Any = network
    device = next(network.parameters()).device

    def batch(rows: list[int]) -> dict[str, Tensor]:
        return to_device(samples.batch(rows, spec=spec, statistics=statistics, augment=None), device)

    subject = embedded.clips["subject_id"].to_numpy(str)
    several = embedded.clips.groupby("subject_id")["condition"].nunique().idxmax()
    of_one = np.flatnonzero(subject == several)
    conditions = embedded.clips["condition"].to_numpy(str)
    shown = [int(of_one[np.flatnonzero(conditions[of_one] == name)[0]]) for name in dict.fromkeys(conditions[of_one])]
    rows = []
    for row in shown:
        inputs = batch([row])
        outputs = made(inputs)
        chosen = _spread(int(inputs["length"][0]), FRAMES_SHOWN)
        pair = [values[0][chosen] for values in (inputs["foreground"], outputs["pictures"])]
        rows.append(plots.tiled(_rgb(torch.cat(pair)), columns=FRAMES_SHOWN))
    results.pictures["reconstructions"] = plots.labelled(rows, [conditions[row] for row in shown], margin_px=90)
    first = [int(np.flatnonzero(subject == name)[0]) for name in dict.fromkeys(subject)]
    people = [first[index] for index in _spread(len(first), PEOPLE_SHOWN)]
    frames = swapped(made, batch(people))
    results.pictures["swapped"] = frames[len(frames) // 2]
    results.animations["swapped_walks"] = frames


def swapped(network: Any, batch: dict[str, Tensor]) -> UInt8[np.ndarray, "frame height width 3"]:
    """For every frame a grid: the appearance of the person at the left, taken from the clip's middle frame, walks with the gait
    of the person above; the originals are in the first row and the first column.
    """
    count, frames = len(batch["length"]), int(batch["length"].min())
    outputs = network(batch)
    rows = torch.arange(count, device=batch["length"].device)
    middle = batch["appearance_frame"]
    appearance, gait = outputs["appearance"][rows, middle], outputs["gait"][:, :frames]
    whole = Frames.of(torch.full((count * count,), frames, device=gait.device), frames)
    pairs = network.decode(
        appearance.repeat_interleave(count, 0)[:, None].expand(-1, frames, -1), gait.repeat(count, 1, 1), whole
    )
    sheets = []
    for frame in range(frames):
        originals = batch["foreground"][:, frame]
        lines = [torch.ones_like(originals[:1]), originals]
        for person in range(count):
            lines += [
                batch["foreground"][person : person + 1, middle[person]],
                pairs[person * count : (person + 1) * count, frame],
            ]
        sheets.append(plots.tiled(_rgb(torch.cat(lines)), columns=count + 1))
    return np.stack(sheets)


def _spread(count: int, shown: int) -> list[int]:
    return np.linspace(0, count - 1, min(count, shown)).round().astype(int).tolist()


def _rgb(pictures: Float[Tensor, "picture 3 height width"]) -> list[plots.Picture]:
    images = pictures.float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [plots.enlarged(image, ENLARGED) for image in images]
