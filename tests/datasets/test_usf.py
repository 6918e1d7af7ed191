"""The half cycles of USF HumanID: the published tensors, their index and protocol, and damaged files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from scipy.spatial.distance import cdist

from people import schemas
from people.datasets import usf
from people.layouts import contents


@pytest.fixture
def folder(real_data: Path) -> Path:
    return real_data / "usf-silhouettes"


def written(path: Path, **changes: np.ndarray) -> Path:
    """A probe set of three half cycles: all background but one pixel."""
    background = np.ones((4, 3, 2, 3), np.uint8)
    background[1, 2, 0, 1] = 0
    savemat(path, {"fea3D": background, "gnd": np.array([[1], [2], [0]]), **changes})
    return path.parent


def test_a_zero_is_foreground_and_lands_at_its_half_cycle_frame_row_and_column(tmp_path: Path):
    read = usf.read_half_cycles(written(tmp_path / "PrbB.mat"), "B")
    assert read.silhouettes.shape == (3, 2, 4, 3)
    assert np.argwhere(read.silhouettes).tolist() == [[1, 0, 1, 2]]
    assert read.silhouettes.max() == 255
    assert read.subject.tolist() == [1, 2, usf.UNKNOWN]


def test_the_published_gallery_and_probe_a_show_the_same_71_people_in_731_and_727_half_cycles(folder: Path):
    gallery, probe = usf.read_half_cycles(folder, usf.GALLERY), usf.read_half_cycles(folder, "A")
    assert gallery.silhouettes.shape == (731, 10, 32, 22)
    assert probe.silhouettes.shape == (727, 10, 32, 22)
    assert set(gallery.subject) == set(probe.subject) == set(range(1, 72))
    assert 0.15 < (gallery.silhouettes > 0).mean() < 0.6


def test_the_nearest_averaged_silhouette_identifies_57_percent_of_probe_a(folder: Path):
    gallery, probe = usf.read_half_cycles(folder, usf.GALLERY), usf.read_half_cycles(folder, "A")
    averaged = [cycles.silhouettes.astype(float).mean(1).reshape(len(cycles.subject), -1) for cycles in (gallery, probe)]
    nearest = cdist(averaged[1], averaged[0]).argmin(1)
    assert (gallery.subject[nearest] == probe.subject).mean() == pytest.approx(0.57, abs=0.005)


def test_a_part_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"PrbC\.mat"):
        usf.read_half_cycles(tmp_path, "C")
    with pytest.raises(ValueError, match="probe set of A"):
        usf.read_half_cycles(tmp_path, "Z")


def test_a_truncated_file_and_a_file_of_something_else_are_refused(tmp_path: Path):
    path = tmp_path / "PrbB.mat"
    written(path)
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(ValueError, match="fetch the file again"):
        usf.read_half_cycles(tmp_path, "B")
    savemat(path, {"fea2D": np.zeros(3)})
    with pytest.raises(ValueError, match="lacks fea3D"):
        usf.read_half_cycles(tmp_path, "B")
    written(path, gnd=np.array([[1], [2]]))
    with pytest.raises(ValueError, match="2 subjects"):
        usf.read_half_cycles(tmp_path, "B")


# --- index -----------------------------------------------------------------------------------------------------------


def archive(root: Path, **subjects: Sequence[int]) -> Path:
    """A gallery and probe sets of these subjects, every half cycle with a pixel of its own."""
    root.mkdir(parents=True, exist_ok=True)
    for name, numbers in subjects.items():
        background = np.ones((8, 6, 3, len(numbers)), np.uint8)
        for index in range(len(numbers)):
            background[index % 8, index // 8, :, index] = 0
        file = root / ("gait_gallery_data.mat" if name == "gallery" else f"Prb{name}.mat")
        savemat(file, {"fea3D": background, "gnd": np.array(numbers)[:, None]})
    return root


TEN = [person for person in range(1, 11) for _ in range(2)]


def test_a_half_cycle_is_a_clip_whose_frames_are_its_silhouettes(tmp_path: Path):
    clips = usf.read(archive(tmp_path / "usf", gallery=TEN, A=[3, 0, 4], K=[1]))
    assert clips["clip_id"].tolist() == [f"gallery/{number:04d}" for number in range(1, 21)] + [
        "A/0001", "A/0002", "A/0003", "K/0001",
    ]  # fmt: skip
    assert clips["subject_id"].tolist()[-5:] == ["010", "003", "unknown", "004", "001"]
    assert clips["condition"].tolist()[-5:] == ["gallery", "A", "A", "A", "K"]
    assert clips["session"].tolist()[-5:] == [0, 0, 0, 0, 1]
    assert set(clips["frame_count"]) == {3}
    row = clips.iloc[9]
    mask = np.zeros((8, 6), np.uint8)
    mask[1, 1] = 255
    frames, masks = (list(read(tmp_path / "usf", row["frames"])) for read in (usf.frames, usf.masks))
    assert row["frames"] == row["masks"] == "gait_gallery_data.mat!0010"
    for frame, silhouette in zip(frames, masks, strict=True):
        np.testing.assert_array_equal(silhouette, mask)
        np.testing.assert_array_equal(frame, np.dstack([mask] * 3))
    assert (row["height_px"], row["width_px"]) == frames[0].shape[:2] == (8, 6)


def test_the_index_is_valid_after_its_csv_file_and_unknown_people_do_not_break_a_rule_of_subjects(tmp_path: Path):
    usf.read(archive(tmp_path / "usf", gallery=TEN, A=[3, 0, 4, 0])).to_csv(tmp_path / "clips.csv", index=False)
    clips = schemas.load(tmp_path / "clips.csv")
    good, quarantine = schemas.check(clips, schemas.at_least_frames(3), schemas.decodable(usf.frames))
    assert quarantine.empty
    pd.testing.assert_frame_equal(good, clips)


def test_people_are_divided_in_two_halves_always_alike_and_a_fifth_of_the_first_validates(tmp_path: Path):
    people = [f"{number:03d}" for number in range(1, 72)]
    division = usf.divide(people)
    assert {split: len(members) for split, members in division.items()} == {"train": 28, "validation": 7, "test": 36}
    assert sorted(person for members in division.values() for person in members) == people
    assert usf.divide(people[::-1]) == division
    assert division["test"] != people[35:]


def test_a_persons_half_cycles_are_in_one_split_and_strangers_are_in_the_test_split(tmp_path: Path):
    clips = usf.read(archive(tmp_path / "usf", gallery=TEN, A=[*TEN, 0, 44]))
    splits = clips.groupby("subject_id")["split"].agg(set)
    assert all(len(found) == 1 for found in splits)
    assert splits["unknown"] == splits["044"] == {"test"}
    assert clips.drop_duplicates("subject_id")["split"].value_counts().to_dict() == {"train": 4, "validation": 1, "test": 7}
    fewer = usf.read(archive(tmp_path / "fewer", gallery=TEN))
    assert fewer.set_index("clip_id")["split"].to_dict().items() <= clips.set_index("clip_id")["split"].to_dict().items()


def test_id_lists_in_the_root_divide_the_people_instead(tmp_path: Path):
    root = archive(tmp_path / "usf", gallery=TEN, A=[2, 0])
    lists = {"train": "001 002 003", "validation": "004", "test": "005\n006\n007\n008\n009"}
    for split, listed in lists.items():
        (root / f"ids-{split}.txt").write_text(listed)
    splits = usf.read(root).set_index("clip_id")["split"]
    assert splits[["gallery/0001", "gallery/0007", "gallery/0009", "A/0001", "A/0002"]].tolist() == [
        "train", "validation", "test", "train", "test",
    ]  # fmt: skip
    assert splits[["gallery/0019", "gallery/0020"]].isna().all()  # in no list: validation takes the person out
    (root / "ids-test.txt").write_text("005 031")
    with pytest.raises(ValueError, match=r"ids-test\.txt lists 031, without clips"):
        usf.read(root)
    (root / "ids-test.txt").write_text("005 unknown")
    with pytest.raises(ValueError, match=r"list 'unknown', which is nobody"):
        usf.read(root)


def test_a_replaced_file_changes_the_content_of_its_clips_and_of_no_others(tmp_path: Path):
    root = archive(tmp_path / "usf", gallery=TEN, A=[3, 4], B=[5])
    clips = usf.read(root)
    before = contents.of_clips(root, clips, {})
    archive(root, A=[4, 3])
    changed = [one != other for one, other in zip(before, contents.of_clips(root, clips, {}), strict=True)]
    assert clips["clip_id"][changed].tolist() == ["A/0001", "A/0002"]


# --- protocol --------------------------------------------------------------------------------------------------------


def test_every_probe_set_that_is_there_is_compared_with_the_gallery_of_its_split(tmp_path: Path):
    clips = usf.read(archive(tmp_path / "usf", gallery=TEN, A=[*range(1, 11), 0], L=TEN))
    for split in ("train", "validation", "test"):
        of_split = clips[clips["split"] == split]
        probe_sets = usf.protocol(clips, split)
        assert [(probe_set.group, probe_set.name) for probe_set in probe_sets] == [("challenge", "A"), ("challenge", "L")]
        for probe_set in probe_sets:
            assert set(probe_set.gallery) == set(of_split["clip_id"][of_split["sequence"] == "gallery"])
            known = of_split[(of_split["sequence"] == probe_set.name) & (of_split["subject_id"] != "unknown")]
            assert set(probe_set.probes) == set(known["clip_id"])


def test_probes_of_unknown_people_and_of_people_without_gallery_are_left_out_and_listed(tmp_path: Path):
    clips = usf.read(archive(tmp_path / "usf", gallery=TEN, A=[*range(1, 11), 0, 44, 0], B=[0]))
    left = usf.left_out(clips, "test")
    assert left["challenge/A"] == ("A/0011", "A/0012", "A/0013")
    assert left["challenge/B"] == ("B/0001",)
    assert left["challenge/C"] == ()
    assert not set(left["challenge/A"]) & {clip for probe_set in usf.protocol(clips, "test") for clip in probe_set.probes}
    assert [probe_set.name for probe_set in usf.protocol(clips, "test")] == ["A"]
    assert usf.left_out(clips, "train")["challenge/A"] == ()


# --- what is refused -------------------------------------------------------------------------------------------------


def test_without_the_gallery_there_is_no_dataset(tmp_path: Path):
    for root in (tmp_path / "nothing", archive(tmp_path / "usf", A=[1])):
        with pytest.raises(ValueError, match=r"expected the tensors of USF HumanID at .*found no gait_gallery_data\.mat"):
            usf.read(root)


def test_a_gallery_of_unknown_people_and_a_probe_set_beyond_l_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected subjects from 1 in the gallery, got 0"):
        usf.read(archive(tmp_path / "zero", gallery=[1, 0, 2]))
    with pytest.raises(ValueError, match=r"PrbM\.mat: the probe sets are PrbA\.mat to PrbL\.mat; rename or remove it"):
        usf.read(archive(tmp_path / "more", gallery=[1, 2], M=[1]))


def test_a_half_cycle_that_is_not_there_any_more_is_named(tmp_path: Path):
    root = archive(tmp_path / "usf", gallery=TEN)
    with pytest.raises(
        ValueError, match=r"gait_gallery_data\.mat: expected half cycle 0021, it has 20; ingest the dataset again"
    ):
        list(usf.frames(root, "gait_gallery_data.mat!0021"))
    with pytest.raises(ValueError, match=r"PrbA\.mat: expected the tensors of a clip, no such file exists"):
        list(usf.masks(root, "PrbA.mat!0001"))


# --- the published tensors -------------------------------------------------------------------------------------------


def test_the_published_tensors_are_an_index_of_1458_clips_of_71_people_half_of_whom_are_tested(folder: Path):
    clips = usf.read(folder)
    assert clips["sequence"].value_counts().to_dict() == {"gallery": 731, "A": 727}
    assert clips.groupby("split")["subject_id"].nunique().to_dict() == {"test": 36, "train": 28, "validation": 7}
    assert set(clips["frame_count"]) == {10}
    (probe_set,) = usf.protocol(clips, "test")
    tested = clips[clips["split"] == "test"]
    assert len(probe_set.gallery) + len(probe_set.probes) == len(tested)
    assert not any(usf.left_out(clips, "test").values())
