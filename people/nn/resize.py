"""Stored pictures made smaller by whole numbers, as they are read: what a network looks at need not be stored anew."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


class AreaResize:
    """From the stored size to the one that is asked for, height and width in px; `setting` is its name in params.yaml.

    ValueError where a stored side is no multiple of the one asked for.
    """

    def __init__(self, stored_hw: Sequence[int], size_hw: Sequence[int], *, setting: str, where: str) -> None:
        if any(stored % wanted for stored, wanted in zip(stored_hw, size_hw, strict=True)):
            raise ValueError(
                f"{setting} must divide the size of {where}, {list(stored_hw)}, got {list(size_hw)}: pictures are shrunk by "
                "whole numbers; correct params.yaml"
            )
        self._factors = tuple(stored // wanted for stored, wanted in zip(stored_hw, size_hw, strict=True))

    def __call__(self, pictures: Float[Tensor, "sample other _ _"]) -> Float[Tensor, "sample other height width"]:
        """Of the stored pixels under each pixel the mean."""
        return pictures if self._factors == (1, 1) else functional.avg_pool2d(pictures, self._factors)
