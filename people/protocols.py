"""Who is compared with whom: what a dataset's protocol says of a split. Only evaluation reads it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProbeSet:
    """One column of a protocol's table: the clips that are enrolled and the clips to be identified against them."""

    name: str
    group: str
    gallery: tuple[str, ...]
    probes: tuple[str, ...]


@dataclass(frozen=True)
class PhotoSet:
    """One protocol over photos: every query (a clip_id) ranks the gallery without itself.

    With `same_camera_removed`, also without the photos of its own person by its own camera, as Market-1501's official
    evaluation.
    """

    name: str
    queries: tuple[str, ...]
    gallery: tuple[str, ...]
    same_camera_removed: bool
