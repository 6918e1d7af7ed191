"""torchvision's trained weights from a local file, whose name ends in the beginning of its SHA-256; no download."""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch


def weights_file(weights: Any, file: str) -> Path:
    """The path `file`, or where it is empty that of torchvision's `weights` (an enum's entry) in torch's cache.

    Its name ends in the first eight digits of its SHA-256, as torchvision's do: other weights need another setting.
    ValueError where the file is missing or its digits are wrong.
    """
    name = weights.url.rpartition("/")[2]
    path = Path(file) if file else Path(torch.hub.get_dir(), "checkpoints", name)
    if not path.is_file():
        raise ValueError(
            f"{path} is no file: expected the weights {type(weights).__name__}.{weights.name} of torchvision, {name}; put the "
            "file there, or set its path as `weights` in params.yaml"
        )
    match = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    with path.open("rb") as stream:
        prefix = hashlib.file_digest(stream, "sha256").hexdigest()[:8]
    if not match or match[1] != prefix:
        raise ValueError(f"{path} should end in -{prefix}.pth, the beginning of its SHA-256; fetch it again, or rename it")
    return path
