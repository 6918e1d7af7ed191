"""Right and wrong answers of GaitNet: the middle frame of the probe and of gallery clips."""

from collections.abc import Sequence

import numpy as np

from people.evaluation import ProbeSet, answers, plots
from people.evaluation.results import Results
from people.systems.gaitnet.score.embedded import Embedded

ENLARGED = 2
ACROSS_VIEWS = "cross_view"  # the group of probe sets without the probe's own person and view


def add(embedded: Embedded, probe_sets: Sequence[ProbeSet], results: Results) -> None:
    """Pictures of answers by the cosine of gait features, against the gallery of each probe set.

    Across views clips of the probe's own person and view are left out.
    """
    subjects, view_deg = embedded.clips["subject_id"].to_numpy(str), embedded.clips["view_deg"].to_numpy(float)
    feature, found = embedded.embedding.numpy().astype(float), []
    for probe_set in probe_sets:
        gallery, probes = embedded.rows(probe_set.gallery), answers.spread(embedded.rows(probe_set.probes))
        distance = 1 - feature[probes] @ feature[gallery].T
        if probe_set.group == ACROSS_VIEWS:
            is_own = subjects[probes][:, None] == subjects[gallery]
            distance[is_own & (view_deg[probes][:, None] == view_deg[gallery])] = np.inf
        found += answers.decide(distance, probes, gallery, subjects)
    labels = [f"{subject}, {name}" for subject, name in zip(subjects, embedded.clips["condition"], strict=True)]
    answers.add(results, found, labels, lambda clip: middle(embedded.pictures[clip]))


def middle(frames_rgb: np.ndarray) -> plots.Picture:
    """The middle frame of a clip."""
    return plots.enlarged(frames_rgb[len(frames_rgb) // 2], ENLARGED)
