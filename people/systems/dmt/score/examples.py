"""Right and wrong answers of DMT as optical flow, and the flow of one walk of each condition in motion."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist
from torch import Tensor

from people.evaluation import ProbeSet, answers, metrics, plots
from people.evaluation.results import Results
from people.systems.dmt.score.windows import Windows

FRAMES_SHOWN, ENLARGED, COLUMNS = 2, 2, 3
WALKS = "flow_walks"


def add(
    windows: Windows,
    names: np.ndarray,
    probe_sets: Sequence[ProbeSet],
    flow_px: Callable[[Int[np.ndarray, " window"]], Float[Tensor, "window channel height width"]],
    results: Results,
) -> None:
    """Pictures of answers by the nearest mean signature, and an animation.

    `names`: of the condition of each clip; `flow_px`: of windows, in pixels a frame.
    """
    signature, subjects = metrics.group_mean(windows.signature, windows.clip), windows.clips["subject_id"].to_numpy(str)
    found = []
    for probe_set in probe_sets:
        gallery, probes = windows.rows(probe_set.gallery), answers.spread(windows.rows(probe_set.probes))
        found += answers.decide(cdist(signature[probes], signature[gallery]), probes, gallery, subjects)
    middle = [int(rows[len(rows) // 2]) for rows in (np.flatnonzero(windows.clip == clip) for clip in range(len(subjects)))]
    walks = [middle[int(np.flatnonzero(names == name)[0])] for name in dict.fromkeys(names)]
    moving = flow_px(np.array(walks)).unflatten(1, (-1, 2)).numpy()
    full_px = float(np.percentile([np.hypot(walk[:, 0], walk[:, 1]).max() for walk in moving], 50))

    def picture(clip: int) -> plots.Picture:
        maps = flow_px(np.array([middle[clip]]))[0].unflatten(0, (-1, 2)).numpy()
        chosen = np.linspace(0, len(maps) - 1, min(FRAMES_SHOWN, len(maps))).round().astype(int)
        return np.concatenate([plots.flow_colours(maps[frame], full_px) for frame in chosen], axis=1)

    answers.add(results, found, [f"{subject}, {name}" for subject, name in zip(subjects, names, strict=True)], picture)
    results.animations[WALKS] = np.stack(
        [
            plots.tiled([plots.enlarged(plots.flow_colours(walk[frame], full_px), ENLARGED) for walk in moving], COLUMNS)
            for frame in range(moving.shape[1])
        ]
    )
