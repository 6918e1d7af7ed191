"""Trained weights from local files, whose names end in the beginning of their SHA-256, as torchvision's do; no download."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import torch

_FOREIGN = ("Weights only load failed", "weights_only")  # of torch's message for an object, a TorchScript or a tar file


class Published(NamedTuple):
    """A published file: its name in torch's cache, such as `resnet18-f37072fd.pth`, what it is, and what to do without it."""

    name: str
    title: str
    remedy: str


def of_torchvision(weights: Any) -> Published:
    """The file of torchvision's `weights`, an enum's entry."""
    title = f"the weights {type(weights).__name__}.{weights.name} of torchvision"
    remedy = "put the file there (python -m stages.models list says how), or set its path as `weights` in params.yaml"
    return Published(weights.url.rpartition("/")[2], title, remedy)


def cached(name: str) -> Path:
    """Where a published file of this name lies, or belongs: in torch's cache of downloaded weights."""
    return Path(torch.hub.get_dir(), "checkpoints", name)


def weights_file(published: Published, file: str) -> Path:
    """The path `file`, or where it is empty that of the published file in torch's cache.

    Its name ends in the first eight digits of its SHA-256: other weights need another setting. ValueError where the file is
    missing or its digits are wrong.
    """
    path = Path(file) if file else cached(published.name)
    if not path.is_file():
        raise ValueError(f"{path} is no file: expected {published.title}, {published.name}; {published.remedy}")
    with path.open("rb") as stream:
        prefix = hashlib.file_digest(stream, "sha256").hexdigest()[:8]
    if not path.stem.endswith(f"-{prefix}"):
        raise ValueError(
            f"{path} should end in -{prefix}{path.suffix}, the beginning of its SHA-256; fetch it again, or rename it"
        )
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
