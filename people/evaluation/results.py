"""The results of an evaluation."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import UInt8


@dataclass(frozen=True, eq=False)
class Results:
    """The results of evaluating one system: numbers by name, tables, curves, pictures (RGB), and captions by their names.

    Animations are pictures of one size, one a frame.
    """

    metrics: dict[str, float]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    curves: dict[str, pd.DataFrame] = field(default_factory=dict)
    pictures: dict[str, UInt8[np.ndarray, "_height _width 3"]] = field(default_factory=dict)
    animations: dict[str, UInt8[np.ndarray, "_frame _height _width 3"]] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
