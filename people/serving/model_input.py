"""What a registered model is asked: named arrays, prepared for the network or raw pictures, which are checked here."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32, UInt8

from people.training.system import Shapes

MAX_PICTURES = 500  # of a raw array: 20 s of walk at 25 Hz; bounds the network's memory
MAX_RAW_BYTES = 512 << 20  # of all raw arrays of a request, as uint8 with three channels: 500 frames of 480 x 640 are 439 MiB
MIN_SIDE_PX = 8
WHOLE_NUMBERS = "whole numbers from 0 to 255"


class Pictures(NamedTuple):
    """One raw array: what its pictures show, their axes, whether grey ones are taken too, and whether all have one size.

    A mask has two axes; 0 is background, 255 (or 1 in all masks) the person.
    """

    shown: str
    is_mask: bool = False
    grey: bool = False
    one_size: bool = True

    @property
    def axes(self) -> str:
        """The axes of the whole array."""
        if self.is_mask:
            return "(picture, height, width)"
        return "(picture, height, width, 3)" + (" or (picture, height, width)" if self.grey else "")

    def __str__(self) -> str:
        return f"{self.shown}, {self.axes}, {WHOLE_NUMBERS}"


Raw = dict[str, list[UInt8[np.ndarray, "..."]]]  # pictures (height, width, 3), masks (height, width)
Forms = tuple[frozenset[str], ...]  # the names of raw arrays that are asked together, in each way there is


def named(model_input: Any) -> dict[str, Any]:
    """The arrays by name, as MLflow hands them over: a table of whole arrays in one row, or with a row for each sample."""
    if isinstance(model_input, pd.DataFrame):
        columns = {str(name): list(column) for name, column in model_input.items()}
        return {name: cells[0] if len(cells) == 1 else cells for name, cells in columns.items()}
    if not isinstance(model_input, Mapping):
        raise ValueError(f"expected arrays by name, got {type(model_input).__name__}")
    return dict(model_input)


def is_raw(names: set[str], prepared: set[str], forms: Forms) -> bool:
    """Whether these are the names of raw arrays; a `ValueError` names both forms if they are neither that nor all prepared."""
    if names == prepared:
        return False
    if names in forms:
        return True
    ways = [f"prepared arrays {listed(prepared)}", *(f"raw {listed(form)}" for form in forms)]
    raise ValueError(
        f"expected {', or '.join(ways)}, got {listed(names) or 'none of these names'}; send one of these and nothing beside it"
    )


def listed(names: Any) -> str:
    """Names in quotes, sorted."""
    return ", ".join(repr(name) for name in sorted(names))


# --- prepared ---------------------------------------------------------------------------------------------------------


def prepared(arrays: Mapping[str, Any], shapes: Shapes) -> dict[str, Float32[np.ndarray, "..."]]:
    """Arrays as the network takes them, float32, of these shapes; axes of any size are of one size in all of them."""
    found = {name: _numbers(name, arrays[name], shape) for name, shape in shapes.items()}
    for axis in range(min(len(shape) for shape in shapes.values())):
        sizes = {name: found[name].shape[axis] for name, shape in shapes.items() if shape[axis] < 0}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the inputs {listed(sizes)} must have one size in axis {axis}, got {sizes}")
        if 0 in sizes.values():
            raise ValueError(f"the inputs must not be empty, {listed(sizes)} have the size 0 in axis {axis}")
    return found


def _numbers(name: str, value: Any, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    expected = f"the input {name!r} must be numbers of shape ({', '.join('any' if size < 0 else str(size) for size in shape)})"
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{expected}, got rows of unequal length") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{expected}, got {array.dtype}")
    item = shape[1:]
    if array.ndim in (1, 2) and len(shape) > 2 and min(item) > 0 and array.shape[-1] == np.prod(item):
        array = array.reshape(-1, *item)  # a table's cells hold each sample's numbers in one row
    if array.ndim != len(shape) or any(size not in (-1, own) for size, own in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{expected}, got {array.shape}")
    with np.errstate(over="ignore"):  # infinity is refused by its name
        return np.asarray(array, np.float32)


# --- raw --------------------------------------------------------------------------------------------------------------


def pictures(arrays: Mapping[str, Any], kinds: Mapping[str, Pictures]) -> Raw:
    """Raw arrays as lists of pictures, uint8; grey ones with three equal channels."""
    found: Raw = {}
    size_bytes = 0
    for name, values in arrays.items():
        if not isinstance(values, list | np.ndarray) or not len(values) or not isinstance(values[0], list | np.ndarray):
            got = "an empty list" if isinstance(values, list | np.ndarray) and not len(values) else "no pictures"
            raise ValueError(f"{name!r} must be {kinds[name]}; got {got}")
        if len(values) > MAX_PICTURES:
            raise ValueError(f"{name!r} must have at most {MAX_PICTURES} pictures, got {len(values)}; send a part of them")
        found[name] = []
        for index, value in enumerate(values):
            found[name].append(_picture(f"picture {index} of {name!r}", value, kinds[name]))
            _check_size(name, found[name], kinds[name])
            size_bytes += found[name][-1].nbytes
            if size_bytes > MAX_RAW_BYTES:
                raise ValueError(
                    f"the pictures of a request must have at most {MAX_RAW_BYTES >> 20} MiB, as uint8 with three channels; "
                    "send fewer, or reduce them first"
                )
    return found


def _picture(where: str, value: Any, kind: Pictures) -> UInt8[np.ndarray, "..."]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{where} must have rows of one length") from error
    if array.dtype.kind not in ("biu" if kind.is_mask else "iu"):
        gaps = np.count_nonzero(~np.isfinite(array)) if array.dtype.kind == "f" else 0
        got = f"{array.dtype}" + (f", {gaps} of {array.size} NaN or infinite" if gaps else "")
        raise ValueError(f"{where} must have {WHOLE_NUMBERS}, got {got}; send the pixels as a camera gives them (uint8)")
    is_colour = not kind.is_mask and array.ndim == 3 and array.shape[2] == 3
    if not is_colour and not ((kind.is_mask or kind.grey) and array.ndim == 2):
        axes = kind.axes.replace("picture, ", "")
        raise ValueError(f"{where} must have the axes {axes}, got the shape {array.shape}")
    if min(array.shape[:2]) < MIN_SIDE_PX:
        raise ValueError(f"{where} must have sides of at least {MIN_SIDE_PX} px, got {array.shape[:2]}")
    if array.min() < 0 or array.max() > 255:
        raise ValueError(f"{where} must have {WHOLE_NUMBERS}, got {array.min()} to {array.max()}")
    array = array.astype(np.uint8, copy=False)
    return array if kind.is_mask or is_colour else np.repeat(array[..., None], 3, axis=2)


def _check_size(name: str, read: list[UInt8[np.ndarray, "..."]], kind: Pictures) -> None:
    if kind.one_size and read[-1].shape != read[0].shape:
        raise ValueError(
            f"the pictures of {name!r} must have one size, picture 0 has {read[0].shape[:2]} and picture {len(read) - 1} "
            f"{read[-1].shape[:2]}; send those of one camera, or each size by itself"
        )
