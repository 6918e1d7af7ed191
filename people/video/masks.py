"""A clip's masks as a dataset stores them, read as grey: 0 background, 255 the person, values between where it is soft.

How the files are meant (which channel, how many bits, 0 and 1 or 0 and 255) is decided by all masks of a clip together. Masks
that can be read in no way are an `UnreadableMasksError` with the rule that they break, the value and the remedy.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

MASK_THRESHOLD = 128  # of 255: least value of the person in a soft mask
MAX_BORDER_SHARE = 0.5  # of the pixels on the frames' borders that show the person; of inverted masks it is nearly 1
MAX_DISAGREEMENT = 0.1  # of the person's pixels: where colours and alpha may differ

_REWRITE = "write the masks as grey PNG, 0 for background and 255 for the person, then ingest again"


class Mask(NamedTuple):
    """The box of a mask's pixels that are not 0, at row `top` and column `left` of a frame of `height` and `width`.

    A clip's masks are kept so: most of a frame is background.
    """

    pixels: Shaped[np.ndarray, "rows columns"]
    top: int
    left: int
    height: int
    width: int

    def full(self) -> Shaped[np.ndarray, "height width"]:
        """The mask of the whole frame."""
        frame = np.zeros((self.height, self.width), self.pixels.dtype)
        frame[self.top : self.top + self.pixels.shape[0], self.left : self.left + self.pixels.shape[1]] = self.pixels
        return frame


class Fault(NamedTuple):
    """Why a clip's masks are not used: the rule that they break, the value, and the remedy."""

    rule: str
    value: str
    remedy: str


class UnreadableMasksError(ValueError):
    """No reading makes the clip's masks those of a person."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.rule}; got {fault.value}; {fault.remedy}")
        self.fault = fault


def to_grey(images: Iterable[Shaped[np.ndarray, "..."]]) -> list[Mask]:
    """The masks of a clip as grey masks of 8 bits, from images of one to four channels with 8 or 16 bits.

    A mask is the largest of its colour channels (a mask in one colour is as good as a white one), or alpha where the colours
    are the same all over the clip. Masks of 0 and 1 are scaled to 0 and 255, masks of 16 bits with values above 255 so that the
    clip's largest is 255.
    """
    pairs = [_colour_and_alpha(image, index) for index, image in enumerate(images)]
    masks = [colour for colour, _ in pairs]
    if any(alpha is not None for _, alpha in pairs):
        masks = _colour_or_alpha(masks, [_opaque(colour) if alpha is None else alpha for colour, alpha in pairs])
    if len({mask.pixels.dtype for mask in masks}) > 1:
        raise UnreadableMasksError(Fault("the masks of a clip have one depth", "masks of 8 and of 16 bits", _REWRITE))
    largest = _largest(masks)
    scale = 255 / largest if largest == 1 or largest > 255 else 1
    if scale == 1 and all(mask.pixels.dtype == np.uint8 for mask in masks):
        return masks
    return [mask._replace(pixels=np.rint(mask.pixels * scale).astype(np.uint8)) for mask in masks]


def check(masks: Sequence[Mask]) -> None:
    """Refuse a clip whose masks show nobody, are full, or are inverted."""
    largest = _largest(masks)
    if largest == 0:
        raise UnreadableMasksError(Fault("a mask of the clip shows a person", f"{len(masks)} masks of 0 alone", _REWRITE))
    threshold = min(MASK_THRESHOLD, (largest + 1) // 2)
    border = sum(2 * (mask.height + mask.width) for mask in masks)
    border_share = sum(_count_border(mask, threshold) for mask in masks) / border
    if border_share <= MAX_BORDER_SHARE:
        return
    if not _varies(masks):
        raise UnreadableMasksError(
            Fault("a mask of the clip shows background", f"{len(masks)} masks of {largest} alone", _REWRITE)
        )
    raise UnreadableMasksError(
        Fault(
            f"at most {MAX_BORDER_SHARE:.0%} of the pixels on the masks' border are the person's",
            f"{border_share:.0%}",
            "invert the masks (0 for background, 255 for the person), then ingest again",
        )
    )


def person_threshold(masks: Sequence[Mask]) -> int:
    """The least value of the person in a clip's masks: 128, or their one value beside 0 where that is smaller."""
    largest = _largest(masks)
    if largest == 0 or largest >= MASK_THRESHOLD:
        return MASK_THRESHOLD
    values = sorted({int(value) for mask in masks for value in np.unique(mask.pixels)} - {0})
    if values == [largest]:
        return largest
    raise UnreadableMasksError(
        Fault(
            f"masks reach {MASK_THRESHOLD} of 255, or have one value beside 0",
            f"values {', '.join(map(str, values[:5]))}{' and more' if len(values) > 5 else ''}",
            _REWRITE,
        )
    )


def binarise(mask: UInt8[np.ndarray, "height width"], threshold: int = MASK_THRESHOLD) -> UInt8[np.ndarray, "height width"]:
    """255 where the mask is at least the threshold, else 0."""
    return np.where(mask >= threshold, np.uint8(255), np.uint8(0))


def mask_iou(predicted: Iterable[UInt8[np.ndarray, "_ _"]], true: Sequence[Mask]) -> Float[np.ndarray, " frame"]:
    """Intersection over union of the predicted and the true mask of each frame, NaN where both are empty."""
    ratios, threshold = [], person_threshold(true)
    for index, (mask, expected) in enumerate(zip(predicted, true, strict=True)):
        if mask.shape != (expected.height, expected.width):
            raise ValueError(
                f"frame {index} is {mask.shape} px and its mask in the layout {expected.height, expected.width}: expected one "
                "size; replace the masks, or leave them out of the dataset's folder"
            )
        first, second = mask >= MASK_THRESHOLD, expected.full() >= threshold
        union = np.count_nonzero(first | second)
        ratios.append(np.count_nonzero(first & second) / union if union else np.nan)
    return np.array(ratios, np.float64)


def crop(mask: Shaped[np.ndarray, "height width"]) -> Mask:
    """The box of a mask's pixels that are not 0."""
    if mask.dtype == np.uint8:
        left, top, columns, rows = cv2.boundingRect(mask)
    else:
        is_set = mask > 0
        (top, rows), (left, columns) = (_extent(np.asarray(is_set.any(axis=axis))) for axis in (1, 0))
    return Mask(mask[top : top + rows, left : left + columns].copy(), top, left, *mask.shape)


def _extent(is_set: Bool[np.ndarray, " pixels"]) -> tuple[int, int]:
    """The first index that is set, and how many there are from it to the last."""
    indices = np.flatnonzero(is_set)
    return (int(indices[0]), int(indices[-1] - indices[0]) + 1) if len(indices) else (0, 0)


def _colour_and_alpha(image: np.ndarray, index: int) -> tuple[Mask, Mask | None]:
    """The largest of the colour channels, and the fourth channel if there is one."""
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ValueError(
            f"mask {index} is {image.dtype} of shape {image.shape}: expected uint8 or uint16 of shape (height, width) or "
            "(height, width, channels); convert the files"
        )
    if image.ndim == 2:
        return crop(image), None
    return crop(image[..., :3].max(axis=2)), crop(np.ascontiguousarray(image[..., 3])) if channels == 4 else None


def _opaque(mask: Mask) -> Mask:
    dtype = mask.pixels.dtype
    return Mask(np.full((mask.height, mask.width), np.iinfo(dtype).max, dtype), 0, 0, mask.height, mask.width)


def _colour_or_alpha(colours: list[Mask], alphas: list[Mask]) -> list[Mask]:
    """Those of the two that vary in the clip; where both do they have to show the same person."""
    if not _varies(colours):
        return alphas if _varies(alphas) else colours
    if _varies(alphas):
        middle = max(_largest(colours), _largest(alphas)) // 2
        pairs = [[mask.full() > middle for mask in pair] for pair in zip(colours, alphas, strict=True)]
        different, either = (sum(np.count_nonzero(join(*pair)) for pair in pairs) for join in (np.not_equal, np.logical_or))
        if different > MAX_DISAGREEMENT * either:
            fault = Fault("colours and alpha of the masks show the same", f"{different} of {either} pixels differ", _REWRITE)
            raise UnreadableMasksError(fault)
    return colours


def _varies(masks: Sequence[Mask]) -> bool:
    """Whether the masks have more than one value, the 0 round their boxes included."""
    largest = _largest(masks)
    return largest > 0 and any(
        mask.pixels.shape != (mask.height, mask.width) or int(mask.pixels.min()) < largest for mask in masks
    )


def _largest(masks: Sequence[Mask]) -> int:
    return max((int(mask.pixels.max(initial=0)) for mask in masks), default=0)


def _count_border(mask: Mask, threshold: int) -> int:
    """How many pixels on the four sides of the frame are at least the threshold; corners count twice."""
    rows, columns = mask.pixels.shape
    sides = [
        (mask.top == 0, mask.pixels[:1]),
        (mask.top + rows == mask.height, mask.pixels[-1:]),
        (mask.left == 0, mask.pixels[:, :1]),
        (mask.left + columns == mask.width, mask.pixels[:, -1:]),
    ]
    return sum(int(np.count_nonzero(side >= threshold)) for is_border, side in sides if is_border)
