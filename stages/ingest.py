"""Writes a dataset's index, read from its official layout: an official archive, or people rendered into that layout.

python -m stages.ingest tumgaid
"""

import json
import logging
from functools import partial
from pathlib import Path

from tqdm import tqdm

from people import datasets
from people.config import Block
from people.layouts import contents
from people.records import Motion, Scene
from people.synth import motion
from people.synth.motion import WalkRequest
from people.synth.render import render
from people.synth.scenes import render_scene
from stages.shared.archives import hashing, link, place, refuse_unseen_links
from stages.shared.executors import pool
from stages.shared.project import argument, output, params

UNREAD_LISTED = 3
RENDERING_KEYS = {
    "source",
    "archive",
    "frame_rate_hz",
    "size_hw",
    "jpeg_quality",
    "variation",
}  # the rest of a block is its dataset's plan


def main(key: str) -> None:
    dataset, block = datasets.find(key), params("datasets", key)
    refuse_unseen_links(key, block["archive"])
    root = raw = Path("data/raw", key)
    with output(raw) as folder:
        motions = walks(key, block)
        if motions is None:
            root = link(key, place(key, block["archive"]))
            folder.mkdir()
            (folder / "source.json").write_text(json.dumps({"source": block["source"]}, indent=1) + "\n")
        else:
            write(key, folder, motions, block)
    with output(Path("data/index", key)) as folder, hashing() as (known, run):
        folder.mkdir()
        clips = dataset.read(root)
        clips["content"] = contents.of_clips(root, clips, known, run)
        clips.to_csv(folder / "clips.csv", index=False)
    print(f"{key}: {len(clips)} clips of {clips['subject_id'].nunique()} subjects in data/index/{key}/clips.csv")
    if root != raw and (unread := contents.unread(root, clips)):
        print(f"{key}: left unread: {len(unread)} files, e.g. {', '.join(unread[:UNREAD_LISTED])}")


def walks(key: str, block: Block) -> list[Motion] | None:
    """Walks from the dataset's source, one for every sequence; None where the archive has frames."""
    dataset, source = datasets.find(key), motion.find(block["source"])
    if source.walks is None:
        return None
    if not hasattr(dataset, "plan"):
        raise ValueError(f"nobody is rendered into the layout of {key}; set datasets.{key}.source to official in params.yaml")
    request = WalkRequest(
        archive=place(key, block["archive"]),
        people=sum(block["subjects"][split] for split in ("train", "validation", "test")),
        walks=len(dataset.SEQUENCES),
        frames=block["frames_per_sequence"],
        frame_rate_hz=float(block["frame_rate_hz"]),
        seed=params("seed"),
        variation=block.get("variation"),
        speeds=getattr(dataset, "SPEEDS", ()),
    )
    return source.walks(request)


def write(key: str, folder: Path, motions: list[Motion], block: Block) -> None:
    """Render people with these motions into the dataset's official layout."""
    dataset = datasets.find(key)
    plan = {name: value for name, value in block.items() if name not in RENDERING_KEYS}
    takes = dataset.plan(motions, **plan, seed=params("seed"))
    people = len({take.subject_id for take in takes})
    with pool() as (executor, _), tqdm(total=people, desc=f"rendering {key}", unit="person", mininterval=1.0) as bar:
        renderer = render_scene if isinstance(takes[0], Scene) else render
        render_take = partial(renderer, size_hw=tuple(block["size_hw"]))
        dataset.write(folder, takes, render_take, jpeg_quality=block["jpeg_quality"], executor=executor, done=bar.update)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    main(argument("dataset", __doc__))
