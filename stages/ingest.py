"""A dataset's index, read from its official layout: recordings as they are, or people rendered into that layout first.

python -m stages.ingest tumgaid
"""

import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from people import datasets
from people.records import Motion
from people.synth import walker
from people.synth.render import render
from stages.common import output, params
from stages.executors import pool

RENDERING = {"source", "archive", "frame_rate_hz", "size_hw", "jpeg_quality"}  # the rest of a block is its dataset's plan


def main(key: str) -> None:
    dataset, block = datasets.find(key), params("datasets", key)
    raw = Path("data/raw", key)
    with output(raw) as folder:
        if block["source"] == "official":
            folder.mkdir()
            (folder / "source.json").write_text(
                json.dumps({"source": "official", "archive": block["archive"]}, indent=1) + "\n"
            )
        else:
            plan = {name: value for name, value in block.items() if name not in RENDERING}
            takes = dataset.plan(motions(block, len(dataset.SEQUENCES)), **plan, seed=params("seed"))
            people = len({take.subject_id for take in takes})
            with pool() as (executor, _), tqdm(total=people, desc=f"rendering {key}", unit="person", mininterval=1.0) as bar:
                paint = partial(render, size_hw=tuple(block["size_hw"]))
                dataset.write(folder, takes, paint, jpeg_quality=block["jpeg_quality"], executor=executor, done=bar.update)
    with output(Path("data/index", key)) as folder:
        folder.mkdir()
        clips = dataset.read(Path(block["archive"]) if block["source"] == "official" else raw)
        clips.to_csv(folder / "clips.csv", index=False)
    print(f"{key}: {len(clips)} clips of {clips['subject_id'].nunique()} subjects in data/index/{key}/clips.csv")


def motions(block: dict[str, Any], sequences: int) -> list[Motion]:
    """Walks from the source: a motion archive's reader, or the parametric walker, one walk for every sequence."""
    if block["source"] != "parametric":
        return datasets.find(block["source"]).read(Path(block["archive"]), frame_rate_hz=float(block["frame_rate_hz"]))
    count = sum(block["subjects"][split] for split in ("train", "validation", "test"))
    frames, frame_rate_hz = block["frames_per_sequence"], float(block["frame_rate_hz"])
    return walker.motions(count, walks=sequences, frames=frames, frame_rate_hz=frame_rate_hz, seed=params("seed"))


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    main(sys.argv[1])
