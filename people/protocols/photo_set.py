"""Retrieval: query photos, each of which ranks a gallery of photos."""

from dataclasses import dataclass


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
