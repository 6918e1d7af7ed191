"""USF HumanID gait challenge [Sarkar et al., PAMI 2005], as tensors of half gait cycles [Lu et al., IEEE TNN 2008].

<root>/gait_gallery_data.mat      fea3D (row, column, frame, half cycle), foreground 0; gnd (half cycle, 1): the subject
<root>/PrbA.mat, PrbB.mat, ...    the same people under other conditions: A is another camera; subject 0 is not in the gallery
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from people.layouts import files

GALLERY = "gallery"
PROBES = ("A", "B", "C", "D", "E", "F", "G")
UNKNOWN = 0


class HalfCycles(NamedTuple):
    """Half gait cycles and their subjects; 255 is foreground, subject 0 (`UNKNOWN`) is not in the gallery."""

    silhouettes: UInt8[np.ndarray, "half_cycle frame height width"]
    subject: Int[np.ndarray, " half_cycle"]


def read(root: Path, name: str) -> HalfCycles:
    """The half cycles of the gallery (`GALLERY`) or of one probe set, "A" to "G"."""
    if name != GALLERY and name not in PROBES:
        raise ValueError(f"expected {GALLERY} or a probe set of {', '.join(PROBES)}, got {name!r}")
    expected = Path(root) / ("gait_gallery_data.mat" if name == GALLERY else f"Prb{name}.mat")
    path = files.find(expected.parent, expected.name)
    if path is None:
        raise ValueError(f"expected the {name} tensors of USF HumanID at {expected}, no such file exists; correct the folder")
    try:
        entries = loadmat(path)
    except (MatReadError, ValueError, OSError, TypeError) as error:
        raise ValueError(f"{path} is no complete MATLAB 5 file ({error}); fetch it again") from error
    if missing := {"fea3D", "gnd"} - entries.keys():
        raise ValueError(f"{path} must hold fea3D and gnd, it lacks {', '.join(sorted(missing))}; fetch the tensors")
    background, subject = entries["fea3D"], entries["gnd"].astype(np.int64).ravel()
    if background.ndim != 4 or background.shape[3] != len(subject) or not np.isin(background, (0, 1)).all():
        raise ValueError(
            f"{path}: expected fea3D of zeros and ones (row, column, frame, half cycle) and a subject for each half cycle, "
            f"got {background.shape} and {len(subject)} subjects; fetch it again"
        )
    foreground = np.where(background == 0, 255, 0).astype(np.uint8)
    return HalfCycles(np.ascontiguousarray(foreground.transpose(3, 2, 0, 1)), subject)
