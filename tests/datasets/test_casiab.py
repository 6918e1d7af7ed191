"""CASIA-B: what is written is read again; views share their motion; official splits and protocol; damaged archives."""

import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from people import schemas
from people.datasets import casiab
from people.layouts.multi_view_files import empty_scene
from people.records import Take
from people.synth.motion import parametric
from people.synth.render import render

SUBJECTS = {"train": 2, "validation": 1, "test": 1}
TEN = ["bg-01", "bg-02", "cl-01", "cl-02", "nm-01", "nm-02", "nm-03", "nm-04", "nm-05", "nm-06"]
PLAN = {"subjects": SUBJECTS, "frames_per_sequence": 5, "views_deg": [0, 90]}
draw = partial(render, size_hw=(36, 48))


def make_plan(seed: int = 3) -> list[Take]:
    motions = parametric.motions(4, walks=10, frames=5, frame_rate_hz=25.0, seed=1)
    return casiab.plan(motions, **PLAN, seed=seed)


@pytest.fixture(scope="module")
def takes() -> list[Take]:
    return make_plan()


@pytest.fixture(scope="module")
def written(takes: list[Take], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered people in the official layout, unpacked."""
    root = tmp_path_factory.mktemp("casiab") / "casiab"
    casiab.write(root, takes, draw, jpeg_quality=95, packed=False)
    return root


@pytest.fixture
def archive(written: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(written, tmp_path / "casiab"))


# --- plan


def test_every_subject_walks_ten_sequences_each_seen_from_all_views_in_the_clothes_of_its_condition(takes: list[Take]):
    by_subject = defaultdict(list)
    for take in takes:
        by_subject[take.subject_id].append((take.sequence, take.view_deg))
        assert take.condition == {"nm": "normal", "bg": "bag", "cl": "coat"}[take.sequence[:2]]
        assert take.session == 0
    assert list(by_subject) == ["001", "002", "003", "004"]
    assert all(recorded == [(walk, view) for walk in TEN for view in (0.0, 90.0)] for recorded in by_subject.values())


def test_all_views_of_a_sequence_show_one_motion_and_no_two_sequences_share_a_frame(takes: list[Take]):
    motions = {(take.subject_id, take.sequence, take.motion.joints_m.tobytes()) for take in takes}
    assert len(motions) == 4 * 10
    frames = Counter(frame.tobytes() for take in takes if take.view_deg == 0 for frame in take.motion.joints_m)
    assert max(frames.values()) == 1


def test_sequences_that_a_protocol_compares_come_from_different_walks():
    motions = parametric.motions(3, walks=4, frames=100, frame_rate_hz=25.0, seed=1)
    plan = casiab.plan(
        motions, subjects={"train": 1, "validation": 1, "test": 1}, frames_per_sequence=20, views_deg=[0], seed=0
    )
    walks = {(take.subject_id, take.sequence): take.motion.walk_id for take in plan}
    for subject in ("001", "002", "003"):
        for gallery, probes in (pair for named in casiab.PROTOCOLS.values() for pair in named.values()):
            enrolled, probed = ({walks[subject, sequence] for sequence in side} for side in (gallery, probes))
            assert not enrolled & probed


def test_views_differ_in_exposure_and_share_the_body(takes: list[Take]):
    assert len({take.seed for take in takes}) == len(takes)
    assert len({take.identity_seed for take in takes}) == 4


def test_the_same_seed_gives_the_same_plan_and_another_seed_another():
    def subjects_of(seed: int) -> list[tuple[str, str, int]]:
        return [(take.subject_id, take.motion.subject_id, take.seed) for take in make_plan(seed)]

    assert subjects_of(1) == subjects_of(1)
    assert subjects_of(1) != subjects_of(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views_deg": [0, 95]}, r"views_deg: casiab has no view 095, its views are 000, 018, 036"),
        ({"views_deg": [0, 0]}, "views_deg without repetition"),
        ({"subjects": {"train": 4, "validation": 0, "test": 1}}, "at least one subject in each split"),
        ({"subjects": {"train": 4, "validation": 1, "test": 1}}, "expected 6 subjects with motion for 10 sequences .* 4 of 4"),
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_is_refused(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        casiab.plan(parametric.motions(4, walks=10, frames=5, frame_rate_hz=25.0, seed=1), **{**PLAN, **change}, seed=1)


# --- write and read


@pytest.mark.parametrize("packed", [True, False], ids=["zip files", "folders"])
def test_what_is_written_is_read_again(takes: list[Take], written: Path, tmp_path: Path, packed: bool):
    root = written
    if packed:
        root = tmp_path / "packed"
        with ThreadPoolExecutor(2) as executor:
            casiab.write(root, takes, draw, jpeg_quality=95, executor=executor)
    clips = casiab.read(root).set_index("clip_id")
    assert list(clips.index) == [f"{take.subject_id}/{take.sequence}/{take.view_deg:03.0f}" for take in takes]
    for take in takes[::17]:
        clip = clips.loc[f"{take.subject_id}/{take.sequence}/{take.view_deg:03.0f}"]
        labels = (clip["split"], clip["session"], clip["view_deg"], clip["gender"], clip["age_years"], clip["frame_rate_hz"])
        assert labels == (take.split, 0, take.view_deg, take.motion.sex, take.motion.age_years, 25.0)
        assert (clip["condition"], clip["frame_count"], clip["height_px"], clip["width_px"]) == (take.sequence[:2], 5, 36, 48)
        truth = list(draw(take))
        frames = list(casiab.frames(root, clip["frames"]))
        assert min(cv2.PSNR(frame, rendered.frame_rgb) for frame, rendered in zip(frames, truth, strict=True)) > 30
        for mask, rendered in zip(casiab.masks(root, clip["masks"]), truth, strict=True):
            np.testing.assert_array_equal(mask, np.where(rendered.mask, 255, 0))
        np.testing.assert_array_equal(casiab.keypoints(root, clip["keypoints"]), [rendered.keypoints_px for rendered in truth])


def test_a_subjects_videos_lie_in_one_zip_file_and_one_that_is_twice_there_is_refused(takes: list[Take], tmp_path: Path):
    root = tmp_path / "packed"
    casiab.write(root, takes, draw, jpeg_quality=95)
    assert sorted(path.name for path in (root / "video").iterdir()) == [
        f"{subject}.zip" for subject in ("001", "002", "003", "004")
    ]
    clips = casiab.read(root)
    assert clips["frames"][0] == "video/001.zip!001-bg-01-000.avi"
    assert clips["background"][0] == "video/001.zip!001-bkgrd-000.avi"
    assert next(casiab.background(root, clips["background"][0])).shape == (36, 48, 3)
    shutil.copy(root / "video/001.zip", root / "video/again.zip")
    with pytest.raises(
        ValueError, match=r"001-bg-01-000\.avi twice, as video/001\.zip!001-bg-01-000\.avi and video/again\.zip!"
    ):
        casiab.read(root)


def test_the_written_files_have_the_official_names(written: Path):
    assert (written / "video/001-nm-01-090.avi").is_file()
    assert (written / "video/001-bkgrd-090.avi").is_file()
    names = sorted(os.listdir(written / "silhouettes/001/nm-01/090"))
    assert names == [f"001-nm-01-090-{number:03d}.png" for number in range(1, 6)]


def test_the_bytes_do_not_depend_on_the_workers(takes: list[Take], tmp_path: Path):
    with ThreadPoolExecutor(3) as executor:
        casiab.write(tmp_path / "a", takes[:40], draw, jpeg_quality=90, executor=executor)
    casiab.write(tmp_path / "b", takes[:40], draw, jpeg_quality=90)
    first, second = (
        {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    )
    assert first == second


@pytest.mark.parametrize("view_deg", [0.0, 54.0, 90.0, 180.0, 270.0])
def test_the_empty_scene_has_no_person_from_any_view(takes: list[Take], view_deg: float):
    take = replace(takes[0], view_deg=view_deg)
    empty = list(draw(empty_scene(take)))
    assert not any(rendered.mask.any() for rendered in empty)
    assert max(rendered.keypoints_px[:, 2].max() for rendered in empty) == 0
    walked = np.median([rendered.frame_rgb for rendered in draw(take)], axis=0).astype(float)
    assert np.abs(walked - empty[0].frame_rgb)[:6].mean() < 25  # the same wall, in another light


def test_a_background_is_read_and_differs_from_view_to_view(written: Path):
    front, side = (next(casiab.background(written, f"video/001-bkgrd-{view}.avi")) for view in ("000", "090"))
    assert front.shape == side.shape == (36, 48, 3)
    assert np.abs(front.astype(float) - side).mean() > 3


def test_an_index_keeps_its_locations_through_a_file_and_passes_validation(written: Path, tmp_path: Path):
    clips = casiab.read(written)
    clips.loc[0, ["masks", "keypoints", "background"]] = ""
    clips.to_csv(tmp_path / "clips.csv", index=False)
    loaded = schemas.load(tmp_path / "clips.csv")
    assert loaded.loc[0, ["masks", "keypoints", "background"]].tolist() == ["", "", ""]
    good, faults = schemas.check(loaded, schemas.decodable(casiab.frames))
    assert len(good) == len(clips)
    assert faults.empty


# --- the official archive


def official(root: Path) -> Path:
    """The official people and clips as silhouettes of one pixel, unpacked, and nothing else."""
    image = cv2.imencode(".png", np.full((1, 1), 255, np.uint8))[1].tobytes()
    for number in range(1, 125):
        for sequence in ("nm-01", "cl-02"):
            folder = root / f"silhouettes/{number:03d}/{sequence}/090"
            folder.mkdir(parents=True)
            (folder / f"{number:03d}-{sequence}-090-001.png").write_bytes(image)
    return root


def test_the_official_people_are_64_to_train_10_to_validate_and_50_to_test(tmp_path: Path):
    clips = casiab.read(official(tmp_path / "B"))
    people = clips.groupby("split")["subject_id"].agg(["nunique", "min", "max"])
    assert people.loc["train"].tolist() == [64, "001", "064"]
    assert people.loc["validation"].tolist() == [10, "065", "074"]
    assert people.loc["test"].tolist() == [50, "075", "124"]
    assert len(casiab.SEQUENCES) * len(casiab.VIEWS_DEG) == 110


def test_without_videos_the_frames_are_the_silhouettes(tmp_path: Path):
    root = official(tmp_path / "B")
    clip = casiab.read(root).iloc[0]
    assert clip["frames"] == clip["masks"] == "silhouettes/001/cl-02/090"
    assert (clip["keypoints"], clip["background"], clip["frame_rate_hz"]) == ("", "", 25.0)
    assert next(casiab.frames(root, clip["frames"])).tolist() == [[[255, 255, 255]]]


def test_without_silhouettes_the_videos_are_enough(archive: Path):
    shutil.rmtree(archive / "silhouettes")
    clips = casiab.read(archive)
    assert len(clips) == 80
    assert set(clips["masks"]) == {""}


def test_the_frames_of_a_damaged_video_go_to_quarantine_and_the_rest_stays(archive: Path):
    path = archive / "video/001-nm-01-090.avi"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (archive / "video/001-nm-02-090.avi").write_bytes(b"")
    (archive / "video/002-nm-02-090.avi").unlink()
    for image in (archive / "silhouettes/002/nm-02/090").iterdir():
        image.unlink()
    (archive / "video/002-nm-03-090.avi").unlink()
    shutil.rmtree(archive / "silhouettes/002/nm-03/090")
    good, faults = schemas.check(casiab.read(archive), schemas.decodable(casiab.frames))
    assert set(faults["clip_id"]) == {"001/nm-01/090", "001/nm-02/090", "002/nm-02/090"}
    assert len(good) == 80 - 4  # one had no files, and so no row


# --- protocol


def index_of(walks: dict[str, list[str]], views: tuple[str, ...] = ("000",)) -> pd.DataFrame:
    rows = [
        (f"{subject}/{walk}/{view}", subject, walk, float(view), "test")
        for subject in walks
        for walk in walks[subject]
        for view in views
    ]
    return pd.DataFrame(rows, columns=["clip_id", "subject_id", "sequence", "view_deg", "split"])


def test_gallery_and_probes_of_one_subject_written_out_by_hand():
    single = ("075/nm-01/000", "075/nm-02/000", "075/nm-03/000", "075/nm-04/000")
    cross = ("075/bg-02/000", "075/cl-02/000", "075/nm-02/000")
    probe_sets = casiab.protocol(index_of({"075": TEN}), "test")
    assert [(probe_set.name, probe_set.group, probe_set.gallery, probe_set.probes) for probe_set in probe_sets] == [
        ("NM", "single_view", single, ("075/nm-05/000", "075/nm-06/000")),
        ("BG", "single_view", single, ("075/bg-01/000", "075/bg-02/000")),
        ("CL", "single_view", single, ("075/cl-01/000", "075/cl-02/000")),
        ("NM", "cross_view", cross, ("075/nm-01/000",)),
        ("BG", "cross_view", cross, ("075/bg-01/000",)),
        ("CL", "cross_view", cross, ("075/cl-01/000",)),
    ]


def test_a_protocol_holds_every_view_that_there_is():
    *probe_sets, side = casiab.protocol(index_of({"075": TEN, "076": TEN}, ("000", "090", "180")), "test")
    assert [(len(probe_set.gallery), len(probe_set.probes)) for probe_set in probe_sets] == [(24, 12)] * 3 + [(18, 6)] * 3
    assert (side.name, side.group) == ("NM", "from_90")
    assert side.gallery == ("075/nm-01/090", "076/nm-01/090")
    assert set(side.probes) == {f"{subject}/nm-02/{view}" for subject in ("075", "076") for view in ("000", "090", "180")}


def test_probes_whose_subject_is_in_no_gallery_clip_are_left_out_and_listed():
    clips = index_of({"075": TEN, "076": ["nm-05", "cl-01", "cl-02"]})
    probes = {f"{probe_set.group}/{probe_set.name}": probe_set.probes for probe_set in casiab.protocol(clips, "test")}
    left = casiab.left_out(clips, "test")
    assert probes["single_view/NM"] == ("075/nm-05/000", "075/nm-06/000")
    assert left["single_view/NM"] == ("076/nm-05/000",)
    assert left["single_view/CL"] == ("076/cl-01/000", "076/cl-02/000")
    assert left["cross_view/CL"] == ()  # cl-02 is in that gallery
    assert left["from_90/NM"] == ("075/nm-02/000",)  # nobody walks past the camera from its side


def test_a_split_without_clips_has_no_protocol():
    with pytest.raises(ValueError, match=r"expected clips of split 'train', the index has \['test'\]"):
        casiab.protocol(index_of({"075": TEN}), "train")


# --- damaged archives


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("video/001-nm-01-095.avi", r"001-nm-01-095\.avi: casiab has no view 095, its views are 000, 018"),
        ("video/001-nm-07-090.avi", r"001-nm-07-090\.avi: casiab has no sequence nm-07"),
        ("Video/001-NM-01-090.AVI", r"has 001-nm-01-090\.avi twice, as Video/001-NM-01-090\.AVI and video/001"),
        ("video/holiday.avi", r"holiday\.avi: expected a name such as 001-nm-01-090\.avi"),
        ("silhouettes/001/nm-01/095/1.png", r"silhouettes/001/nm-01/095: casiab has no view 095"),
        ("silhouettes/001/others/1.png", r"silhouettes/001/others: expected silhouettes in silhouettes/001/nm-01/090"),
        ("GaitDatasetB-silh/001/nm-01/090/1.png", r"has 001/nm-01/090 twice, as silhouettes/.* and GaitDatasetB-silh/"),
        ("keypoints/005.npz", r"keypoints/005\.npz: expected an npz file of keypoints, but File is not a zip file"),
        ("silhouettes/005.tar.gz", r"silhouettes/005\.tar\.gz: .* unpack the 1 tar files there"),
    ],
    ids=lambda value: value if "/" in value and "(" not in value else "",
)
def test_what_does_not_belong_into_the_layout_is_named(archive: Path, path: str, message: str):
    (archive / path).parent.mkdir(parents=True, exist_ok=True)
    (archive / path).write_bytes(b"something")
    with pytest.raises(ValueError, match=message):
        casiab.read(archive)


def test_the_id_lists_are_complete_or_absent_and_list_only_people_with_clips(archive: Path):
    (archive / "ids-test.txt").write_text("004\n009\n")
    with pytest.raises(ValueError, match=r"ids-test\.txt lists 009, without clips"):
        casiab.read(archive)
    (archive / "ids-test.txt").unlink()
    with pytest.raises(ValueError, match=r"has some id lists, but not ids-test\.txt; add them"):
        casiab.read(archive)
    (archive / "ids-train.txt").unlink()
    (archive / "ids-validation.txt").unlink()
    assert set(casiab.read(archive)["split"]) == {"train"}  # 001 to 004, by the official rule


def test_a_folder_without_anything_of_the_layout_is_refused(tmp_path: Path):
    (tmp_path / "silhouettes").mkdir()
    with pytest.raises(ValueError, match=r"expected CASIA-B at .*: videos video/001-nm-01-090\.avi or silhouettes .* neither"):
        casiab.read(tmp_path)


def test_keypoints_that_are_missing_are_named(written: Path):
    with pytest.raises(ValueError, match=r"keypoints/001\.npz: expected the keypoints nm-09-090"):
        casiab.keypoints(written, "keypoints/001.npz!nm-09-090")


LIMITED = """
import resource, sys
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
from test_casiab import casiab, draw, make_plan
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
casiab.write(Path({out!r}), make_plan(), draw, jpeg_quality=95)
"""


def test_a_limit_on_the_size_of_files_leaves_nothing_behind(tmp_path: Path, root: Path):
    code = LIMITED.format(tests=str(Path(__file__).parent), root=str(root), out=str(tmp_path / "casiab"))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode != 0
    assert "could be written (is the disk full?)" in process.stderr
    assert list(tmp_path.iterdir()) == []
