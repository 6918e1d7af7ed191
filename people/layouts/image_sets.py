"""Protocols of datasets in which images have any number of labelled people."""

from typing import Any

import pandas as pd

SPARSE_PEOPLE = 2  # at most; an image with more is crowded


def by_person_count(clips: pd.DataFrame, split: str) -> list[Any]:
    """`all` images of a split, with people or without; `sparse` with one or two people, `crowded` with three and more.

    Those without any image are left out.
    """
    from people.protocols.image_set import ImageSet  # here, so that reading a dataset does not depend on protocols

    columns = (clips[name] for name in ("clip_id", "person_count", "split"))
    rows = sorted(row for row in zip(*columns, strict=True) if row[2] == split)
    if not rows:
        splits = sorted(set(clips["split"].dropna()))
        raise ValueError(f"expected images of split {split!r}, the index has those of {splits}; choose one of them")
    sets = {
        "all": tuple(clip for clip, *_ in rows),
        "sparse": tuple(clip for clip, count, _ in rows if 1 <= count <= SPARSE_PEOPLE),
        "crowded": tuple(clip for clip, count, _ in rows if count > SPARSE_PEOPLE),
    }
    return [ImageSet(name, images) for name, images in sets.items() if images]
