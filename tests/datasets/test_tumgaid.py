"""TUM-GAID: what is written is read again; splits, protocol and official counts; damaged archives."""

import errno
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from people.datasets import tumgaid
from people.records import Motion, Rendered, Take

ONE_SESSION = ["n01", "n02", "n03", "n04", "n05", "n06", "b01", "b02", "s01", "s02"]
TWO_SESSIONS = [*ONE_SESSION, "n07", "n08", "n09", "n10", "n11", "n12", "b03", "b04", "s03", "s04"]


def people(number: int, walks: int, frames: int, *, sexes: int = 2, ages: int = 1) -> list[Motion]:
    """Motions in which every frame has a unique number; every `sexes`th is of a woman, every `ages`th has an age."""
    unique = count()
    motions = []
    for person in range(number):
        for walk in range(walks):
            joints_m = np.array([next(unique) for _ in range(frames)], dtype=float)[:, None, None] * np.ones((1, 20, 3))
            traits = {
                "sex": "female" if person % sexes == 0 else "male",
                "age_years": 20.0 + person if person % ages == 0 else None,
            }
            motions.append(Motion(f"a{person}", f"walk{walk}", joints_m, np.arange(frames) * 0.04, 30.0, **traits))
    return motions


def moving_box(take: Take) -> Iterator[Rendered]:
    """A box that crosses a grey view, brighter from take to take."""
    for position in range(len(take.motion)):
        frame = np.full((24, 32, 3), 90, np.uint8)
        frame[6:18, position % 26 : position % 26 + 6] = (180 + take.seed % 60, 40, 20)
        yield Rendered(frame, frame[..., 0], np.zeros((17, 3)), np.zeros(4))


SMALL = {"train": 2, "validation": 1, "test": 3, "elapsed": 1}


@pytest.fixture(scope="module")
def takes() -> list[Take]:
    return tumgaid.plan(people(6, walks=4, frames=180), subjects=SMALL, frames_per_sequence=30, seed=3)


@pytest.fixture
def archive(takes: list[Take], tmp_path: Path) -> Path:
    """A small archive in folders, as the official one is unpacked."""
    tumgaid.write(tmp_path / "gaid", takes, moving_box, jpeg_quality=90, packed=False)
    return tmp_path / "gaid"


def used_frames(motion: Motion) -> set[float]:
    return set(motion.joints_m[:, 0, 0])


# --- plan


def test_no_frame_of_motion_appears_in_two_sequences(takes: list[Take]):
    counted = Counter(frame for take in takes for frame in used_frames(take.motion))
    assert max(counted.values()) == 1
    assert len(counted) == sum(len(take.motion) for take in takes)


def test_every_subject_walks_ten_sequences_and_those_who_return_ten_more_in_other_clothes(takes: list[Take]):
    sequences = defaultdict(list)
    for take in takes:
        sequences[take.subject_id].append(take.sequence)
        assert take.session == (take.sequence in TWO_SESSIONS[10:])
        assert take.condition == {"n": "normal", "b": "bag", "s": "coating_shoes"}[take.sequence[0]]
        assert take.view_deg == (90.0 if int(take.sequence[1:]) % 2 else 270.0)
    assert list(sequences) == ["p001", "p002", "p003", "p004", "p005", "p006"]
    assert sorted(map(len, sequences.values())) == [10] * 5 + [20]
    assert all(walked in (ONE_SESSION, TWO_SESSIONS) for walked in sequences.values())


def test_splits_are_disjoint_in_subjects_and_only_test_subjects_return(takes: list[Take]):
    where = defaultdict(set)
    for take in takes:
        where[take.subject_id].add(take.split)
    assert {len(splits) for splits in where.values()} == {1}
    assert Counter(split for splits in where.values() for split in splits) == {"train": 2, "validation": 1, "test": 3}
    assert {take.split for take in takes if take.session == 1} == {"test"}


def test_gallery_and_probes_come_from_different_walks_where_there_are_enough(takes: list[Take]):
    walks = defaultdict(lambda: defaultdict(set))
    for take in takes:
        group = ("elapsed " if take.session else "") + ("gallery" if take.sequence in tumgaid.GALLERY else "rest")
        walks[take.motion.subject_id][group].add(take.motion.walk_id)
    for groups in walks.values():
        assert sum(map(len, groups.values())) == len(set.union(*groups.values()))


def test_the_gallery_has_one_of_two_walks_alone_and_shares_a_single_walk():
    subjects = {"train": 1, "validation": 1, "test": 1, "elapsed": 1}
    for walks, frames in ((2, 800), (1, 1200)):
        planned = tumgaid.plan(people(3, walks, frames), subjects=subjects, frames_per_sequence=40, seed=0)
        gallery = {(take.subject_id, take.motion.walk_id) for take in planned if take.sequence in tumgaid.GALLERY}
        others_walks = {(take.subject_id, take.motion.walk_id) for take in planned if take.sequence not in tumgaid.GALLERY}
        assert bool(gallery & others_walks) == (walks == 1)
        assert max(Counter(frame for take in planned for frame in used_frames(take.motion)).values()) == 1


def test_a_subject_with_short_walks_gets_shorter_sequences_rather_than_none():
    subjects = {"train": 1, "validation": 1, "test": 1, "elapsed": 0}
    planned = tumgaid.plan(people(3, walks=2, frames=222), subjects=subjects, frames_per_sequence=60, seed=0)
    assert {len(take.motion) for take in planned} == {37}  # six probe pieces from one walk: 222 // 6


def test_too_few_subjects_with_enough_motion_is_an_error_that_counts_them():
    motions = people(4, walks=2, frames=200) + [
        replace(motion, subject_id="short") for motion in people(1, walks=1, frames=290)
    ]
    with pytest.raises(ValueError, match=r"expected 5 subjects .* of 5 subjects 4 have enough for 10 and 0 for 20; lower"):
        tumgaid.plan(motions, subjects={"train": 2, "validation": 1, "test": 2, "elapsed": 0}, frames_per_sequence=60, seed=0)


def test_a_subject_without_enough_motion_is_left_out_and_named(caplog: pytest.LogCaptureFixture):
    motions = people(4, walks=2, frames=200) + [
        replace(motion, subject_id="short") for motion in people(1, walks=1, frames=290)
    ]
    planned = tumgaid.plan(
        motions, subjects={"train": 1, "validation": 1, "test": 2, "elapsed": 0}, frames_per_sequence=60, seed=0
    )
    assert "short" not in {take.motion.subject_id for take in planned}
    assert "1 of 5 subjects have too little motion, left out: short" in caplog.text


def test_splits_are_stratified_by_sex_and_known_age_as_in_the_kinect_archive():
    motions = people(104, walks=2, frames=240, sexes=3, ages=2)  # 35 women; 52 with a known age
    subjects = {"train": 60, "validation": 12, "test": 32, "elapsed": 0}
    planned = tumgaid.plan(motions, subjects=subjects, frames_per_sequence=30, seed=1)
    first_takes = {take.subject_id: take for take in planned}.values()
    for split, size in (("train", 60), ("validation", 12), ("test", 32)):
        members = [take.motion for take in first_takes if take.split == split]
        assert abs(sum(motion.sex == "female" for motion in members) - size * 35 / 104) <= 2
        assert abs(sum(motion.age_years is not None for motion in members) - size * 52 / 104) <= 2


def test_subjects_with_known_age_are_chosen_first():
    motions = people(8, walks=2, frames=240, ages=2)
    planned = tumgaid.plan(
        motions, subjects={"train": 2, "validation": 1, "test": 1, "elapsed": 0}, frames_per_sequence=30, seed=1
    )
    assert all(take.motion.age_years is not None for take in planned)


@pytest.mark.parametrize("wrong", [{"validation": 0}, {"elapsed": 4}, {"train": -1}], ids=str)
def test_a_split_without_subjects_or_more_who_return_than_are_tested_is_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match=r"at least one subject in each split .* correct the dataset's block"):
        tumgaid.plan(people(6, walks=4, frames=180), subjects=SMALL | wrong, frames_per_sequence=30, seed=0)


def test_the_same_seed_gives_the_same_plan_and_another_seed_another():
    def subjects_of(seed: int) -> list[tuple[str, str, float, int, int]]:
        planned = tumgaid.plan(people(6, walks=4, frames=180), subjects=SMALL, frames_per_sequence=30, seed=seed)
        return [
            (take.subject_id, take.motion.subject_id, take.motion.joints_m[0, 0, 0], take.identity_seed, take.seed)
            for take in planned
        ]

    assert subjects_of(1) == subjects_of(1)
    assert [row[:2] for row in subjects_of(1)] != [row[:2] for row in subjects_of(2)]


def test_a_subject_keeps_one_body_over_all_takes_and_no_two_takes_share_a_seed(takes: list[Take]):
    assert len({take.identity_seed for take in takes}) == len({take.subject_id for take in takes})
    assert len({take.seed for take in takes}) == len(takes)


# --- write and read


@pytest.mark.parametrize("packed", [True, False], ids=["zip files", "folders"])
def test_what_is_written_is_read_again(takes: list[Take], tmp_path: Path, packed: bool):
    root = tmp_path / "gaid"
    with ThreadPoolExecutor(2) as executor:
        tumgaid.write(root, takes, moving_box, jpeg_quality=95, packed=packed, executor=executor)
    clips = tumgaid.read(root).set_index("clip_id")
    assert list(clips.index) == sorted(f"{take.subject_id}/{take.sequence}" for take in takes)
    for take in takes:
        clip = clips.loc[f"{take.subject_id}/{take.sequence}"]
        labels = (clip["split"], clip["session"], clip["view_deg"], clip["gender"], clip["age_years"], clip["frame_rate_hz"])
        assert labels == (take.split, take.session, take.view_deg, take.motion.sex, take.motion.age_years, 30.0)
        assert (clip["frame_count"], clip["height_px"], clip["width_px"]) == (len(take.motion), 24, 32)
    take = takes[7]
    read = list(tumgaid.frames(root, clips.loc[f"{take.subject_id}/{take.sequence}", "frames"]))
    for frame, rendered in zip(read, moving_box(take), strict=True):
        assert np.abs(frame.astype(int) - rendered.frame_rgb).mean() < 6  # RGB, in order; JPEG loses a little


def test_a_fraction_of_a_year_and_unknown_labels_survive_the_round_trip(takes: list[Take], tmp_path: Path):
    traits = [(34.7, None), (None, "female"), (20.0, "male"), (None, None)]
    splits = ["train", "train", "validation", "test"]
    odd = [
        replace(takes[0], subject_id=f"p{number:03d}", split=split, motion=replace(takes[0].motion, age_years=age, sex=sex))
        for number, ((age, sex), split) in enumerate(zip(traits, splits, strict=True), start=1)
    ]
    tumgaid.write(tmp_path / "gaid", odd, moving_box, jpeg_quality=90)
    clips = tumgaid.read(tmp_path / "gaid")
    assert clips["age_years"].fillna(-1).tolist() == [34.7, -1, 20.0, -1]
    assert clips["gender"].fillna("unknown").tolist() == ["unknown", "female", "male", "unknown"]


def test_the_bytes_do_not_depend_on_the_number_of_workers(takes: list[Take], tmp_path: Path):
    tumgaid.write(tmp_path / "serial", takes, moving_box, jpeg_quality=90)
    with ProcessPoolExecutor(2) as executor:
        tumgaid.write(tmp_path / "parallel", takes, moving_box, jpeg_quality=90, executor=executor)
    serial, parallel = (
        {path.relative_to(top): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}
        for top in (tmp_path / "serial", tmp_path / "parallel")
    )
    assert serial == parallel


def test_writing_over_something_or_nothing_or_without_splits_is_refused(takes: list[Take], archive: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="expected a new folder"):
        tumgaid.write(archive, takes, moving_box, jpeg_quality=90)
    with pytest.raises(ValueError, match="got none; plan some"):
        tumgaid.write(tmp_path / "new", [], moving_box, jpeg_quality=90)
    with pytest.raises(ValueError, match=r"p001 has none; set Take\.split"):
        tumgaid.write(tmp_path / "new", [replace(takes[0], split=None)], moving_box, jpeg_quality=90)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gaid"]


def test_an_unpacked_official_archive_is_read_unchanged(archive: Path):
    (archive / "recording.json").unlink()  # only rendered archives have one
    (archive / "labels").mkdir()
    for name in ("tumgaidtrainids.lst", "tumgaidvalids.lst", "tumgaidtestids.lst", "allgender.txt", "allage.txt"):
        shutil.move(archive / name, archive / "labels" / name)
    for name in ("back", "c01"):  # folders of the archive that are no walks
        shutil.copytree(archive / "image/p001/n01", archive / "image/p001" / name)
    shutil.move(archive / "image", archive / "TUMGAIDimage/image")
    clips = tumgaid.read(archive)
    assert len(clips) == 70
    assert set(clips["sequence"]) == set(TWO_SESSIONS)
    assert clips["frames"].iloc[0] == "TUMGAIDimage/image/p001/b01"
    assert set(clips["frame_rate_hz"]) == {30.0}
    assert clips["view_deg"].isna().all()  # the archive has no walking directions


def test_frames_are_in_the_order_of_their_numbers(archive: Path):
    folder = archive / "image/p001/n01"
    before = [frame.tobytes() for frame in tumgaid.frames(archive, "image/p001/n01")]
    for name in sorted(os.listdir(folder), reverse=True):
        (folder / name).rename(folder / f"{int(name[:4])}.jpg")  # 1.jpg, 2.jpg, ... 10.jpg
    assert [frame.tobytes() for frame in tumgaid.frames(archive, "image/p001/n01")] == before


def official(root: Path, *, genders: list[str] | None = None) -> Path:
    """The official set's people and sequences as numbered id lists and one image a sequence: p001 to p032 return."""
    train, validation = [*range(1, 11), *range(33, 123)], [*range(11, 17), *range(123, 167)]
    test = [*range(17, 33), *range(167, 306)]
    for name, numbers in (("trainids", train), ("valids", validation), ("testids", test)):
        root.mkdir(exist_ok=True)
        (root / f"tumgaid{name}.lst").write_text("\n".join(map(str, numbers)))
    (root / "allgender.txt").write_text("\n".join(genders or ["1"] * 186 + ["2"] * 119))
    (root / "allage.txt").write_text("\n".join(str(20 + number % 40) for number in range(305)))
    image = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    (root / "image").mkdir()
    with zipfile.ZipFile(root / "image/all.zip", "w") as packed:
        for number in range(1, 306):
            for sequence in TWO_SESSIONS if number <= 32 else ONE_SESSION:
                packed.writestr(f"p{number:03d}/{sequence}/0001.jpg", image)
    return root


@pytest.fixture(scope="module")
def official_clips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    # One zip file of all people is opened once per clip: the sizes, which are not looked at, would take long to read.
    root = official(tmp_path_factory.mktemp("official") / "gaid")
    with zipfile.ZipFile(root / "image/all.zip") as packed:
        packed.extractall(root / "image")
    (root / "image/all.zip").unlink()
    return tumgaid.read(root)


def test_the_official_set_has_305_subjects_100_50_and_155_of_whom_16_test_subjects_return(official_clips: pd.DataFrame):
    assert len(official_clips) == 305 * 10 + 32 * 10
    by_split = official_clips.groupby("split")["subject_id"].nunique().to_dict()
    assert by_split == {"train": 100, "validation": 50, "test": 155}
    returning = official_clips[official_clips["session"] == 1].groupby("split")["subject_id"].nunique().to_dict()
    assert returning == {"train": 10, "validation": 6, "test": 16}
    sets = {probe_set.name: probe_set for probe_set in tumgaid.protocol(official_clips, "test")}
    sizes = {name: (len(probe_set.gallery), len(probe_set.probes)) for name, probe_set in sets.items()}
    assert sizes == {"N": (620, 310), "B": (620, 310), "S": (620, 310), "TN": (64, 32), "TB": (64, 32), "TS": (64, 32)}


def test_official_gender_codes_by_which_women_are_the_majority_are_refused(tmp_path: Path):
    swapped = official(tmp_path / "gaid", genders=["2"] * 186 + ["1"] * 119)
    with pytest.raises(ValueError, match=r"allgender\.txt: expected 1 for men"):
        tumgaid.read(swapped)


# --- protocol


def index_of(split: dict[str, list[str]]) -> pd.DataFrame:
    rows = [
        (f"{subject}/{walk}", subject, "test", walk, int(walk in TWO_SESSIONS[10:]))
        for subject, walks in split.items()
        for walk in walks
    ]
    return pd.DataFrame(rows, columns=["clip_id", "subject_id", "split", "sequence", "session"])


def test_gallery_and_probes_of_two_subjects_written_out_by_hand():
    sets = tumgaid.protocol(index_of({"p007": TWO_SESSIONS, "p009": ONE_SESSION}), "test")
    gallery = ("p007/n01", "p007/n02", "p007/n03", "p007/n04", "p009/n01", "p009/n02", "p009/n03", "p009/n04")
    assert [(probe_set.name, probe_set.group, probe_set.gallery, probe_set.probes) for probe_set in sets] == [
        ("N", "current", gallery, ("p007/n05", "p007/n06", "p009/n05", "p009/n06")),
        ("B", "current", gallery, ("p007/b01", "p007/b02", "p009/b01", "p009/b02")),
        ("S", "current", gallery, ("p007/s01", "p007/s02", "p009/s01", "p009/s02")),
        ("TN", "elapsed", gallery[:4], ("p007/n11", "p007/n12")),
        ("TB", "elapsed", gallery[:4], ("p007/b03", "p007/b04")),
        ("TS", "elapsed", gallery[:4], ("p007/s03", "p007/s04")),
    ]


def test_the_gallery_of_those_who_returned_can_be_of_their_second_session():
    clips = index_of({"p007": TWO_SESSIONS, "p009": ONE_SESSION})
    sets = tumgaid.protocol(clips, "test", elapsed_gallery=("n07", "n08", "n09", "n10"))
    assert sets[3].gallery == ("p007/n07", "p007/n08", "p007/n09", "p007/n10")
    assert sets[0].gallery[:2] == ("p007/n01", "p007/n02")
    with pytest.raises(ValueError, match="sequences that are no probes"):
        tumgaid.protocol(clips, "test", elapsed_gallery=("n11",))


def test_no_probe_is_in_its_own_gallery():
    for probe_set in tumgaid.protocol(index_of({"p007": TWO_SESSIONS, "p009": ONE_SESSION}), "test"):
        assert not set(probe_set.gallery) & set(probe_set.probes)


def test_probes_of_a_subject_whose_gallery_was_quarantined_are_left_out_and_listed():
    clips = index_of({"p007": ONE_SESSION, "p009": ONE_SESSION[4:]})
    sets = tumgaid.protocol(clips, "test")
    assert [probe_set.probes for probe_set in sets] == [
        ("p007/n05", "p007/n06"),
        ("p007/b01", "p007/b02"),
        ("p007/s01", "p007/s02"),
    ]
    assert tumgaid.left_out(clips, "test")["N"] == ("p009/n05", "p009/n06")


def test_a_split_without_clips_has_no_protocol():
    with pytest.raises(ValueError, match=r"expected clips of split 'validation', the index has \['test'\]"):
        tumgaid.protocol(index_of({"p007": ONE_SESSION}), "validation")


# --- damaged archives


@pytest.mark.parametrize("name", ["tumgaidvalids.lst", "allgender.txt", "allage.txt"])
def test_a_missing_label_file_is_named(archive: Path, name: str):
    (archive / name).unlink()
    with pytest.raises(ValueError, match=f"expected {name} in .*; copy the labels there"):
        tumgaid.read(archive)


def test_an_empty_folder_and_no_folder_have_different_errors(archive: Path):
    with pytest.raises(ValueError, match="there is none; correct the dataset's archive"):
        tumgaid.read(archive / "nowhere")
    shutil.rmtree(archive / "image")
    (archive / "image").mkdir()
    with pytest.raises(ValueError, match=r"has no images: expected image/p001/n01/\*\.jpg .*; unpack them there"):
        tumgaid.read(archive)


def test_a_listed_subject_without_images_is_named(archive: Path):
    shutil.rmtree(archive / "image/p003")
    with pytest.raises(ValueError, match=r"tumgaidvalids\.lst lists p003, without images"):
        tumgaid.read(archive)


def test_a_corrupt_zip_file_is_named(takes: list[Take], tmp_path: Path):
    tumgaid.write(tmp_path / "gaid", takes, moving_box, jpeg_quality=90)
    packed = tmp_path / "gaid/image/p002.zip"
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"p002\.zip: expected a whole zip file, .*; copy or write it again"):
        tumgaid.read(tmp_path / "gaid")


def test_a_changed_byte_inside_a_zip_file_is_noticed(takes: list[Take], tmp_path: Path):
    tumgaid.write(tmp_path / "gaid", takes, moving_box, jpeg_quality=90)
    packed = tmp_path / "gaid/image/p002.zip"
    content = bytearray(packed.read_bytes())
    content[300] ^= 0xFF
    packed.write_bytes(content)
    with pytest.raises(ValueError, match=r"p002\.zip!p002/b01/0001\.jpg: expected a whole image, but Bad CRC-32"):
        list(tumgaid.frames(tmp_path / "gaid", "image/p002.zip!p002/b01"))


@pytest.mark.parametrize("keep", [0, 10, 400, -2], ids=["empty", "header only", "half", "without its end mark"])
def test_a_truncated_image_is_an_error_that_names_it(archive: Path, keep: int):
    path = archive / "image/p001/n01/0005.jpg"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=r"image/p001/n01/0005\.jpg: expected an image, .* cannot be decoded; replace the file"
    ):
        list(tumgaid.frames(archive, "image/p001/n01"))


def test_labels_that_are_no_numbers_and_tables_that_are_too_short_are_errors(archive: Path):
    (archive / "allage.txt").write_text("20\ntwenty\n")
    with pytest.raises(ValueError, match=r"allage\.txt: expected one age in years per person .* 'twenty'"):
        tumgaid.read(archive)
    (archive / "allage.txt").write_text("20\n21\n")
    with pytest.raises(
        ValueError, match=r"an entry for each of p001 to p006 in allgender\.txt and allage\.txt .* the shorter has 2"
    ):
        tumgaid.read(archive)
    (archive / "tumgaidtrainids.lst").write_text("one\n")
    with pytest.raises(ValueError, match=r"tumgaidtrainids\.lst: expected subject numbers, one a line, got 'one'"):
        tumgaid.read(archive)


# --- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True, capture_output=True)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("this machine does not let the test mount a small disk; the test with a limited file size runs instead")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("packed", [True, False], ids=["zip files", "folders"])
def test_a_full_disk_leaves_nothing_behind_and_the_error_says_what_to_do(takes: list[Take], small_disk: Path, packed: bool):
    with (
        ProcessPoolExecutor(2) as executor,
        pytest.raises(OSError, match="No space left on device; free space on the disk") as raised,
    ):
        tumgaid.write(small_disk / "gaid", takes, moving_box, jpeg_quality=95, packed=packed, executor=executor)
    assert raised.value.errno == errno.ENOSPC
    assert "gaid.partial" in str(raised.value)
    assert list(small_disk.iterdir()) == []


LIMITED = """
import resource, sys
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
from test_tumgaid import SMALL, moving_box, people, tumgaid
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
takes = tumgaid.plan(people(6, walks=4, frames=180), subjects=SMALL, frames_per_sequence=30, seed=3)
tumgaid.write(Path({out!r}), takes, moving_box, jpeg_quality=95)
"""


def test_a_limit_on_the_size_of_files_leaves_nothing_behind(tmp_path: Path, root: Path):
    code = LIMITED.format(tests=str(Path(__file__).parent), root=str(root), out=str(tmp_path / "gaid"))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode != 0
    assert "gaid.partial failed: File too large; free space on the disk" in process.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_given_number_of_subjects_of_each_split_returns():
    motions = people(9, walks=20, frames=40)
    subjects = {"train": 4, "validation": 2, "test": 3, "elapsed": {"train": 2, "validation": 1, "test": 3}}
    takes = tumgaid.plan(motions, subjects=subjects, frames_per_sequence=30, seed=2)
    returned = {(take.split, take.subject_id) for take in takes if take.session}
    assert Counter(split for split, _ in returned) == {"train": 2, "validation": 1, "test": 3}
    with pytest.raises(ValueError, match="at most as many that return"):
        tumgaid.plan(motions, subjects={**subjects, "elapsed": {"nowhere": 1}}, frames_per_sequence=30, seed=2)
