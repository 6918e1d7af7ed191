"""Motion: properties of every walk, whatever recorded it."""

import numpy as np
import pytest

from people.layouts.motion import (
    BONES,
    FOOT_ABOVE_GROUND_M,
    J,
    body_centred,
    bone_lengths_m,
    distance_m,
    gait,
    low_pass,
    pieces,
    repair,
    resample,
    runs,
    step_rate_hz,
    walking_speed,
)
from people.records import JOINTS, Motion

HZ = 30.0
STEP_HZ, STRIDE_SPEED_M_S = 1.75, 1.2


def stick_walker(frames: int = 150) -> np.ndarray:
    """A walker along +x whose feet stand in turn: a standing foot moves back at walking speed, then swings forward."""
    seconds = np.arange(frames) / HZ
    joints = np.zeros((frames, len(JOINTS), 3))
    for name, height in {"head": 1.65, "neck": 1.45, "spine": 1.1, "pelvis": 0.95}.items():
        joints[:, J[name], 2] = height
    stride_s = 2 / STEP_HZ
    reach = STRIDE_SPEED_M_S * stride_s * 0.6 / 2  # a foot stands for 60 % of the stride
    for side, sign, phase in (("left", 1, 0.0), ("right", -1, 0.5)):
        cycle = (seconds / stride_s + phase) % 1
        swing = (cycle - 0.6) / 0.4
        x = np.where(cycle < 0.6, reach - STRIDE_SPEED_M_S * cycle * stride_s, -reach * np.cos(np.pi * swing))
        up = np.where(cycle < 0.6, 0, 0.08 * np.sin(np.pi * np.clip(swing, 0, 1)))
        for joint, height, share, y in (
            ("hip", 0.9, 0, 0.09),
            ("knee", 0.5, 0.5, 0.09),
            ("ankle", 0.1, 1, 0.08),
            ("foot", 0.03, 1, 0.08),
        ):
            joints[:, J[f"{side}_{joint}"]] = np.stack([share * x, np.full(frames, sign * y), height + share * up], axis=1)
        joints[:, J[f"{side}_knee"], 0] += 0.06
        joints[:, J[f"{side}_foot"], 0] += 0.12
        for joint, height, share in (("shoulder", 1.4, 0), ("elbow", 1.1, 0.15), ("wrist", 0.88, 0.4), ("hand", 0.8, 0.5)):
            joints[:, J[f"{side}_{joint}"]] = np.stack(
                [-share * x, np.full(frames, sign * 0.2), np.full(frames, height)], axis=1
            )
    return joints


def turned(joints: np.ndarray, rad: float) -> np.ndarray:
    cos, sin = np.cos(rad), np.sin(rad)
    return joints @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def walk(frames: int = 150) -> Motion:
    return Motion("w001", "1a", stick_walker(frames), np.arange(frames) * STRIDE_SPEED_M_S / HZ, HZ)


@pytest.mark.parametrize("heading_deg", [-170, -90, -20, 0, 45, 90, 135, 180])
def test_the_heading_is_the_direction_of_walking(heading_deg):
    estimated = gait(turned(stick_walker(), np.radians(heading_deg)), HZ)
    error = np.angle(np.exp(1j * (estimated.heading_rad - np.radians(heading_deg))))
    assert np.abs(np.degrees(error)).max() < 2
    assert estimated.coherence.min() > 0.95


def test_heading_does_not_depend_on_which_leg_is_called_left():
    walker = stick_walker()
    mislabelled = walker.copy()
    for joint in ("hip", "knee", "ankle", "foot"):
        mislabelled[:, [J[f"left_{joint}"], J[f"right_{joint}"]]] = walker[:, [J[f"right_{joint}"], J[f"left_{joint}"]]]
    np.testing.assert_allclose(gait(mislabelled, HZ).heading_rad, gait(walker, HZ).heading_rad, atol=1e-9)


@pytest.mark.parametrize("heading_deg", [0, 70, -130])
def test_body_centring_undoes_where_a_person_is_and_where_they_head(heading_deg):
    walker, heading = stick_walker(), np.radians(heading_deg)
    moved = turned(walker, heading) + [3.0, -2.0, 0.5] + np.linspace(0, 4, len(walker))[:, None, None] * [1, 1, 0]
    centred = body_centred(moved, np.full(len(walker), heading), HZ)
    np.testing.assert_allclose(centred, walker, atol=0.01)
    np.testing.assert_allclose(centred[:, J["pelvis"], :2], 0, atol=1e-12)
    assert abs(centred[:, [J["left_foot"], J["right_foot"]], 2].min() - FOOT_ABOVE_GROUND_M) < 0.01


def test_left_of_a_centred_walker_lies_on_positive_y():
    centred = body_centred(turned(stick_walker(), 1.0), np.full(150, 1.0), HZ)
    assert (centred[:, J["left_shoulder"], 1] > centred[:, J["right_shoulder"], 1]).all()


def test_a_standing_foot_moves_backwards_at_walking_speed():
    speed = walking_speed(stick_walker(), HZ)
    assert abs(speed.mean() / STRIDE_SPEED_M_S - 1) < 0.05


def test_twice_as_fast_a_recording_is_twice_as_fast_a_walk():
    walker = stick_walker()
    assert walking_speed(walker, 2 * HZ).mean() == pytest.approx(2 * walking_speed(walker, HZ).mean(), rel=0.1)


def test_two_steps_make_a_stride():
    assert step_rate_hz(walk()) == pytest.approx(STEP_HZ, abs=0.02)


def test_distance_is_the_area_under_speed():
    # 1, 3, 3 m/s at 2 Hz: trapezia of (1+3)/2/2 and (3+3)/2/2
    np.testing.assert_allclose(distance_m(np.array([1.0, 3.0, 3.0]), 2.0), [0, 1, 2.5])


def test_a_joint_that_jumps_is_put_back_and_counted():
    walker = stick_walker()
    broken = walker.copy()
    broken[40:43, J["left_wrist"]] += [0.6, 0, 0.3]
    broken[90, J["right_knee"]] += [0, 0.5, 0]
    fixed = repair(broken, HZ)
    assert set(np.flatnonzero(fixed.repaired)) == {40, 41, 42, 90}
    assert not fixed.lost.any()
    np.testing.assert_allclose(fixed.joints_m, walker, atol=0.03)


def test_a_clean_walk_is_left_as_it_is():
    walker = stick_walker()
    fixed = repair(walker, HZ)
    assert not fixed.repaired.any()
    np.testing.assert_allclose(fixed.joints_m, walker)


def test_a_leg_missing_for_half_a_second_is_lost_not_invented():
    broken = stick_walker()
    broken[60:76, J["left_ankle"]] += [0, 0, 1.5]
    lost = repair(broken, HZ).lost
    assert lost[60:76].all()
    assert not lost[:55].any()
    assert not lost[82:].any()


def test_bones_are_as_long_whatever_way_the_body_is_turned():
    walker = stick_walker()
    assert bone_lengths_m(walker).shape == (150, len(BONES)) == (150, 19)
    np.testing.assert_allclose(bone_lengths_m(turned(walker, 0.7) + 5), bone_lengths_m(walker), atol=1e-12)


def test_resampling_keeps_the_first_frame_and_the_pace():
    seconds = np.arange(121) / 120
    slow = resample(np.sin(2 * np.pi * seconds), 120.0, 30.0)
    np.testing.assert_allclose(slow, np.sin(2 * np.pi * np.arange(31) / 30), atol=0.02)
    fast = resample(np.arange(31.0), 30.0, 60.0)
    np.testing.assert_allclose(fast, np.arange(61) / 2, atol=1e-9)


def test_a_frame_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match="expected positive frame rates"):
        resample(np.arange(9.0), 30.0, 0.0)


def test_smoothing_keeps_slow_movement_and_takes_away_jitter():
    seconds = np.arange(300) / HZ
    gentle, jitter = np.sin(2 * np.pi * seconds), np.sin(2 * np.pi * 13 * seconds)
    smooth = low_pass(gentle + 0.2 * jitter, HZ, 6.0)
    np.testing.assert_allclose(smooth[20:-20], gentle[20:-20], atol=0.02)


def test_runs_are_the_unbroken_stretches_of_true():
    assert runs(np.array([True, True, False, True, False, False, True])) == [(0, 2), (3, 4), (6, 7)]
    assert runs(np.zeros(3, dtype=bool)) == []


def test_pieces_of_a_walk_share_no_frame_and_start_their_own_distance():
    motion = walk(150)
    cuts = pieces(motion, 60)
    assert [len(piece) for piece in cuts] == [60, 60]
    np.testing.assert_array_equal(np.concatenate([piece.joints_m for piece in cuts]), motion.joints_m[:120])
    assert [piece.forward_m[0] for piece in cuts] == [0, 0]
    assert pieces(motion, 151) == []


def test_a_piece_of_no_frames_is_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        pieces(walk(10), 0)
