"""A small rendered archive of CASIA-B: one person each to train, validate and test."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd

from people.datasets import casiab
from people.records import Split
from people.synth.motion import parametric
from people.synth.render import render


def write(folder: Path, size_hw: tuple[int, int] = (48, 64), sequences: int | None = None) -> pd.DataFrame:
    """Write the archive, or its first sequences, below a folder; returns its index."""
    motions = parametric.motions(3, walks=len(casiab.SEQUENCES), frames=10, frame_rate_hz=25.0, seed=4)
    subjects: dict[Split, int] = {"train": 1, "validation": 1, "test": 1}
    takes = list(casiab.plan(motions, subjects=subjects, frames_per_sequence=10, views_deg=[54], seed=4))[:sequences]
    with ThreadPoolExecutor(2) as executor:
        casiab.write(folder / "raw", takes, partial(render, size_hw=size_hw), jpeg_quality=90, executor=executor)
    return casiab.read(folder / "raw")
