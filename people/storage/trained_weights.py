"""Weights that torchvision trained, from a file: nothing is downloaded, and a file says by its name which weights it holds."""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch


def weights_file(weights: Any, named: str) -> Path:
    """The weights file `named`, or where none is, that of torchvision's `weights` (an enum's entry) in torch's cache.

    Its name ends in the first eight digits of its SHA-256, as torchvision's do: weights that change change a parameter.
    """
    usual = weights.url.rpartition("/")[2]
    path = Path(named) if named else Path(torch.hub.get_dir(), "checkpoints", usual)
    if not path.is_file():
        raise ValueError(
            f"{path} is no file: expected the weights {type(weights).__name__}.{weights.name} of torchvision, {usual}; put the "
            "file there, or name its place with `weights` in params.yaml"
        )
    found = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    with path.open("rb") as file:
        begins = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    if not found or found[1] != begins:
        raise ValueError(f"{path} should end in -{begins}.pth, the beginning of its SHA-256; fetch it again, or rename it")
    return path
