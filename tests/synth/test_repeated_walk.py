import re
from dataclasses import replace

import numpy as np
import pytest

from people.layouts.archives import members
from people.layouts.motion import J, bone_lengths_m, step_rate_hz
from people.synth.motion import cmumocap, kinectgait
from people.synth.motion.parametric import motions
from people.synth.repeated_walk import repeat_walk

WALKS = motions(4, walks=1, frames=75, frame_rate_hz=30, seed=5)
FEET = [J["left_ankle"], J["right_ankle"], J["left_foot"], J["right_foot"]]


def _check_repeated(motion, frames=400, tolerance=0.1):
    """No joint jumps, and the person walks on at the same speed and step rate."""
    repeated = repeat_walk(motion, frames)
    assert len(repeated) == len(repeated.forward_m) == frames
    assert repeated.forward_m[0] == 0
    world_m = [each.joints_m + np.multiply.outer(each.forward_m, [1, 0, 0])[:, None] for each in (motion, repeated)]
    fastest, fastest_repeated = (np.linalg.norm(np.diff(joints_m, axis=0), axis=2).max() for joints_m in world_m)
    assert fastest_repeated < 1.3 * fastest
    sharpest, sharpest_repeated = (np.linalg.norm(np.diff(joints_m, 2, axis=0), axis=2).max() for joints_m in world_m)
    assert sharpest_repeated < 2 * sharpest
    speed, speed_repeated = (each.forward_m[-1] / (len(each) - 1) for each in (motion, repeated))
    assert speed_repeated == pytest.approx(speed, rel=tolerance)
    assert step_rate_hz(repeated) == pytest.approx(step_rate_hz(motion), rel=tolerance)
    lengths_m, lengths_repeated_m = bone_lengths_m(motion.joints_m), bone_lengths_m(repeated.joints_m)
    assert (lengths_repeated_m > lengths_m.min(axis=0) - 0.03).all()
    assert (lengths_repeated_m < lengths_m.max(axis=0) + 0.03).all()
    return repeated


@pytest.mark.parametrize("person", range(4))
def test_a_repeated_walk_goes_on_as_it_was(person):
    motion = WALKS[person]
    repeated = _check_repeated(motion)
    assert repeated.height_m == motion.height_m
    # The first frames are the recorded ones.
    np.testing.assert_array_equal(repeated.joints_m[:20], motion.joints_m[:20])
    np.testing.assert_allclose(repeated.forward_m[:20], motion.forward_m[:20], atol=1e-5)


def test_a_longer_repetition_begins_with_the_shorter_one():
    short, long = repeat_walk(WALKS[0], 200), repeat_walk(WALKS[0], 300)
    np.testing.assert_array_equal(long.joints_m[:200], short.joints_m)


def test_a_walk_that_is_long_enough_is_cut_and_not_repeated():
    np.testing.assert_array_equal(repeat_walk(WALKS[0], 75).joints_m, WALKS[0].joints_m)
    np.testing.assert_array_equal(repeat_walk(WALKS[0], 30).forward_m, WALKS[0].forward_m[:30])


def test_left_and_right_take_turns_at_every_seam():
    """Between two steps of the left foot there is one of the right, however often the walk is repeated."""
    repeated = repeat_walk(WALKS[1], 600)
    ahead_m = repeated.joints_m[:, J["left_ankle"], 0] - repeated.joints_m[:, J["right_ankle"], 0]
    changes = np.flatnonzero(np.diff(np.sign(ahead_m)))
    between = np.diff(changes) / repeated.frame_rate_hz
    assert between.max() < 1.4 / step_rate_hz(WALKS[1])
    assert between.min() > 0.6 / step_rate_hz(WALKS[1])


def test_walks_that_cannot_be_repeated_are_refused():
    with pytest.raises(ValueError, match="at least one frame, got 0"):
        repeat_walk(WALKS[0], 0)
    for frames in (1, 12, 20):
        with pytest.raises(ValueError, match=f"expected a gait cycle and 6 frames before it .* of {frames} frames at 30 Hz"):
            repeat_walk(WALKS[0].piece(0, frames), 100)
    broken = replace(WALKS[0], joints_m=np.full_like(WALKS[0].joints_m, np.nan))
    with pytest.raises(ValueError, match="not finite"):
        repeat_walk(broken, 100)
    straight = np.linspace(0, 3, 75)[:, None, None] + np.zeros((75, 20, 3))
    with pytest.raises(ValueError, match="that ends as it begins"):
        repeat_walk(replace(WALKS[0], joints_m=straight.astype(np.float32)), 100)


def test_walks_of_motion_capture_are_repeated(real_data):
    for walk in cmumocap.read(real_data / "cmu-walks/cmu-walks.tar.xz", frame_rate_hz=30.0):
        _check_repeated(walk)


def test_walks_before_a_depth_sensor_are_repeated(real_data, tmp_path):
    pattern = re.compile(r"/(Person0(02|59)/1\.txt|person-data\.csv)$")
    files = members(real_data / "kinect-gait/kinect-gait.tar.xz", pattern, expected="walks")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    walks = [walk for walk in kinectgait.read(tmp_path) if len(walk) >= 90]
    assert walks
    for walk in walks:
        _check_repeated(walk, tolerance=0.2)  # their speed changes more: the person walks round the sensor
