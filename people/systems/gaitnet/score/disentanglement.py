"""What each of the two codes tells, measured by linear probes on people whom neither network nor probe has seen.

A probe is ridge regression, or logistic regression for the bag, from standardised codes; it is fitted on the test people of
all folds but one and tested on those of that fold. How strongly ridge regression is held back is chosen on the fitted people by
leaving one row out. Its own baselines: a constant, which is what a code without the information gives, and the picture's pixels
and its mask's, which have all of it, though not all can be read from them by a linear map.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8

from people.evaluation.metrics import balanced_accuracy
from people.evaluation.results import Results
from people.systems.gaitnet.score.embedded import Embedded

BAGS = ("bag", "bg")  # conditions under which a bag is carried, in the datasets' own codes
PICTURE_HW = (16, 8)  # of the pixels that a probe sees
TORSO = (0.22, 0.48)  # rows of the picture, as shares of its height
MIN_TORSO_PIXELS = 4
RIDGES = tuple(10.0**power for power in range(1, 7))  # of which one is chosen, on standardised inputs
BAG_RIDGE = 10.0
STRIDES_S = (0.7, 2.0)  # shortest and longest duration of a stride
MIN_SPREAD = 0.02  # of a label: what varies less (the greys of masks) is not predicted
MIN_PERIODICITY = 0.6  # share of the ankles' motion that a single frequency explains, or a clip has no phase
CODES = ("gait", "appearance", "pixels")


class Labels(NamedTuple):
    """What a probe predicts, and where it is known."""

    values: Float[np.ndarray, "row column"]
    is_known: Bool[np.ndarray, " row"]


def judge(embedded: Embedded, folds: int, seed: int, results: Results) -> None:
    """R² of clothing colour and of the walking phase, balanced accuracy of the bag: from each code, from pixels, by a constant.

    A dataset without bags, without keypoints or without colours (masks alone) has no such row.
    """
    pixels = [small_pixels(*clip) for clip in zip(embedded.pictures, embedded.masks, strict=True)]
    codes = {"gait": embedded.gait, "appearance": embedded.appearance, "pixels": pixels}
    codes = {name: codes[name] for name in CODES if codes[name]}
    clip_codes = {name: np.stack([clip.mean(axis=0) for clip in clips]) for name, clips in codes.items()}
    frame_codes = {name: np.concatenate(clips) for name, clips in codes.items()}
    people = pd.factorize(embedded.clips["subject_id"])[0]
    clip_fold = np.random.default_rng([seed, 7]).permutation(people.max() + 1)[people] % min(folds, people.max() + 1)
    frame_fold = np.repeat(clip_fold, [len(clip) for clip in embedded.pictures])
    rows = []
    colours, phases, bags = torso_colours(embedded), walking_phases(embedded), carries_bag(embedded)
    for title, key, inputs, fold, labels, score in (
        ("clothing colour, R²", "colour_r2", clip_codes, clip_fold, colours, _r2_probe),
        ("walking phase, R²", "phase_r2", frame_codes, frame_fold, phases, _r2_probe),
        ("bag, balanced accuracy", "bag_balanced_accuracy", clip_codes, clip_fold, bags, _bag_probe),
    ):
        if row := probe(inputs, fold, labels, score):
            rows.append({"told from the code": title, **row})
            results.metrics.update({f"disentanglement.{key}.{code}": value for code, value in row.items()})
    if rows:
        results.tables["disentanglement"] = pd.DataFrame(rows)
    if phases.is_known.any():
        results.curves["codes_over_time"] = codes_over_time(embedded, phases)


def probe(
    inputs: dict[str, Float[np.ndarray, "row code"]],
    fold: Int[np.ndarray, " row"],
    labels: Labels,
    score: Callable[..., float],
) -> dict[str, float]:
    """The score of each input on held-out people; empty where a label is known of too few or does not vary."""
    known = labels.is_known
    values = labels.values[known]
    if len(np.unique(fold[known])) < 2 or not (values.std(axis=0) > MIN_SPREAD).all():
        return {}
    scores = {name: score(codes[known], values, fold[known]) for name, codes in inputs.items()}
    return scores | {"constant": 0.5 if score is _bag_probe else 0.0}


def _r2_probe(
    codes: Float[np.ndarray, "row code"], values: Float[np.ndarray, "row column"], fold: Int[np.ndarray, " row"]
) -> float:
    """1 - the squared error over that of the training folds' mean, over all folds, the mean over columns."""
    from sklearn.linear_model import RidgeCV  # scikit-learn takes a second to import

    squares, spread = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for test, train in _folds(fold):
        seen, held_out = _standardised(codes[train], codes[test])
        predicted = RidgeCV(RIDGES).fit(seen, values[train]).predict(held_out).reshape(-1, values.shape[1])
        squares += np.square(values[test] - predicted).sum(axis=0)
        spread += np.square(values[test] - values[train].mean(axis=0)).sum(axis=0)
    return float((1 - squares / spread).mean())


def _bag_probe(
    codes: Float[np.ndarray, "row code"], values: Float[np.ndarray, "row column"], fold: Int[np.ndarray, " row"]
) -> float:
    """The balanced accuracy over the rows of all folds, each predicted by a probe that has not seen its person."""
    from sklearn.linear_model import LogisticRegression

    predicted, true = np.zeros(len(values)), values[:, 0]
    for test, train in _folds(fold):
        seen, held_out = _standardised(codes[train], codes[test])
        if len(np.unique(true[train])) == 1:
            predicted[test] = true[train][0]
            continue
        model = LogisticRegression(C=1 / BAG_RIDGE, class_weight="balanced", max_iter=1000).fit(seen, true[train])
        predicted[test] = model.predict(held_out)
    return balanced_accuracy(predicted, true)


def _folds(fold: Int[np.ndarray, " row"]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.flatnonzero(fold == number), np.flatnonzero(fold != number)) for number in np.unique(fold)]


def _standardised(seen: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seen, held_out = seen.astype(np.float64), held_out.astype(np.float64)
    centre, deviation = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-9)
    return (seen - centre) / deviation, (held_out - centre) / deviation


def small_pixels(
    pictures: UInt8[np.ndarray, "frame height width 3"], masks: UInt8[np.ndarray, "frame height width"]
) -> Float[np.ndarray, "frame pixel"]:
    """Each frame's colours and mask reduced to `PICTURE_HW`, flat."""
    together = np.concatenate([pictures, masks[..., None]], axis=3)
    small = [cv2.resize(frame, PICTURE_HW[::-1], interpolation=cv2.INTER_AREA) for frame in together]
    return np.stack(small).reshape(len(pictures), -1).astype(np.float32)


def torso_colours(embedded: Embedded) -> Labels:
    """Of each clip the mean red, green and blue (0 to 1) of the torso's rows inside the mask."""
    colours = np.full((len(embedded.clips), 3), np.nan)
    for row, (pictures, masks) in enumerate(zip(embedded.pictures, embedded.masks, strict=True)):
        first, last = (round(share * pictures.shape[1]) for share in TORSO)
        inside = masks[:, first:last] >= 250
        if inside.sum() >= MIN_TORSO_PIXELS * len(pictures):
            colours[row] = pictures[:, first:last][inside].mean(axis=0) / 255
    return Labels(np.nan_to_num(colours), ~np.isnan(colours[:, 0]))


def carries_bag(embedded: Embedded) -> Labels:
    """Of each clip whether a bag is carried, by its condition."""
    carried = embedded.clips["condition"].isin(BAGS).to_numpy(float)
    return Labels(carried[:, None], np.ones(len(carried), bool))


def walking_phases(embedded: Embedded) -> Labels:
    """Of each frame sine and cosine of the walking phase, which is 0 where the left foot overtakes the right one."""
    parts = []
    columns = ("view_deg", "frame_rate_hz")
    for keypoints, (view_deg, rate_hz) in zip(embedded.keypoints, embedded.clips[list(columns)].to_numpy(float), strict=True):
        phase = walking_phase(keypoints, float(np.nan_to_num(view_deg)), float(rate_hz))
        parts.append(
            np.full((len(keypoints), 2), np.nan) if phase is None else np.stack([np.sin(phase), np.cos(phase)], axis=1)
        )
    phases = np.concatenate(parts)
    return Labels(np.nan_to_num(phases), ~np.isnan(phases[:, 0]))


def walking_phase(
    keypoints: Float[np.ndarray, "frame 17 3"], view_deg: float, frame_rate_hz: float
) -> Float[np.ndarray, " frame"] | None:
    """The phase of the stride (radians) from the ankles: that of the sine that fits best how far the left is ahead.

    Ahead is along the walking direction in the picture, towards the camera downwards. None where the ankles are not labelled
    throughout, a clip is shorter than half the shortest stride, or no frequency explains their motion.
    """
    left, right = keypoints[:, 15], keypoints[:, 16]
    if not ((left[:, 2] > 0) & (right[:, 2] > 0)).all():
        return None
    ahead = np.array([-np.sin(np.radians(view_deg)), np.cos(np.radians(view_deg))])
    lead = (left[:, :2] - right[:, :2]).astype(np.float64) @ ahead
    seconds = np.arange(len(lead)) / frame_rate_hz
    if len(lead) < 6 or seconds[-1] < STRIDES_S[0] / 2 or lead.std() < 1e-6:
        return None
    best, phase = -np.inf, None
    for duration_s in np.linspace(*STRIDES_S, 80):
        angle = 2 * np.pi * seconds / duration_s
        terms = np.stack([np.sin(angle), np.cos(angle), np.ones_like(angle)], axis=1)
        weights, *_ = np.linalg.lstsq(terms, lead, rcond=None)
        explained = 1 - np.square(lead - terms @ weights).sum() / np.square(lead - lead.mean()).sum()
        if explained > best:
            best, phase = explained, angle + np.arctan2(weights[1], weights[0])
    return phase if best >= MIN_PERIODICITY else None


def codes_over_time(embedded: Embedded, phases: Labels) -> pd.DataFrame:
    """Over the frames of the longest clip with a phase: the first two principal components of its gait code, the first of its
    appearance code, each in its deviations over all test frames, and the sine of the phase.
    """
    lengths = np.array([len(clip) for clip in embedded.gait])
    ends = np.cumsum(lengths)
    known = [phases.is_known[end - length : end].all() for end, length in zip(ends, lengths, strict=True)]
    clip = int(np.where(known, lengths, 0).argmax())
    rows = slice(ends[clip] - lengths[clip], ends[clip])
    columns = {"frame": np.arange(1, lengths[clip] + 1), "sine of the walking phase": phases.values[rows, 0]}
    for name, codes, count in (("gait", embedded.gait, 2), ("appearance", embedded.appearance, 1)):
        if not codes:
            continue
        everything = np.concatenate(codes).astype(np.float64)
        centred = everything - everything.mean(axis=0)
        _, _, axes = np.linalg.svd(centred[:: max(1, len(centred) // 4000)], full_matrices=False)
        components = centred @ axes[:count].T
        for number, values in enumerate((components / np.maximum(components.std(axis=0), 1e-9)).T, start=1):
            columns[f"{name} code, component {number}"] = values[rows]
    return pd.DataFrame(columns)
