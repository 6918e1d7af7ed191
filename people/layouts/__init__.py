"""Code that several datasets share: files of images and videos, many views, archives, splits. One unit."""

from people.layouts import archives, image_files, motion, multi_view, multi_view_files, split_assignment, video_files

__all__ = ["archives", "image_files", "motion", "multi_view", "multi_view_files", "split_assignment", "video_files"]
