"""Values as bytes: tensors, numbers, text, lists and mappings, so that equal values give equal bytes."""

import io
import sys
from collections.abc import Mapping
from typing import Any

import torch


def serialized(value: Any) -> bytes:
    """The value as a file for `torch.load(weights_only=True)`; equal values give equal bytes, however they came about."""
    buffer = io.BytesIO()
    torch.save(canonical(value), buffer)
    return buffer.getvalue()


def canonical(value: Any) -> Any:
    """A copy on the CPU that shares nothing: pickle refers to objects that occur twice, and a reloaded value has other ones."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    if isinstance(value, Mapping):
        return {canonical(name): canonical(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, str):
        return sys.intern(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return float(value) if isinstance(value, float) else int(value)  # a NumPy float would need NumPy to be unpickled
    raise ValueError(f"a state holds tensors, numbers, text, lists and mappings, got {type(value).__name__}; convert it first")
