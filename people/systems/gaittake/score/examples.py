"""Right and wrong answers of GaitTAKE as gait energy images, and one person's silhouettes in motion."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from people.evaluation import ProbeSet, answers, plots
from people.evaluation.results import Results
from people.nn import distances

HEIGHT_PX = 128
WALKS = "silhouette_walks"


def add(
    clips: pd.DataFrame,
    embedding: Float[Tensor, "clip strip channel"],
    energy: Float[Tensor, "clip height width"],
    probe_sets: Sequence[ProbeSet],
    results: Results,
) -> None:
    """Pictures of answers with one gallery of all views, of which clips of the probe's own person and view are left out."""
    subjects, view_deg = clips["subject_id"].to_numpy(str), clips["view_deg"].to_numpy(float)
    found = []
    for probe_set in probe_sets:
        gallery, probes = (rows(clips, each) for each in (probe_set.gallery, probe_set.probes))
        probes = answers.spread(probes)
        distance = distances.mean_strip_distance(embedding[probes], embedding[gallery]).numpy().astype(float)
        is_same = (subjects[probes][:, None] == subjects[gallery]) & (view_deg[probes][:, None] == view_deg[gallery])
        found += answers.decide(np.where(is_same, np.inf, distance), probes, gallery, subjects)
    labels = [f"{row['subject_id']}, {row['condition'].upper()}, {row['view_deg']:g} deg" for row in clips.to_dict("records")]
    factor = max(1, HEIGHT_PX // energy.shape[1])
    answers.add(results, found, labels, lambda clip: grey(energy[clip], factor))


def rows(clips: pd.DataFrame, clip_ids: Sequence[str]) -> Int[np.ndarray, " row"]:
    """The rows of these clips in the index."""
    return pd.Index(clips["clip_id"]).get_indexer(list(clip_ids))


def grey(image: Float[Tensor, "height width"], factor: int) -> plots.Picture:
    """A map of values in [0, 1], enlarged."""
    return plots.with_keypoints(image.numpy(), np.zeros((0, 3), np.float32), factor)


def walks(batch: Callable[[int], dict[str, Tensor]], shown: Sequence[int]) -> UInt8[np.ndarray, "frame height width 3"]:
    """The silhouettes with keypoints of these clips side by side, as long as the shortest. `batch`: of one clip."""
    batches = [batch(clip) for clip in shown]
    length = min(int(each["length"]) for each in batches)
    factor = max(1, HEIGHT_PX // batches[0]["silhouette"].shape[2])
    frames = [
        [
            plots.with_keypoints(each["silhouette"][0, frame].numpy(), each["keypoints"][0, frame].numpy(), factor)
            for each in batches
        ]
        for frame in range(length)
    ]
    return np.stack([plots.tiled(pictures, columns=len(pictures), gap=4) for pictures in frames])
