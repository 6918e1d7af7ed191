"""Kinect gait archive (Andersson and Araujo, AAAI 2015): walks on a semicircle round a sensor that rotates with the walker.

Layout: `Data/PersonNNN/k.txt`, one line `Joint-Name;x;y;z` per joint, 20 joints per frame, starting with `Head`;
`GenderBMIData/person-data.csv` has height, weight, age and sex where known. y is up, z points away from the sensor.
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
from people.layouts.files import decode_text, read_csv
from people.layouts.motion import (
    LEGS,
    MIDLINE,
    PAIRS,
    J,
    RepairedJoints,
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
from people.synth.motion import WalkRequest

SENSOR_HZ = 30.0
SMOOTH_HZ = 6.0  # above lies the sensor's jitter and almost nothing of the walking motion
SMOOTH_DEPTH_HZ = 3.0  # sideways is the sensor's depth, its least accurate axis; sway stays below 2 Hz
MIN_WALK_S = 1.5  # at least two and a half steps
MIN_SWING_M, MIN_COHERENCE, MAX_TURN_RAD_S = 0.2, 0.8, 0.8
WRONG_SIDE_COST = 0.5  # cost of a square metre on the wrong side relative to a square metre travelled
SPEED_RANGE_M_S = (0.6, 2.0)
MIN_SPEED_RATIO = 0.6  # of the median speed; slower frames are starts, stops and turns
STEP_RANGE_S = (0.3, 0.9)
MAX_SIDEWAYS_M = {"leg": 0.2, "arm": 0.3}
ARMS = [J[f"{side}_{joint}"] for side in ("left", "right") for joint in ("elbow", "wrist", "hand")]
_PATTERN = re.compile(r"/(Person\d+/\d+\.txt|person-data\.csv)$", re.IGNORECASE)
_EXPECTED = "walks Data/PersonNNN/k.txt and a table GenderBMIData/person-data.csv"
_COLUMNS = ["Individual", "Height", "Weight (Kg)", "Age", "Gender"]
_MIDLINE_NAMES = {"head": "Head", "neck": "Shoulder-Center", "spine": "Spine", "pelvis": "Hip-centro"}
SENSOR_JOINTS = tuple(
    _MIDLINE_NAMES.get(joint) or "-".join(word.title() for word in reversed(joint.split("_"))) for joint in JOINTS
)


@dataclass(frozen=True)
class _Person:
    sex: Sex | None
    age_years: float | None
    height_m: float | None
    weight_kg: float | None


@dataclass(frozen=True, eq=False)
class _SteadyWalk:
    joints_m: Float[np.ndarray, "frame joint 3"]
    speed_m_s: Float[np.ndarray, " frame"]
    repaired_frames: int


def walks(request: WalkRequest) -> list[Motion]:
    """All walks of the archive."""
    return read(request.archive, frame_rate_hz=request.frame_rate_hz)


def read(archive: Path, *, frame_rate_hz: float = 30.0) -> list[Motion]:
    """The steady intervals of all walks, by person, walk and time; walk "3b" is the second interval of file 3.txt."""
    files = members(archive, _PATTERN, expected=_EXPECTED)
    tables = [name for name in files if name.lower().endswith("person-data.csv")]
    if not tables:
        raise ValueError(f"{archive}: expected a table GenderBMIData/person-data.csv, found none; restore it beside Data/")
    people = _read_people(f"{archive}/{tables[0]}", files[tables[0]])
    walk_files = sorted((Path(name).parent.name, int(Path(name).stem), name) for name in files if name.lower().endswith(".txt"))
    if not walk_files:
        raise ValueError(f"{archive}: expected walks Data/PersonNNN/k.txt, found none; restore them beside GenderBMIData/")
    motions, spelled = [], {subject.lower(): subject for subject in people}
    for folder, walk_number, name in walk_files:
        source, subject = f"{archive}/{name}", spelled.get(folder.lower())
        if subject is None:
            raise ValueError(f"{source}: expected {folder} in person-data.csv, found no such row; add it or remove the folder")
        steady_walks = _steady_walks(_read_walk(source, files[name]))
        for letter, steady_walk in zip(ascii_lowercase, steady_walks, strict=False):
            motions.append(_motion(steady_walk, subject, f"{walk_number}{letter}", people[subject], frame_rate_hz))
    return motions


def _motion(steady_walk: _SteadyWalk, subject: str, walk_id: str, person: _Person, frame_rate_hz: float) -> Motion:
    return Motion(
        subject_id=subject,
        walk_id=walk_id,
        joints_m=resample(steady_walk.joints_m, SENSOR_HZ, frame_rate_hz),
        forward_m=resample(distance_m(steady_walk.speed_m_s, SENSOR_HZ), SENSOR_HZ, frame_rate_hz),
        frame_rate_hz=frame_rate_hz,
        sex=person.sex,
        age_years=person.age_years,
        height_m=person.height_m,
        weight_kg=person.weight_kg,
        repaired_frames=steady_walk.repaired_frames,
    )


def _read_people(source: str, content: bytes) -> dict[str, _Person]:
    table = read_csv(content, source, f"a table with the columns {_COLUMNS}", dtype=str, skipinitialspace=True)
    if missing := [column for column in _COLUMNS if column not in table]:
        raise ValueError(f"{source}: expected columns {_COLUMNS}, missing {missing}; restore the original table")
    people = {}
    for line, row in enumerate(table[_COLUMNS].fillna("").itertuples(index=False), start=2):
        person, height, weight, age, gender = (str(value).strip() for value in row)
        if not person:
            continue  # the official table ends with empty rows
        if gender not in ("F", "M", ""):
            raise ValueError(f"{source}, line {line}: expected Gender F, M or empty, got {gender!r}; correct the table")
        sex: Sex | None = {"F": "female", "M": "male"}.get(gender)  # pyright: ignore[reportAssignmentType]
        numbers = (_parse_number(value, f"{source}, line {line}") for value in (age, height, weight))
        people[person] = _Person(sex, *numbers)
    return people


def _parse_number(text: str, source: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{source}: expected a number or nothing, got {text!r}; correct the table") from error


def _read_walk(source: str, content: bytes) -> Float[np.ndarray, "frame joint 3"]:
    """Joints in the order of `JOINTS`, in metres, right-handed with z up."""
    text = decode_text(content, source).rstrip()
    table = pd.read_csv(io.StringIO(text), sep=";", header=None, names=["joint", "x", "y", "z", "more"], skip_blank_lines=False)
    xyz = table[["x", "y", "z"]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    joint_codes = pd.Categorical(table["joint"], categories=list(SENSOR_JOINTS)).codes
    is_bad = (joint_codes < 0) | ~np.isfinite(xyz).all(axis=1) | table["more"].notna().to_numpy()
    if is_bad.any():
        line = int(is_bad.argmax())
        bad_line = text.splitlines()[line]
        raise ValueError(
            f"{source}, line {line + 1}: expected Joint-Name;x;y;z in metres, got {bad_line!r}; restore or remove the file"
        )
    starts = np.flatnonzero(joint_codes == J["head"])
    counts = np.diff([0, *starts[1:], len(joint_codes)])
    if (is_wrong := counts != len(JOINTS)).any() or not len(starts) or starts[0]:
        frame = int(is_wrong.argmax())
        line = int(np.concatenate([[0], starts[1:]])[frame]) + 1
        raise ValueError(
            f"{source}, line {line}: expected {len(JOINTS)} joints from Head on in frame {frame + 1}, got {counts[frame]}; "
            "restore or remove the file"
        )
    codes = joint_codes.reshape(-1, len(JOINTS))
    if (has_duplicates := (np.sort(codes, axis=1) != np.arange(len(JOINTS))).any(axis=1)).any():
        frame = int(has_duplicates.argmax())
        line = frame * len(JOINTS) + 1
        raise ValueError(f"{source}, line {line}: expected every joint once in frame {frame + 1}; restore or remove the file")
    x, y, z = np.take_along_axis(xyz.reshape(-1, len(JOINTS), 3), np.argsort(codes, axis=1)[..., None], axis=1).T
    return np.stack([x, -z, y]).T


def _steady_walks(joints_m: Float[np.ndarray, "frame joint 3"]) -> list[_SteadyWalk]:
    """The intervals of a recording with steady walking in one direction, without starts, turns or lost tracking."""
    measured, repaired = gait(joints_m, SENSOR_HZ), repair(joints_m, SENSOR_HZ)
    is_turning = np.abs(np.gradient(measured.heading_rad)) * SENSOR_HZ > MAX_TURN_RAD_S
    is_swinging = measured.swing_m > max(MIN_SWING_M, 0.6 * np.quantile(measured.swing_m, 0.75))
    is_steady = ~is_turning & ~repaired.lost & (measured.coherence > MIN_COHERENCE) & is_swinging
    widths, steady_walks = estimate_widths_m(joints_m), []
    for start, stop in _long_runs(is_steady):
        cleaned = _clean_joints(joints_m[start:stop])
        speed = walking_speed(cleaned.joints_m, SENSOR_HZ)
        is_walking = speed > MIN_SPEED_RATIO * np.median(speed)
        for first, last in _long_runs(~cleaned.lost & is_walking & regular_steps(cleaned.joints_m)):
            corrected_m = correct_depth_bias(cleaned.joints_m[first:last], widths)
            speed = walking_speed(corrected_m, SENSOR_HZ)
            if SPEED_RANGE_M_S[0] < speed.mean() < SPEED_RANGE_M_S[1]:
                steady_walks.append(_SteadyWalk(corrected_m, speed, int(cleaned.repaired[first:last].sum())))
    return steady_walks


def _long_runs(flags: Bool[np.ndarray, " frame"]) -> list[tuple[int, int]]:
    return [(start, stop) for start, stop in runs(flags) if stop - start >= MIN_WALK_S * SENSOR_HZ]


def _clean_joints(joints_m: Float[np.ndarray, "frame joint 3"]) -> RepairedJoints:
    """Body-centred joints with sides reassigned, outliers interpolated and jitter low-passed."""
    centred = body_centred(joints_m, gait(joints_m, SENSOR_HZ).heading_rad, SENSOR_HZ)
    relabelled, swapped = assign_sides(centred)
    repaired = repair(relabelled, SENSOR_HZ, _impossible_joints(relabelled))
    smooth = low_pass(repaired.joints_m, SENSOR_HZ, SMOOTH_HZ)
    smooth[..., 1] = low_pass(repaired.joints_m[..., 1], SENSOR_HZ, SMOOTH_DEPTH_HZ)
    return RepairedJoints(smooth, repaired.repaired | swapped, repaired.lost)


def _impossible_joints(joints_m: Float[np.ndarray, "frame joint 3"]) -> Bool[np.ndarray, "frame joint"]:
    """Implausible joints: a leg or an arm far to the side, or a head beside the neck."""
    is_impossible = np.zeros(joints_m.shape[:2], dtype=bool)
    sideways_m = np.abs(joints_m[..., 1] - np.median(joints_m[..., 1], axis=0))
    is_impossible[:, LEGS] = sideways_m[:, LEGS] > MAX_SIDEWAYS_M["leg"]
    is_impossible[:, ARMS] = sideways_m[:, ARMS] > MAX_SIDEWAYS_M["arm"]
    neck_to_head = joints_m[:, J["head"]] - joints_m[:, J["neck"]]
    is_impossible[:, J["head"]] = neck_to_head[:, 2] < 0.7 * np.linalg.norm(neck_to_head, axis=1)
    return is_impossible


def regular_steps(joints_m: Float[np.ndarray, "frame joint 3"]) -> Bool[np.ndarray, " frame"]:
    """Frames whose ankles cross at the interval of a step; swapped leg labels make intervals too short or too long."""
    ankle_distance_m = low_pass(joints_m[:, J["left_ankle"], 0] - joints_m[:, J["right_ankle"], 0], SENSOR_HZ, 4.0)
    ankle_distance_m = ankle_distance_m - ankle_distance_m.mean()
    crossings = np.flatnonzero(np.diff(ankle_distance_m > 0)) + 1
    is_regular = np.zeros(len(ankle_distance_m), dtype=bool)
    shortest, longest = (int(seconds * SENSOR_HZ) for seconds in STEP_RANGE_S)
    boundaries = [0, *crossings.tolist(), len(ankle_distance_m)]
    for start, stop in itertools.pairwise(boundaries):
        is_complete = start > 0 and stop < len(ankle_distance_m)  # the first and the last step are incomplete
        is_regular[start:stop] = stop - start <= longest and (not is_complete or stop - start >= shortest)
    return is_regular


def assign_sides(
    joints_m: Float[np.ndarray, "frame joint 3"],
) -> tuple[Float[np.ndarray, "frame joint 3"], Bool[np.ndarray, " frame"]]:
    """Reassign left and right of legs, hips and arms by the minimum-cost label sequence; also returns the swapped frames.

    The cost is the squared distance that joints travel between frames plus the squared width of pairs on the wrong side.
    """
    relabelled, is_swapped = joints_m.copy(), np.zeros(len(joints_m), dtype=bool)
    for group in ("knee ankle foot", "hip", "shoulder elbow wrist hand"):
        left, right = ([J[f"{side}_{joint}"] for joint in group.split()] for side in ("left", "right"))
        left_m, right_m = joints_m[:, left], joints_m[:, right]
        keep_cost = np.square(np.diff(left_m, axis=0)).sum((1, 2)) + np.square(np.diff(right_m, axis=0)).sum((1, 2))
        swap_cost = np.square(left_m[1:] - right_m[:-1]).sum((1, 2)) + np.square(right_m[1:] - left_m[:-1]).sum((1, 2))
        width_m = left_m[..., 1] - right_m[..., 1]
        side_costs = [WRONG_SIDE_COST * np.square(np.maximum(sign * width_m, 0)).sum(axis=1) for sign in (-1, 1)]
        swapped = _viterbi(np.stack(side_costs, axis=1), swap_cost - keep_cost)
        swap_mask = swapped[:, None, None]
        relabelled[:, left], relabelled[:, right] = np.where(swap_mask, right_m, left_m), np.where(swap_mask, left_m, right_m)
        is_swapped |= swapped
    return relabelled, is_swapped


def _viterbi(
    state_costs: Float[np.ndarray, "frame 2"], change_costs: Float[np.ndarray, " change"]
) -> Bool[np.ndarray, " frame"]:
    """Viterbi algorithm over two states; `change_costs` are the additional costs of changing the state and may be negative."""
    kept, swapped = state_costs[0].tolist()
    predecessors = []
    for (kept_cost, swapped_cost), change in zip(state_costs[1:].tolist(), change_costs.tolist(), strict=True):
        kept_from_swapped, swapped_from_kept = swapped + change < kept, kept + change < swapped
        predecessors.append((kept_from_swapped, not swapped_from_kept))
        kept, swapped = min(kept, swapped + change) + kept_cost, min(swapped, kept + change) + swapped_cost
    is_swapped = [swapped < kept]
    for kept_from_swapped, swapped_from_swapped in reversed(predecessors):
        is_swapped.append(swapped_from_swapped if is_swapped[-1] else kept_from_swapped)
    return np.array(is_swapped[::-1])


def correct_depth_bias(
    joints_m: Float[np.ndarray, "frame joint 3"], widths_m: dict[str, float]
) -> Float[np.ndarray, "frame joint 3"]:
    """Correct the sensor's bias: seen from the side, it displaces the hidden half of the body towards the visible one.

    Shoulder lines are rotated by about 40 degrees and feet lie beside the pelvis. A straight walk is symmetric on average, so
    the mean left-to-right line of every pair of joints is rotated sideways, with widths of shoulders and hips from `widths_m`,
    and its mean centre moved to the midline; motion about the mean is unchanged.
    """
    corrected = joints_m.copy()
    mean_m = joints_m.mean(axis=0)
    corrected[:, list(MIDLINE), 1] -= mean_m[list(MIDLINE), 1]
    for left, right in PAIRS:
        joint = JOINTS[left].removeprefix("left_")
        width_m = widths_m.get(joint) or float(np.linalg.norm((mean_m[left] - mean_m[right])[:2]))
        if joint in ("elbow", "wrist", "hand"):
            width_m = max(width_m, widths_m["shoulder"])  # arms hang beside the trunk; swapped labels average to its middle
        half_m = np.array([0.0, width_m / 2, 0.0])
        middle_m = (mean_m[left] + mean_m[right]) / 2 * [1, 0, 1]
        corrected[:, left] += middle_m + half_m - mean_m[left]
        corrected[:, right] += middle_m - half_m - mean_m[right]
    return corrected


def estimate_widths_m(joints_m: Float[np.ndarray, "frame joint 3"]) -> dict[str, float]:
    """Width of shoulders and hips (m): the upper quartile over a recording, where depth bias is smallest."""
    lines = {joint: joints_m[:, J[f"left_{joint}"]] - joints_m[:, J[f"right_{joint}"]] for joint in ("shoulder", "hip")}
    return {joint: float(np.quantile(np.linalg.norm(offset, axis=1), 0.75)) for joint, offset in lines.items()}
