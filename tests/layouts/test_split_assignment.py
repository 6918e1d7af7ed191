"""Who is assigned to which split, and which frames become which sequence."""

from dataclasses import replace

import numpy as np
import pytest

from people.layouts.split_assignment import AGE_BANDS, assign_motion, assign_splits, cut_pieces, strata
from people.records import Motion, Sex, Split


def walks(*lengths: int) -> list[Motion]:
    """Walks of one person in which every frame carries its own number."""
    return [
        Motion("a", f"w{walk}", 1000.0 * walk + np.arange(frames)[:, None, None] * np.ones((1, 20, 3)), np.zeros(frames), 30.0)
        for walk, frames in enumerate(lengths)
    ]


def test_six_people_of_two_strata_are_split_two_to_one_in_each_stratum():
    stratum = dict(zip("abcdef", "xxxyyy", strict=True))
    for seed in range(5):
        assigned = assign_splits("abcdef", stratum, {"train": 4, "test": 2}, seed)
        assert [sorted(stratum[name] for name in subset) for subset in assigned.values()] == [["x", "x", "y", "y"], ["x", "y"]]


def test_who_is_assigned_where_depends_on_the_seed_and_not_on_the_order_of_names():
    stratum = dict.fromkeys("abcdefgh", "x")
    sizes = {"train": 4, "test": 4}
    assert assign_splits("abcdefgh", stratum, sizes, 1) == assign_splits("hgfedcba", stratum, sizes, 1)
    assert len({str(assign_splits("abcdefgh", stratum, sizes, seed)) for seed in range(5)}) > 1
    with pytest.raises(ValueError, match=r"expected 9 people for the subsets .* got 8"):
        assign_splits("abcdefgh", stratum, {"train": 5, "test": 4}, 1)


def test_splits_are_stratified_by_age_and_people_without_a_known_age_are_a_stratum():
    def walk(name: str, sex: Sex, age_years: float | None) -> Motion:
        return Motion(name, "1", np.zeros((2, 20, 3)), np.zeros(2), 30.0, sex=sex, age_years=age_years)

    sexes: tuple[Sex, Sex] = ("female", "male")
    ages_years = {f"{sex}{i}": float(18 + i) for sex in sexes for i in range(40)}
    people = [walk(name, "male" if name[0] == "m" else "female", age) for name, age in ages_years.items()]
    bands = strata([*people, *[walk(f"unknown{i}", "male", None) for i in range(8)]])
    assert {bands[f"unknown{i}"] for i in range(8)} == {("male", -1)}
    assert sorted(band for sex, band in bands.values() if sex == "female") == sorted(list(range(AGE_BANDS)) * 5)
    means_years = []
    for seed in range(5):
        assigned = assign_splits(sorted(bands), bands, {"train": 66, "test": 22}, seed)
        means_years.append(
            [np.mean([ages_years[name] for name in subset if name in ages_years]) for subset in assigned.values()]
        )
        assert [sum(name.startswith("unknown") for name in subset) for subset in assigned.values()] == [6, 2]
    assert np.abs(np.diff(means_years)).max() < 1.5  # of ages from 18 to 57 years


def test_groups_take_disjoint_pieces_of_one_length_from_different_walks():
    gallery, probes = cut_pieces(walks(100, 100, 100), (4, 6), longest=40, shortest=20, seed=0) or ([], [])
    assert len(gallery) == 4
    assert len(probes) == 6
    assert {len(piece) for piece in gallery + probes} == {25}  # the gallery has one walk of 100 frames for its four pieces
    assert {piece.walk_id for piece in gallery}.isdisjoint(piece.walk_id for piece in probes)
    frames = [frame for piece in gallery + probes for frame in piece.joints_m[:, 0, 0]]
    assert len(set(frames)) == len(frames)


def test_one_walk_is_shared_by_all_groups_without_sharing_a_frame():
    groups = cut_pieces(walks(400), (4, 6), longest=60, shortest=30, seed=0) or []
    assert [len(group) for group in groups] == [4, 6]
    frames = [frame for group in groups for piece in group for frame in piece.joints_m[:, 0, 0]]
    assert len(set(frames)) == len(frames) == 400


def test_a_person_without_enough_motion_for_the_shortest_pieces_has_none():
    assert cut_pieces(walks(150, 149), (4, 6), longest=60, shortest=30, seed=0) is None
    assert cut_pieces(walks(150, 150), (4, 6), longest=60, shortest=30, seed=0) is not None


def test_a_group_with_several_walks_uses_all_of_them():
    groups = cut_pieces(walks(*[30] * 10), (4, 6), longest=30, shortest=30, seed=0) or []
    assert [len({piece.walk_id for piece in group}) for group in groups] == [4, 6]


def test_who_has_too_little_motion_is_left_out_and_named_and_known_people_come_first(caplog: pytest.LogCaptureFixture):
    people = [replace(walk, subject_id=f"known{i}", sex="male", age_years=30.0) for i in range(4) for walk in walks(60, 60)]
    people += [replace(walk, subject_id=f"unknown{i}") for i in range(3) for walk in walks(60, 60)]
    people += [replace(walks(30)[0], subject_id="short")]
    sizes: dict[Split, int] = {"train": 2, "validation": 1, "test": 1}
    splits = assign_motion(people, sizes, (2, 1), longest=30, shortest=20, seed=0)
    assert {split: len(members) for split, members in splits.items()} == sizes
    assert {
        piece.subject_id[:5] for members in splits.values() for groups in members for group in groups for piece in group
    } == {"known"}
    assert all([len(group) for group in groups] == [2, 1] for members in splits.values() for groups in members)
    assert "1 of 8 subjects have too little motion, left out: short" in caplog.text
    with pytest.raises(ValueError, match=r"expected 8 subjects with motion for 3 sequences of at least 20 frames, 7 of 8 have"):
        assign_motion(people, {**sizes, "train": 6}, (2, 1), longest=30, shortest=20, seed=0)
