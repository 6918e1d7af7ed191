"""torchvision's trained weights from a local file, whose name ends in the beginning of its SHA-256; no download."""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch

_FOREIGN = ("Weights only load failed", "weights_only")  # of torch's message for an object, a TorchScript or a tar file


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


def read_tensors(path: Path) -> Any:
    """The tensors and plain values of a file of torch's, on the CPU; a ValueError says why it cannot be read.

    A file with any other Python object is refused: loading that could run code which the file brings along.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged bytes raises anything
        message = str(error)
        if any(words in message for words in _FOREIGN):  # the advice to load the file all the same is not repeated
            raise ValueError("it holds other Python objects than tensors and plain values") from None
        raise ValueError((message.splitlines() or [type(error).__name__])[0]) from error
