"""Layers, trunks and distances that networks share. One unit: every training depends on all of it."""

from people.nn import blocks, distances, pretrained, resize, resnet

__all__ = ["blocks", "distances", "pretrained", "resize", "resnet"]
