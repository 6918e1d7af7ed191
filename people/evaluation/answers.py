"""Single decisions as pictures: probes whose nearest gallery clip is of the same person, and probes taken for somebody else.

Of each probe set at most `PROBES` probes are looked at, evenly spread, so that the largest archives stay quick.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int

from people.evaluation import plots
from people.evaluation.results import Results

PROBES = 200
SHOWN = 6
PROBE_RGB, RIGHT_RGB, WRONG_RGB = (120, 120, 120), (0, 158, 115), (213, 94, 0)  # the last two: Okabe and Ito
FRAME_PX, LABEL_PX, GAP_PX, WIDEST_PX = 3, 22, 6, 960
RIGHT, WRONG = "right_answers", "wrong_answers"
CAPTIONS = {
    RIGHT: "From the most certain answer to the least: at the left the probe, beside it, in a green frame, the nearest clip of "
    "the gallery, which is of the same person. Certain: how much nearer it is than the nearest clip of anybody else.",
    WRONG: "The worst answer first: at the left the probe, beside it, in an orange frame, the nearest clip of the gallery, "
    "which is of another person; at the right, in a green frame, the nearest clip of the right person.",
}


class Answer(NamedTuple):
    """A probe, the nearest gallery clip of its person, the nearest of anybody else (rows of the index), and how much nearer the
    first is; the answer is wrong where that is not above 0.
    """

    probe: int
    own: int
    other: int
    margin: float


def spread(rows: Int[np.ndarray, " row"], shown: int = PROBES) -> Int[np.ndarray, " chosen"]:
    """At most so many of these rows, evenly spread."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(shown, len(rows))).round().astype(int))] if len(rows) else rows


def decide(
    distance: Float[np.ndarray, "probe gallery"],
    probes: Int[np.ndarray, " probe"],
    gallery: Int[np.ndarray, " gallery"],
    subjects: np.ndarray,
) -> list[Answer]:
    """The answer to each probe that has somebody of its own and somebody else in the gallery.

    `distance`: infinite for clips that are not compared. `subjects`: of all rows of the index.
    """
    answers = []
    for probe, line in zip(probes.tolist(), distance, strict=True):
        is_own = subjects[gallery] == subjects[probe]
        own, other = np.where(is_own, line, np.inf), np.where(is_own, np.inf, line)
        if np.isfinite(own).any() and np.isfinite(other).any():
            margin = float(other.min() - own.min())
            answers.append(Answer(probe, int(gallery[own.argmin()]), int(gallery[other.argmin()]), margin))
    return answers


def add(results: Results, answers: Sequence[Answer], labels: Sequence[str], picture: Callable[[int], plots.Picture]) -> None:
    """Pictures of right and of wrong answers with their captions; of a kind that does not occur there is none.

    `labels`: of all rows of the index, `picture`: of a row, all of one size.
    """
    in_order = sorted(answers, key=lambda answer: (-answer.margin, answer.probe))
    chosen = {
        RIGHT: [answer for answer in in_order if answer.margin > 0],
        WRONG: [answer for answer in in_order[::-1] if answer.margin <= 0],
    }
    for name, found in chosen.items():
        if found:
            shown = [found[int(index)] for index in spread(np.arange(len(found)), SHOWN)]
            tiles = [_tile(answer, labels[answer.probe], name == RIGHT, picture) for answer in shown]
            lines = math.ceil(len(tiles) / max(1, WIDEST_PX // tiles[0].shape[1]))
            results.pictures[name] = plots.tiled(tiles, math.ceil(len(tiles) / lines))
            results.captions[name] = CAPTIONS[name]


def _tile(answer: Answer, label: str, is_right: bool, picture: Callable[[int], plots.Picture]) -> plots.Picture:
    """The probe's label, and below it the probe and the gallery clips beside it, each in the frame of its kind."""
    clips = [(answer.probe, PROBE_RGB), *([] if is_right else [(answer.other, WRONG_RGB)]), (answer.own, RIGHT_RGB)]
    pictures = [plots.framed(picture(clip), rgb, FRAME_PX) for clip, rgb in clips]
    height, width = pictures[0].shape[:2]
    sheet = np.full((LABEL_PX + height + GAP_PX, GAP_PX + len(pictures) * (width + GAP_PX), 3), 255, np.uint8)
    cv2.putText(sheet, label, (GAP_PX, LABEL_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for number, framed in enumerate(pictures):
        left = GAP_PX + number * (width + GAP_PX)
        sheet[LABEL_PX : LABEL_PX + height, left : left + width] = framed
    return sheet
