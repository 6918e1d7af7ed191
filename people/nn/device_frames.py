"""Which frames of a packed store a sample has, and frames as one tensor on a device, from which batches are gathered there."""

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

NO_FRAME = -1  # a row that stands for a frame of zeros
COPY_BYTES = 2**26  # copied at once: bounds the host's memory


class DeviceFrames:
    """The frames of some clips of a field, end to end in one tensor on a device, and a frame of zeros behind them.

    `starts`, which rise, and `lengths` say which rows of the field the clips are; no others are copied. The tensor is `values`
    (frame, ...), of the field's number type.
    """

    def __init__(
        self,
        field: Shaped[np.ndarray, "_ ..."],
        starts: Int[np.ndarray, " clip"],
        lengths: Int[np.ndarray, " clip"],
        device: torch.device,
    ) -> None:
        self.device, self._starts = device, starts
        self._offsets = np.cumsum(lengths) - lengths - starts  # from a row of the field to one of `values`, by clip
        count = int(lengths.sum())
        rows = np.arange(count) - np.repeat(self._offsets, lengths)
        dtype = torch.from_numpy(np.empty(0, field.dtype)).dtype
        self.values = torch.zeros((count + 1, *field.shape[1:]), dtype=dtype, device=device)
        for part, copied in zip(rows_at_once(rows, field), rows_at_once(np.arange(count), field), strict=True):
            self.values[copied[0] : copied[-1] + 1] = torch.from_numpy(field[part])

    def places(self, rows: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Where in `values` these rows of the field are; `NO_FRAME` is the frame of zeros."""
        clip = np.searchsorted(self._starts, rows, side="right") - 1
        return np.where(rows == NO_FRAME, len(self.values) - 1, rows + self._offsets[clip])

    def take(self, rows: Int[np.ndarray, "*shape"]) -> Shaped[Tensor, "*shape_and_frame"]:
        """The frames at these rows of the field, on the device."""
        return self.values[on_device(self.places(rows), self.device)]


def clip_rows(start: int, length: int, count: int, generator: np.random.Generator | None) -> Int[np.ndarray, " frame"]:
    """The frames of a sample as rows of a field: all of a clip's, or with a `generator` `count` consecutive ones from a random
    start; a clip that is shorter than a sample is repeated from its beginning.
    """
    if generator is None:
        return start + np.arange(length)
    first = int(generator.integers(length - count + 1 if length > count else length))
    return start + (first + np.arange(count)) % length


def rows_at_once(rows: Int[np.ndarray, " _"], field: np.ndarray) -> list[Int[np.ndarray, " _"]]:
    """The rows in parts of at most `COPY_BYTES` of the field, or of one row."""
    size = max(1, COPY_BYTES // frame_bytes(field))
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def frame_bytes(field: Shaped[np.ndarray, "_ ..."]) -> int:
    """The size of one frame of a field in bytes."""
    return field.itemsize * int(np.prod(field.shape[1:], dtype=np.int64))


def on_device(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """A small array on a device, sent to a GPU from pinned memory, so that the host does not wait until it has arrived."""
    tensor = torch.as_tensor(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
