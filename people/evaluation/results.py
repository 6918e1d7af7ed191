"""What a system measured, ready to be written and shown."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import UInt8


@dataclass(frozen=True, eq=False)
class Results:
    """What a system measured: numbers by name, tables, curves and pictures, ready to be written and shown by anyone."""

    metrics: dict[str, float]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    curves: dict[str, pd.DataFrame] = field(default_factory=dict)
    pictures: dict[str, UInt8[np.ndarray, "height width 3"]] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
