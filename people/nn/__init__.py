"""Layers and trunks that networks share. One unit: every training depends on all of it."""

from people.nn import blocks, pretrained, resize, resnet

__all__ = ["blocks", "pretrained", "resize", "resnet"]
