"""Stored images reduced by integer factors while they are read: one store serves networks of several input sizes."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


class AreaResize:
    """Area interpolation by integer factors: each pixel is the mean of the stored pixels under it.

    `stored_hw` and `size_hw` are height and width in px; `setting` is the name of `size_hw` in params.yaml and `where`
    describes the store, for the error. ValueError where a stored side is no multiple of the new one.
    """

    def __init__(self, stored_hw: Sequence[int], size_hw: Sequence[int], *, setting: str, where: str) -> None:
        if any(stored % side for stored, side in zip(stored_hw, size_hw, strict=True)):
            raise ValueError(
                f"{setting} must divide the size of {where}, {list(stored_hw)}, got {list(size_hw)}: images are reduced "
                "by integer factors; correct params.yaml"
            )
        self._factors = tuple(stored // side for stored, side in zip(stored_hw, size_hw, strict=True))

    def __call__(self, images: Float[Tensor, "sample channel _ _"]) -> Float[Tensor, "sample channel height width"]:
        """The images at the new size."""
        return images if self._factors == (1, 1) else functional.avg_pool2d(images, self._factors)
