"""Deterministic serialization of tensors, numbers, text, lists and mappings: equal values give equal bytes."""

import io
import sys
from collections.abc import Mapping
from typing import Any

import torch


def serialize(value: Any) -> bytes:
    """The value as a file for `torch.load(weights_only=True)`; equal values give equal bytes, whatever their origin."""
    buffer = io.BytesIO()
    serialize_to(buffer, value)
    return buffer.getvalue()


def serialize_to(file: Any, value: Any) -> None:
    """The same written to a file, piece by piece."""
    torch.save(canonical(value), file)


def canonical(value: Any) -> Any:
    """A copy on the CPU without shared objects: pickle refers to an object that occurs twice, bytes would differ."""
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
