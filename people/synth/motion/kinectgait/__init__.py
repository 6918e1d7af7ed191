"""Kinect gait archive (Andersson and Araujo, AAAI 2015): walks on a semicircle round a sensor that turns with the walker.

Layout: `Data/PersonNNN/k.txt`, a line `Joint-Name;x;y;z` per joint, 20 joints a frame, a frame starts at every `Head`;
`GenderBMIData/person-data.csv` has a person's height, weight, age and sex where known. y is up, z leads away from the sensor.
"""

import io
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from people.layouts.archives import members
from people.layouts.motion import (
    LEGS,
    MIDLINE,
    PAIRS,
    J,
    Repaired,
    body_centred,
    distance_m,
    gait,
    low_pass,
    repair,
    resample,
    runs,
    walking_speed,
)
from people.records import JOINTS, Motion, Sex
from people.synth.motion import Wanted

SENSOR_HZ = 30.0
SMOOTH_HZ = 6.0  # walking has next to nothing above, the sensor's jitter has
SMOOTH_DEPTH_HZ = 3.0  # sideways is depth for the sensor, the least certain direction; sway has two periods a second at most
SHORTEST_S = 1.5  # at least two and a half steps
LEAST_SWING_M, LEAST_COHERENCE, FASTEST_TURN_RAD_S = 0.2, 0.8, 0.8
WRONG_SIDE = 0.5  # price of a square metre on the wrong side against a square metre travelled
SPEED_RANGE_M_S = (0.6, 2.0)
SLOWEST_SHARE = 0.6  # of the usual speed: slower is starting, stopping or turning
STEP_RANGE_S = (0.3, 0.9)
FARTHEST_SIDEWAYS_M = {"leg": 0.2, "arm": 0.3}
ARMS = [J[f"{side}_{part}"] for side in ("left", "right") for part in ("elbow", "wrist", "hand")]
_PATTERN = re.compile(r"/(Person\d+/\d+\.txt|person-data\.csv)$")
_EXPECTED = "walks Data/PersonNNN/k.txt and a table GenderBMIData/person-data.csv"
_COLUMNS = ["Individual", "Height", "Weight (Kg)", "Age", "Gender"]
_OWN = {"head": "Head", "neck": "Shoulder-Center", "spine": "Spine", "pelvis": "Hip-centro"}
NAMES = tuple(_OWN.get(joint) or "-".join(part.title() for part in reversed(joint.split("_"))) for joint in JOINTS)


@dataclass(frozen=True)
class _Person:
    sex: Sex | None
    age_years: float | None
    height_m: float | None
    weight_kg: float | None


@dataclass(frozen=True, eq=False)
class _Stretch:
    joints_m: Float[np.ndarray, "frame joint 3"]
    speed_m_s: Float[np.ndarray, " frame"]
    repaired_frames: int


def walks(wanted: Wanted) -> list[Motion]:
    """All walks of the archive."""
    return read(wanted.archive, frame_rate_hz=wanted.frame_rate_hz)


def read(archive: Path, *, frame_rate_hz: float = 30.0) -> list[Motion]:
    """Every steady stretch of every walk, by person, walk and time; walk "3b" is the second stretch of file 3.txt."""
    files = members(archive, _PATTERN, expected=_EXPECTED)
    tables = [name for name in files if name.endswith("person-data.csv")]
    if not tables:
        raise ValueError(f"{archive}: expected a table GenderBMIData/person-data.csv, found none; restore it beside Data/")
    people = _read_people(f"{archive}/{tables[0]}", files[tables[0]])
    walks = sorted((Path(name).parent.name, int(Path(name).stem), name) for name in files if name.endswith(".txt"))
    if not walks:
        raise ValueError(f"{archive}: expected walks Data/PersonNNN/k.txt, found none; restore them beside GenderBMIData/")
    motions = []
    for subject, walk, name in walks:
        where = f"{archive}/{name}"
        if subject not in people:
            raise ValueError(f"{where}: expected {subject} in person-data.csv, found no such row; add it or remove the folder")
        stretches = _stretches(_read_walk(where, files[name]))
        for letter, stretch in zip(ascii_lowercase, stretches, strict=False):
            motions.append(_motion(stretch, subject, f"{walk}{letter}", people[subject], frame_rate_hz))
    return motions


def _motion(stretch: _Stretch, subject: str, walk: str, person: _Person, frame_rate_hz: float) -> Motion:
    return Motion(
        subject_id=subject,
        walk_id=walk,
        joints_m=resample(stretch.joints_m, SENSOR_HZ, frame_rate_hz),
        forward_m=resample(distance_m(stretch.speed_m_s, SENSOR_HZ), SENSOR_HZ, frame_rate_hz),
        frame_rate_hz=frame_rate_hz,
        sex=person.sex,
        age_years=person.age_years,
        height_m=person.height_m,
        weight_kg=person.weight_kg,
        repaired_frames=stretch.repaired_frames,
    )


def _read_people(where: str, content: bytes) -> dict[str, _Person]:
    table = pd.read_csv(io.BytesIO(content), dtype=str, skipinitialspace=True)
    if missing := [column for column in _COLUMNS if column not in table]:
        raise ValueError(f"{where}: expected columns {_COLUMNS}, missing {missing}; restore the original table")
    people = {}
    for line, row in enumerate(table[_COLUMNS].fillna("").itertuples(index=False), start=2):
        person, height, weight, age, gender = (str(value).strip() for value in row)
        if not person:
            continue  # the official table ends in empty rows
        if gender not in ("F", "M", ""):
            raise ValueError(f"{where}, line {line}: expected Gender F, M or empty, got {gender!r}; correct the table")
        sex: Sex | None = {"F": "female", "M": "male"}.get(gender)  # pyright: ignore[reportAssignmentType]
        numbers = (_number(value, f"{where}, line {line}") for value in (age, height, weight))
        people[person] = _Person(sex, *numbers)
    return people


def _number(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{where}: expected a number or nothing, got {text!r}; correct the table") from error


def _read_walk(where: str, content: bytes) -> Float[np.ndarray, "frame joint 3"]:
    """Joints as in `JOINTS`, metres, z up, right-handed."""
    table = pd.read_csv(
        io.BytesIO(content.rstrip()), sep=";", header=None, names=["joint", "x", "y", "z", "more"], skip_blank_lines=False
    )
    xyz = table[["x", "y", "z"]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    known = pd.Categorical(table["joint"], categories=list(NAMES)).codes
    bad = (known < 0) | ~np.isfinite(xyz).all(axis=1) | table["more"].notna().to_numpy()
    if bad.any():
        line = int(bad.argmax())
        came = content.splitlines()[line].decode(errors="replace")
        raise ValueError(
            f"{where}, line {line + 1}: expected Joint-Name;x;y;z in metres, got {came!r}; restore or remove the file"
        )
    starts = np.flatnonzero(known == J["head"])
    counts = np.diff([0, *starts[1:], len(known)])
    if (wrong := counts != len(JOINTS)).any() or not len(starts) or starts[0]:
        frame = int(wrong.argmax())
        line = int(np.concatenate([[0], starts[1:]])[frame]) + 1
        raise ValueError(
            f"{where}, line {line}: expected {len(JOINTS)} joints from Head on in frame {frame + 1}, got {counts[frame]}; "
            "restore or remove the file"
        )
    order = known.reshape(-1, len(JOINTS))
    if (doubled := (np.sort(order, axis=1) != np.arange(len(JOINTS))).any(axis=1)).any():
        frame = int(doubled.argmax())
        line = frame * len(JOINTS) + 1
        raise ValueError(f"{where}, line {line}: expected every joint once in frame {frame + 1}; restore or remove the file")
    x, y, z = np.take_along_axis(xyz.reshape(-1, len(JOINTS), 3), np.argsort(order, axis=1)[..., None], axis=1).T
    return np.stack([x, -z, y]).T


def _stretches(joints_m: Float[np.ndarray, "frame joint 3"]) -> list[_Stretch]:
    """The parts of a recording in which the person walks steadily in one direction: no start, no turn, no lost track."""
    seen, fixed = gait(joints_m, SENSOR_HZ), repair(joints_m, SENSOR_HZ)
    turning = np.abs(np.gradient(seen.heading_rad)) * SENSOR_HZ > FASTEST_TURN_RAD_S
    swing = seen.swing_m > max(LEAST_SWING_M, 0.6 * np.quantile(seen.swing_m, 0.75))
    steady = ~turning & ~fixed.lost & (seen.coherence > LEAST_COHERENCE) & swing
    widths, found = widths_m(joints_m), []
    for start, stop in _long_runs(steady):
        clean = _clean(joints_m[start:stop])
        speed = walking_speed(clean.joints_m, SENSOR_HZ)
        walking = speed > SLOWEST_SHARE * np.median(speed)
        for first, last in _long_runs(~clean.lost & walking & regular_steps(clean.joints_m)):
            piece = unbiased(clean.joints_m[first:last], widths)
            speed = walking_speed(piece, SENSOR_HZ)
            if SPEED_RANGE_M_S[0] < speed.mean() < SPEED_RANGE_M_S[1]:
                found.append(_Stretch(piece, speed, int(clean.repaired[first:last].sum())))
    return found


def _long_runs(flags: Bool[np.ndarray, " frame"]) -> list[tuple[int, int]]:
    return [(start, stop) for start, stop in runs(flags) if stop - start >= SHORTEST_S * SENSOR_HZ]


def _clean(joints_m: Float[np.ndarray, "frame joint 3"]) -> Repaired:
    """Body-centred joints with labels untangled, outliers repaired and jitter smoothed away."""
    centred = body_centred(joints_m, gait(joints_m, SENSOR_HZ).heading_rad, SENSOR_HZ)
    untangled, swapped = untangle(centred)
    fixed = repair(untangled, SENSOR_HZ, _impossible(untangled))
    smooth = low_pass(fixed.joints_m, SENSOR_HZ, SMOOTH_HZ)
    smooth[..., 1] = low_pass(fixed.joints_m[..., 1], SENSOR_HZ, SMOOTH_DEPTH_HZ)
    return Repaired(smooth, fixed.repaired | swapped, fixed.lost)


def _impossible(joints_m: Float[np.ndarray, "frame joint 3"]) -> Bool[np.ndarray, "frame joint"]:
    """Where nobody's joints are in a walk: a leg or an arm far out to the side, a head beside the neck."""
    bad = np.zeros(joints_m.shape[:2], dtype=bool)
    sideways = np.abs(joints_m[..., 1] - np.median(joints_m[..., 1], axis=0))
    bad[:, LEGS] = sideways[:, LEGS] > FARTHEST_SIDEWAYS_M["leg"]
    bad[:, ARMS] = sideways[:, ARMS] > FARTHEST_SIDEWAYS_M["arm"]
    head = joints_m[:, J["head"]] - joints_m[:, J["neck"]]
    bad[:, J["head"]] = head[:, 2] < 0.7 * np.linalg.norm(head, axis=1)
    return bad


def regular_steps(joints_m: Float[np.ndarray, "frame joint 3"]) -> Bool[np.ndarray, " frame"]:
    """Frames between passes of the ankles that are one step apart in time: confused legs pass too soon or too late."""
    apart = low_pass(joints_m[:, J["left_ankle"], 0] - joints_m[:, J["right_ankle"], 0], SENSOR_HZ, 4.0)
    apart = apart - apart.mean()
    passes = np.flatnonzero(np.diff(apart > 0)) + 1
    regular = np.zeros(len(apart), dtype=bool)
    shortest, longest = (int(seconds * SENSOR_HZ) for seconds in STEP_RANGE_S)
    edges = [0, *passes.tolist(), len(apart)]
    for start, stop in itertools.pairwise(edges):
        inside = start > 0 and stop < len(apart)  # the first and the last step are not seen whole
        regular[start:stop] = stop - start <= longest and (not inside or stop - start >= shortest)
    return regular


def untangle(
    joints_m: Float[np.ndarray, "frame joint 3"],
) -> tuple[Float[np.ndarray, "frame joint 3"], Bool[np.ndarray, " frame"]]:
    """Left and right of legs, hips and arms as the cheapest sequence of labels, and the frames whose labels were exchanged.

    A sequence costs how far each joint travels from frame to frame (squared) and how far its left lies on the right.
    """
    fixed, changed = joints_m.copy(), np.zeros(len(joints_m), dtype=bool)
    for parts in ("knee ankle foot", "hip", "shoulder elbow wrist hand"):
        left, right = ([J[f"{side}_{part}"] for part in parts.split()] for side in ("left", "right"))
        a, b = joints_m[:, left], joints_m[:, right]
        keep = np.square(np.diff(a, axis=0)).sum((1, 2)) + np.square(np.diff(b, axis=0)).sum((1, 2))
        swap = np.square(a[1:] - b[:-1]).sum((1, 2)) + np.square(b[1:] - a[:-1]).sum((1, 2))
        width = a[..., 1] - b[..., 1]
        wrong = [WRONG_SIDE * np.square(np.maximum(sign * width, 0)).sum(axis=1) for sign in (-1, 1)]
        flipped = _cheapest(np.stack(wrong, axis=1), swap - keep)
        exchange = flipped[:, None, None]
        fixed[:, left], fixed[:, right] = np.where(exchange, b, a), np.where(exchange, a, b)
        changed |= flipped
    return fixed, changed


def _cheapest(
    state_cost: Float[np.ndarray, "frame 2"], change_cost: Float[np.ndarray, " change"]
) -> Bool[np.ndarray, " frame"]:
    """Viterbi over two states; `change_cost` is what changing costs more than staying (less when negative)."""
    costs, changes = state_cost.tolist(), change_cost.tolist()
    zero, one = costs[0]
    came = []
    for (cost_0, cost_1), change in zip(costs[1:], changes, strict=True):
        from_one, from_zero = one + change < zero, zero + change < one
        came.append((from_one, not from_zero))
        zero, one = min(zero, one + change) + cost_0, min(one, zero + change) + cost_1
    states = [one < zero]
    for from_one_to_zero, from_one_to_one in reversed(came):
        states.append(from_one_to_one if states[-1] else from_one_to_zero)
    return np.array(states[::-1])


def unbiased(joints_m: Float[np.ndarray, "frame joint 3"], widths_m: dict[str, float]) -> Float[np.ndarray, "frame joint 3"]:
    """The sensor sees a walker from the side and draws the hidden half of the body towards the visible one.

    Shoulder lines are seen some 40 degrees off, feet beside the pelvis. A straight walk is symmetric on average, so the mean
    left-to-right line of every pair of joints is turned sideways, shoulders and hips as wide as `widths_m`, and the mean
    place of every joint brought to the middle; movement about the mean stays as measured.
    """
    fixed = joints_m.copy()
    mean = joints_m.mean(axis=0)
    fixed[:, list(MIDLINE), 1] -= mean[list(MIDLINE), 1]
    for left, right in PAIRS:
        part = JOINTS[left].removeprefix("left_")
        width = widths_m.get(part) or float(np.linalg.norm((mean[left] - mean[right])[:2]))
        if part in ("elbow", "wrist", "hand"):
            width = max(width, widths_m["shoulder"])  # arms hang beside the trunk, where confused labels average to its middle
        half = np.array([0.0, width / 2, 0.0])
        middle = (mean[left] + mean[right]) / 2 * [1, 0, 1]
        fixed[:, left] += middle + half - mean[left]
        fixed[:, right] += middle - half - mean[right]
    return fixed


def widths_m(joints_m: Float[np.ndarray, "frame joint 3"]) -> dict[str, float]:
    """How wide shoulders and hips are in the frames of a recording that show them best."""
    parts = {part: joints_m[:, J[f"left_{part}"]] - joints_m[:, J[f"right_{part}"]] for part in ("shoulder", "hip")}
    return {part: float(np.quantile(np.linalg.norm(line, axis=1), 0.75)) for part, line in parts.items()}
