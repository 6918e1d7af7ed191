"""Refusal of values that are NaN or infinite: a ranking would put them somewhere, and every rank behind them would be wrong.

One NaN among the gallery's embeddings is enough: distances are taken from the gallery's mean, so that all of them become NaN.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Num, Shaped
from torch import Tensor


def check(what: str, values: Tensor | Num[np.ndarray, "*shape"]) -> None:
    """Refuse `values`, in words `what`, unless all are finite; the number of rows that are not, and the first, are named."""
    if len(rows := _rows_not_finite(values)):
        raise ValueError(
            f"{what}: {len(rows)} of {len(values)} are not finite (NaN or infinity), the first is number {rows[0]}, counted "
            "from 0; check these inputs, or train with a lower rate if the network has diverged"
        )


def check_outputs(system: str, outputs: Mapping[str, Tensor], clip_ids: Sequence[str] | Shaped[np.ndarray, " sample"]) -> None:
    """Refuse a network's outputs that are not finite, by the system, the output and the clip; `clip_ids`: one a sample."""
    for name, values in outputs.items():
        if len(rows := _rows_not_finite(values)):
            clips = list(dict.fromkeys(clip_ids[row] for row in rows))
            raise ValueError(
                f"{system}: the output {name!r} of clip {clips[0]} is not finite (NaN or infinity), that of {len(clips)} of "
                f"{len(set(clip_ids))} clips; look at these clips' arrays, or train with a lower rate if all are"
            )


def _rows_not_finite(values: Tensor | Num[np.ndarray, "*shape"]) -> list[int]:
    is_finite = values.detach().isfinite().cpu().numpy() if isinstance(values, Tensor) else np.isfinite(values)
    return np.flatnonzero(~is_finite.all(axis=tuple(range(1, is_finite.ndim)))).tolist()
