import dataclasses

import numpy as np
import pytest

from people.records import JOINTS
from people.synth.motion import parametric
from people.synth.motion.parametric import motions
from people.synth.motion.parametric.traits import draw_traits

J = {name: i for i, name in enumerate(JOINTS)}
HZ = 60.0


@pytest.fixture(scope="module")
def walks():
    return motions(16, walks=2, frames=150, frame_rate_hz=HZ, seed=4)


def _world(motion):
    joints = motion.joints_m.astype(float)
    joints[..., 0] += motion.forward_m[:, None]
    return joints


def _step_rate_hz(motion):
    distance_m = motion.joints_m[:, J["left_ankle"], 0] - motion.joints_m[:, J["right_ankle"], 0]
    spectrum = np.abs(np.fft.rfft(distance_m - distance_m.mean(), 8192))
    return 2 * np.argmax(spectrum) * HZ / 8192


def _knee_deg(motion, side):
    hip, knee, ankle = (motion.joints_m[:, J[f"{side}_{name}"]].astype(float) for name in ("hip", "knee", "ankle"))
    a, b = hip - knee, ankle - knee
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return 180 - np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_a_flat_standing_foot_stays_where_it_is(walks):
    for motion in walks:
        joints = _world(motion)
        for side in ("left", "right"):
            ankle, ball = joints[:, J[f"{side}_ankle"]], joints[:, J[f"{side}_foot"]]
            pitch = ankle[:, 2] - ball[:, 2]
            speed = np.abs(np.diff(ankle[:, 0])) * HZ
            # Flat on the ground: ankle and ball both as low as they get.
            is_flat_frame = (ankle[:, 2] < ankle[:, 2].min() + 0.004) & (
                np.abs(pitch - np.median(pitch[ankle[:, 2] < 0.09])) < 0.01
            )
            is_flat = is_flat_frame[1:] & is_flat_frame[:-1]
            assert is_flat.sum() >= 10
            assert np.mean(speed[is_flat]) < 0.12
            swing = speed[ankle[1:, 2] > ankle[:, 2].min() + 0.05]
            assert swing.mean() > 1.0


def test_no_foot_slips_further_than_two_centimetres_while_it_stands(walks):
    for motion in walks[::3]:
        ankle = _world(motion)[:, J["left_ankle"]]
        low = ankle[:, 2] < ankle[:, 2].min() + 0.003
        for run in np.split(np.arange(len(low)), np.flatnonzero(np.diff(low.astype(int))) + 1):
            if low[run[0]] and len(run) > 5:
                assert np.ptp(ankle[run, 0]) < 0.05


def test_feet_reach_the_ground_and_do_not_pass_through_it(walks):
    for motion in walks:
        feet = motion.joints_m[:, [J["left_foot"], J["right_foot"]], 2]
        assert feet.min() > 0
        assert feet.min(axis=1).max() < 0.06


def test_people_take_between_1_4_and_2_2_steps_a_second_and_the_drawn_rate(walks):
    for motion in walks:
        assert 1.4 <= _step_rate_hz(motion) <= 2.25


def test_knees_bend_forward_and_most_in_swing(walks):
    for motion in walks:
        for side in ("left", "right"):
            hip, knee, ankle = (motion.joints_m[:, J[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
            share = (hip[:, 2] - knee[:, 2]) / (hip[:, 2] - ankle[:, 2])
            line = hip[:, 0] + share * (ankle[:, 0] - hip[:, 0])
            assert (knee[:, 0] > line - 1e-3).all()
            bend = _knee_deg(motion, side)
            assert bend.min() < 20
            assert 35 < bend.max() < 80


def test_arms_swing_against_the_legs_of_their_side(walks):
    swings = []
    for motion in walks:
        hand = motion.joints_m[:, J["left_wrist"], 0] - motion.joints_m[:, J["right_wrist"], 0]
        foot = motion.joints_m[:, J["left_ankle"], 0] - motion.joints_m[:, J["right_ankle"], 0]
        swings.append(np.corrcoef(hand, foot)[0, 1])
    assert np.max(swings) < -0.5


def test_the_pelvis_stays_over_the_origin_and_the_walk_starts_at_zero(walks):
    for motion in walks:
        np.testing.assert_allclose(motion.joints_m[:, J["pelvis"], :2], 0, atol=1e-6)
        assert motion.forward_m[0] == 0
        assert (np.diff(motion.forward_m) > 0).all()


def test_bones_keep_their_lengths(walks):
    motion = walks[3]
    for a, b in (("left_hip", "left_knee"), ("right_knee", "right_ankle"), ("left_shoulder", "left_elbow"), ("neck", "head")):
        length = np.linalg.norm(motion.joints_m[:, J[a]] - motion.joints_m[:, J[b]], axis=1)
        np.testing.assert_allclose(length, length[0], atol=1e-4)


def test_the_same_seed_gives_the_same_walks_and_another_seed_others():
    first, again = (motions(3, walks=2, frames=20, frame_rate_hz=30, seed=9) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert a.walk_id == b.walk_id
        assert a.joints_m.tobytes() == b.joints_m.tobytes()
    other = motions(3, walks=2, frames=20, frame_rate_hz=30, seed=10)
    assert not np.allclose(first[0].joints_m, other[0].joints_m)


def test_more_people_or_walks_leave_the_first_ones_as_they_are():
    few = motions(2, walks=1, frames=10, frame_rate_hz=30, seed=2)
    many = motions(4, walks=3, frames=10, frame_rate_hz=30, seed=2)
    np.testing.assert_array_equal(few[1].joints_m, many[3].joints_m)


def test_half_of_the_people_are_women_and_all_are_labelled():
    people = motions(10, walks=1, frames=2, frame_rate_hz=30, seed=0)
    assert sum(m.sex == "female" for m in people) == 5
    assert [m.subject_id for m in people[:2]] == ["w001", "w002"]
    for m in people:
        assert m.age_years is not None
        assert 18 <= m.age_years <= 75
        assert m.height_m is not None
        assert 1.4 < m.height_m < 2.1
        assert m.weight_kg is not None
        assert 35 < m.weight_kg < 160


def test_women_step_shorter_and_faster_and_the_old_shorter_and_more_stooped():
    drawn = {
        (sex, age): [draw_traits(np.random.default_rng([7, i]), sex, age) for i in range(150)]
        for sex in ("female", "male")
        for age in (25.0, 70.0)
    }

    def mean(sex, age, name):
        return np.mean([getattr(traits, name) for traits in drawn[sex, age]])

    for age in (25.0, 70.0):
        assert mean("female", age, "stride_m") < mean("male", age, "stride_m") - 0.1
        assert mean("female", age, "step_rate_hz") > mean("male", age, "step_rate_hz") + 0.05
        assert mean("female", age, "pelvis_yaw") > mean("male", age, "pelvis_yaw")
        assert mean("female", age, "shoulder_half_m") < mean("male", age, "shoulder_half_m")
    for sex in ("female", "male"):
        assert mean(sex, 70.0, "stride_m") < mean(sex, 25.0, "stride_m") - 0.1
        assert mean(sex, 70.0, "stoop") > mean(sex, 25.0, "stoop") + 0.1
        assert mean(sex, 70.0, "step_rate_hz") < mean(sex, 25.0, "step_rate_hz")


def test_walks_of_one_person_are_more_alike_than_walks_of_two():
    people = motions(12, walks=2, frames=180, frame_rate_hz=HZ, seed=6)

    def profile(motion):
        # Spread and mean of every joint over the walk: independent of where the cycle starts.
        size = motion.height_m
        return np.concatenate([motion.joints_m.std(axis=0).ravel(), motion.joints_m.mean(axis=0).ravel()]) / size

    profiles = np.stack([profile(m) for m in people])
    distance = np.linalg.norm(profiles[:, None] - profiles[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    assert np.mean(nearest // 2 == np.arange(len(people)) // 2) > 0.8


def test_traits_are_frozen():
    traits = draw_traits(np.random.default_rng(0), "male", 40.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        traits.stride_m = 2.0  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("bad", [{"count": 0}, {"walks": 0}, {"frames": 0}, {"frame_rate_hz": 0.0}])
def test_no_people_walks_frames_or_frame_rate_is_refused(bad):
    options = {"count": 1, "walks": 1, "frames": 5, "frame_rate_hz": 30.0, "seed": 0} | bad
    with pytest.raises(ValueError, match=next(iter(bad))):
        motions(**options)


def test_children_are_refused():
    with pytest.raises(ValueError, match="age_years"):
        draw_traits(np.random.default_rng(0), "female", 9.0)


def spreads(between_subjects: float, within_subject: float) -> tuple[float, float]:
    """The deviation of height between men, and of the distance walked between the walks of one man."""
    variation = parametric.Variation(between_subjects, within_subject)
    walks = parametric.motions(16, walks=6, frames=60, frame_rate_hz=30.0, seed=3, variation=variation)
    height_m = np.array([walk.height_m for walk in walks]).reshape(16, 6)[1::2, 0]
    distance_m = np.array([walk.forward_m[-1] for walk in walks]).reshape(16, 6)[1::2]
    return float(height_m.std()), float(distance_m.std(1).mean())


def test_people_are_more_alike_and_their_walks_less_where_that_is_wanted():
    usual = spreads(1.0, 1.0)
    assert spreads(0.25, 1.0)[0] < 0.5 * usual[0]
    assert spreads(1.0, 3.0)[1] > 2 * usual[1]


def test_the_usual_variation_is_the_default():
    usual = parametric.motions(2, walks=1, frames=20, frame_rate_hz=30.0, seed=3, variation=parametric.Variation(1, 1))
    for walk, default in zip(usual, parametric.motions(2, walks=1, frames=20, frame_rate_hz=30.0, seed=3), strict=True):
        assert np.array_equal(walk.joints_m, default.joints_m)


def test_a_negative_variation_is_refused():
    with pytest.raises(ValueError, match=r"variation.within_subject must be at least 0, got -1"):
        parametric.Variation(1, -1)
