"""Layers, trunks, distances, losses, frames on the device, and the forward pass over a split: what all networks share.

One unit: every training depends on all of it.
"""

from people.nn import blocks, device_frames, distances, inference, losses, pretrained, resize, resnet

__all__ = ["blocks", "device_frames", "distances", "inference", "losses", "pretrained", "resize", "resnet"]
