"""Detection and pose estimation: images on which what is found is compared with what is labelled."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSet:
    """One row of a protocol's table: the images (clip_ids) over which precision and recall are averaged."""

    name: str
    images: tuple[str, ...]
