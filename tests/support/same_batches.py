"""Whether two batches are the same, name by name."""

from typing import Any

import torch


def assert_same(one: dict[str, Any], other: dict[str, Any], *, tolerance: float = 0.0) -> None:
    """Equal names, number types, shapes and values; floating-point ones may differ by the tolerance, and NaN equals NaN."""
    assert one.keys() == other.keys()
    for name, values in one.items():
        pairs = zip(values, other[name], strict=True) if isinstance(values, list) else [(values, other[name])]
        for value, other_value in pairs:
            is_exact = not value.is_floating_point()
            torch.testing.assert_close(
                other_value.cpu(), value.cpu(), rtol=0, atol=0 if is_exact else tolerance, equal_nan=True, msg=name
            )
