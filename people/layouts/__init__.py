"""Code that several datasets share: files of images and videos, many views, archives, splits. One unit."""

from people.layouts import (
    archives,
    contents,
    files,
    image_files,
    image_sets,
    limits,
    matlab,
    motion,
    multi_view,
    multi_view_files,
    speeds,
    split_assignment,
    video_containers,
    video_files,
    zip_files,
)

__all__ = [
    "archives",
    "contents",
    "files",
    "image_files",
    "image_sets",
    "limits",
    "matlab",
    "motion",
    "multi_view",
    "multi_view_files",
    "speeds",
    "split_assignment",
    "video_containers",
    "video_files",
    "zip_files",
]
