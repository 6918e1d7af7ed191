from dataclasses import replace

import numpy as np
import pytest

from people.records import ACTIVITIES, JOINTS
from people.synth.activities import SEAT_HEIGHT_M, check_activity, perform
from people.synth.activities.proportions import PARENTS
from people.synth.motion import cmumocap
from people.synth.motion.parametric import motions

PEOPLE = motions(6, walks=1, frames=30, frame_rate_hz=30, seed=5)
SEATS = {"walking": (None,), "running": (None,), "standing": (None,), "sitting": ("bench", "chair")}
J = {name: i for i, name in enumerate(JOINTS)}
SOLE = 0.044  # body heights from the ankle down to a flat sole


def _poses(activity, count=40, people=PEOPLE):
    for seed in range(count):
        motion, seat = people[seed % len(people)], SEATS[activity][seed % len(SEATS[activity])]
        yield motion, seat, perform(motion, activity, seed, seat)


def _bones(joints_m):
    return {name: np.linalg.norm(joints_m[:, J[name]] - joints_m[:, J[parent]], axis=1) for name, parent in PARENTS.items()}


def _sole_m(pose, side):
    """The height of the lower one of heel and ball, from the foot's bone, which slopes 0.376 rad below the sole."""
    ankle, foot = pose.joints_m[0, J[f"{side}_ankle"]], pose.joints_m[0, J[f"{side}_foot"]]
    bone = foot - ankle
    pitch = np.arctan2(bone[2], np.hypot(bone[0], bone[1])) + 0.376
    return ankle[2] - pose.height_m * max(SOLE * np.cos(pitch) - x * np.sin(pitch) for x in (-0.028, 0.078))


def test_somebody_who_walks_is_shown_in_the_walks_first_frame():
    shown = perform(PEOPLE[2].piece(7, 20), "walking", 3, None)
    np.testing.assert_array_equal(shown.joints_m, PEOPLE[2].joints_m[7:8])


@pytest.mark.parametrize("activity", ["running", "sitting", "standing"])
def test_a_pose_is_one_frame_of_the_same_body_over_the_origin(activity):
    for motion, _, pose in _poses(activity):
        assert pose.joints_m.shape == (1, len(JOINTS), 3)
        assert (pose.sex, pose.age_years, pose.height_m, pose.weight_kg) == (
            motion.sex, motion.age_years, motion.height_m, motion.weight_kg,
        )  # fmt: skip
        np.testing.assert_allclose(pose.joints_m[0, J["pelvis"], :2], 0, atol=1e-6)
        expected, bones = _bones(motion.joints_m), _bones(pose.joints_m)
        for name, length_m in bones.items():
            assert length_m[0] == pytest.approx(np.median(expected[name]), rel=0.02), name


@pytest.mark.parametrize("activity", ["running", "sitting", "standing"])
def test_the_same_seed_gives_the_same_pose_and_others_differ(activity):
    seat = SEATS[activity][0]
    poses = [perform(PEOPLE[1], activity, seed, seat).joints_m for seed in range(12)]
    np.testing.assert_array_equal(poses[4], perform(PEOPLE[1], activity, 4, seat).joints_m)
    spread_m = np.std([pose[0, [J["left_wrist"], J["right_knee"]]] for pose in poses], axis=0).max(axis=1)
    assert (spread_m > 0.02).all()


@pytest.mark.parametrize("activity", ["running", "sitting", "standing"])
def test_no_joint_and_no_sole_is_below_the_ground(activity):
    for _, _, pose in _poses(activity, 120):
        assert pose.joints_m[..., 2].min() > 0
        assert min(_sole_m(pose, side) for side in ("left", "right")) > -0.005


def test_somebody_who_stands_has_a_foot_on_the_ground_and_straight_legs_at_most():
    for _, _, pose in _poses("standing", 80):
        assert min(_sole_m(pose, side) for side in ("left", "right")) == pytest.approx(0, abs=0.01)


def test_running_has_flight_and_stance():
    soles_m = np.array([min(_sole_m(pose, side) for side in ("left", "right")) for _, _, pose in _poses("running", 200)])
    flight = (soles_m > 0.01).mean()
    assert 0.1 < flight < 0.4
    assert (np.abs(soles_m) < 0.005).mean() > 0.5
    assert soles_m.max() < 0.12


def test_hips_of_somebody_who_sits_are_on_the_seat_and_thighs_about_horizontal():
    standing_m = np.mean([pose.joints_m[0, J["pelvis"], 2] for _, _, pose in _poses("standing", 12)])
    for motion, seat, pose in _poses("sitting", 80):
        hips_m = pose.joints_m[0, [J["left_hip"], J["right_hip"]], 2].mean()
        assert 0.04 < hips_m - SEAT_HEIGHT_M[seat] < 0.075 * motion.height_m
        assert hips_m < standing_m - 0.25
        for side in ("left", "right"):
            thigh = pose.joints_m[0, J[f"{side}_knee"]] - pose.joints_m[0, J[f"{side}_hip"]]
            assert abs(thigh[2]) < 0.5 * np.linalg.norm(thigh)
            assert thigh[0] > 0


def test_joint_angles_are_those_of_people():
    for activity in ("running", "sitting", "standing"):
        for _, _, pose in _poses(activity, 80):
            for side in ("left", "right"):
                for chain, limit_deg in ((("hip", "knee", "ankle"), 135), (("shoulder", "elbow", "wrist"), 150)):
                    start, middle, end = (pose.joints_m[0, J[f"{side}_{name}"]] for name in chain)
                    cosine = (
                        np.dot(middle - start, end - middle) / np.linalg.norm(middle - start) / np.linalg.norm(end - middle)
                    )
                    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) < limit_deg, (activity, chain)
                # a knee bends backwards: it lies in front of the line from hip to ankle
                hip, knee, ankle = (pose.joints_m[0, J[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
                assert np.cross(knee - hip, ankle - knee)[1] > -0.02


def test_somebody_whose_height_is_not_recorded_keeps_the_one_that_the_walk_shows():
    unknown = replace(PEOPLE[3], height_m=None, weight_kg=None)
    assert perform(unknown, "sitting", 1, "chair").height_m == pytest.approx(PEOPLE[3].height_m, abs=0.1)


def test_an_unknown_activity_a_missing_or_needless_seat_and_a_motion_without_frames_are_refused():
    motion = PEOPLE[0]
    with pytest.raises(ValueError, match="activity must be one of walking, running, sitting, standing, got 'flying'"):
        check_activity(motion, "flying", None)
    with pytest.raises(ValueError, match="needs a seat, one of bench, chair"):
        perform(motion, "sitting", 0, None)
    with pytest.raises(ValueError, match="seat must be None for somebody who is running"):
        perform(motion, "running", 0, "bench")
    empty = replace(motion, joints_m=np.zeros((0, 20, 3), np.float32), forward_m=np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="no frames"):
        perform(empty, "standing", 0, None)
    broken = replace(motion, joints_m=np.full((3, 20, 3), np.nan, np.float32), forward_m=np.zeros(3, np.float32))
    for activity in ACTIVITIES:
        with pytest.raises(ValueError, match="not finite"):
            perform(broken, activity, 0, SEATS[activity][0])


def test_a_noisy_recording_of_a_real_walk_gives_the_activities(real_data):
    walks = cmumocap.read(real_data / "cmu-walks/cmu-walks.tar.xz")[::7]
    rng = np.random.default_rng(0)
    for walk in walks:
        noisy = replace(walk, joints_m=(walk.joints_m + rng.normal(0, 0.01, walk.joints_m.shape)).astype(np.float32))
        for activity in ("running", "sitting", "standing"):
            pose = perform(noisy, activity, 5, SEATS[activity][0])
            assert np.isfinite(pose.joints_m).all()
            assert pose.joints_m[..., 2].min() > 0
            thigh_m = np.median(_bones(walk.joints_m)["left_knee"])
            assert _bones(pose.joints_m)["left_knee"][0] == pytest.approx(thigh_m, rel=0.03)
