"""FVG: what is written is read again; sessions, speeds, passers-by; splits and protocols; archives as they lie on disks."""

import shutil
import zipfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from people import schemas
from people.datasets import fvg
from people.layouts import contents
from people.layouts.motion import J, step_rate_hz
from people.layouts.speeds import at_speed
from people.records import Motion, Surroundings, Take
from people.synth.motion import parametric
from people.synth.render import render

SUBJECTS = {"train": 2, "validation": 2, "test": 3}
SESSIONS = {"second": 0.35, "returning": 0.2}
PLAN = {"subjects": SUBJECTS, "sessions": SESSIONS, "frames_per_sequence": 5}
draw = partial(render, size_hw=(48, 44))


def generated(frames: int = 5, people: int = 7) -> list[Motion]:
    """Walks at the speeds that are recorded."""
    return parametric.motions(people, walks=len(fvg.SEQUENCES), frames=frames, frame_rate_hz=15.0, seed=1, speeds=fvg.SPEEDS)


def make_plan(seed: int = 3) -> list[Take]:
    return fvg.plan(generated(), **PLAN, seed=seed)


@pytest.fixture(scope="module")
def takes() -> list[Take]:
    return make_plan()


@pytest.fixture(scope="module")
def written(takes: list[Take], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered people in the official layout, unpacked."""
    root = tmp_path_factory.mktemp("fvg") / "fvg"
    fvg.write(root, takes, draw, jpeg_quality=95, packed=False)
    return root


@pytest.fixture
def archive(written: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(written, tmp_path / "fvg"))


# --- plan


def test_every_subject_walks_twelve_videos_a_session_from_three_directions(takes: list[Take]):
    by_subject = defaultdict(lambda: defaultdict(list))
    for take in takes:
        by_subject[take.subject_id][take.session].append(take)
    for sessions in by_subject.values():
        assert sorted(sessions) in ([0], [1], [0, 2])
        for session, recorded in sessions.items():
            assert [take.sequence for take in recorded] == [f"s{session + 1}-{video:02d}" for video in range(1, 13)]
            assert [take.view_deg for take in recorded] == [315.0, 0.0, 45.0] * 4
            conditions = [take.condition for take in recorded]
            clothes = ["normal"] * 3 if session != 1 else ["other_clothes"] * 3
            last = ["carrying"] * 3 if session != 1 else ["normal"] * 3
            assert conditions == ["normal"] * 6 + clothes + last


def test_each_split_has_people_of_every_session_and_the_test_has_probes_of_every_protocol(written: Path):
    clips = fvg.read(written)
    for split in SUBJECTS:
        assert set(clips.loc[clips["split"] == split, "session"]) == {0, 1, 2}
    assert [probe_set.name for probe_set in fvg.protocol(clips, "test")] == ["WS", "CB", "CL", "CBG", "ALL"]


def test_no_frame_of_motion_is_in_two_videos_whether_walks_come_at_all_speeds_or_at_one():
    comfortable = parametric.motions(7, walks=5, frames=160, frame_rate_hz=15.0, seed=1)
    for motions in (generated(), comfortable):
        takes = fvg.plan(motions, **PLAN, seed=1)
        frames = pd.Series([joints.tobytes() for take in takes for joints in take.motion.joints_m])
        assert not frames.duplicated().any()
        assert {len(take.motion) for take in takes} == {5}


def test_the_gallery_walk_is_another_than_those_of_the_probes_where_a_person_has_two():
    motions = parametric.motions(7, walks=3, frames=400, frame_rate_hz=15.0, seed=1)
    walks = {(take.subject_id, take.sequence): take.motion.walk_id for take in fvg.plan(motions, **PLAN, seed=1)}
    for (subject, sequence), walk in walks.items():
        gallery = walks.get((subject, "s1-02")) or walks[subject, "s2-02"]
        assert (walk == gallery) == (sequence in ("s1-02", "s2-02"))


def test_a_slow_walk_has_slower_and_shorter_steps_and_a_fast_one_faster_and_longer_ones():
    motions = parametric.motions(4, walks=3, frames=120, frame_rate_hz=30.0, seed=5, speeds=(0.75, 1.0, 1.25))
    warped = [at_speed(motions[3 * person + 1], speed) for person in range(4) for speed in (0.75, 1.0, 1.25)]
    for walks in (motions, warped):
        for person in range(4):
            slow, normal, fast = (facts_of_steps(walk) for walk in walks[3 * person : 3 * person + 3])
            for one, factor in ((slow, 0.75), (fast, 1.25)):
                assert one["rate"] / normal["rate"] == pytest.approx(factor**0.5, abs=0.07)
                assert one["length"] / normal["length"] == pytest.approx(factor**0.5, abs=0.07)
                assert one["speed"] / normal["speed"] == pytest.approx(factor, abs=0.1)


def facts_of_steps(walk: Motion) -> dict[str, float]:
    """Steps a second, distance of the ankles along the path at its widest, and metres a second."""
    separation_m = walk.joints_m[:, J["left_ankle"], 0] - walk.joints_m[:, J["right_ankle"], 0]
    seconds = (len(walk) - 1) / walk.frame_rate_hz
    return {
        "rate": step_rate_hz(walk),
        "length": float(np.abs(separation_m).max()),
        "speed": float(walk.forward_m[-1] - walk.forward_m[0]) / seconds,
    }


@pytest.mark.parametrize("speed", [0.75, 1.25])
def test_a_walk_at_another_speed_keeps_its_legs_and_its_feet_do_not_slide(speed: float):
    for walk in parametric.motions(4, walks=1, frames=90, frame_rate_hz=30.0, seed=2):
        changed = at_speed(walk, speed)
        for side in ("left", "right"):
            for near, far in (("hip", "knee"), ("knee", "ankle"), ("ankle", "foot")):
                before, after = (
                    np.linalg.norm(each.joints_m[:, J[f"{side}_{far}"]] - each.joints_m[:, J[f"{side}_{near}"]], axis=1).mean()
                    for each in (walk, changed)
                )
                assert after == pytest.approx(before, rel=0.01)
            foot = changed.joints_m[:, J[f"{side}_foot"]]
            moved_m_s = np.abs(np.gradient(foot[:, 0] + changed.forward_m)) * changed.frame_rate_hz
            stands = foot[:, 2] < foot[:, 2].min() + 0.02
            assert np.median(moved_m_s[stands]) < 0.15
        assert at_speed(walk, 1.0) is walk


def test_a_speed_at_which_nobody_walks_and_walks_without_a_speed_are_refused():
    walk = generated()[0]
    with pytest.raises(ValueError, match=r"a relative speed of walking lies in \(0\.5, 1\.5\), got 3"):
        at_speed(walk, 3)
    with pytest.raises(ValueError, match="expected a speed for each of 3 walks, got 2"):
        parametric.motions(1, walks=3, frames=5, frame_rate_hz=15.0, seed=1, speeds=(1.0, 1.25))


def test_sessions_differ_in_clothes_and_the_videos_of_one_do_not_but_for_bag_and_other_clothes(takes: list[Take]):
    def colours(take: Take) -> np.ndarray:
        """The mean colour of the upper and of the lower half of the person, in the light of the room."""
        frame = next(iter(render(replace(take, surroundings=None, session=take.session), size_hw=(96, 88))))
        rows = np.flatnonzero(frame.mask.any(axis=1))
        halves = np.array_split(rows, 2)
        return np.stack([frame.frame_rgb[half][frame.mask[half]].mean(axis=0) for half in halves])

    by_key = {(take.subject_id, take.sequence): take for take in takes}
    returning = next(take.subject_id for take in takes if take.session == 2)
    second = next(take.subject_id for take in takes if take.session == 1)
    same = np.abs(colours(by_key[returning, "s1-02"]) - colours(by_key[returning, "s1-08"])).max()
    assert np.abs(colours(by_key[returning, "s1-02"]) - colours(by_key[returning, "s3-02"])).max() > 2 * same
    assert np.abs(colours(by_key[second, "s2-02"]) - colours(by_key[second, "s2-08"])).max() > 2 * same


def test_who_passes_by_moves_and_is_behind_the_person(takes: list[Take]):
    cluttered = [take for take in takes if take.surroundings and take.surroundings.is_cluttered]
    assert {take.sequence for take in cluttered} == {"s2-10", "s2-11", "s2-12"}
    for take in cluttered:
        alone = replace(take, surroundings=Surroundings(is_cluttered=True))
        assert take.surroundings is not None
        assert len(take.surroundings.passers_by) == 2
        with_them, without = (list(render(each, size_hw=(64, 60))) for each in (take, alone))
        changed = []
        for one, other in zip(with_them, without, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
            np.testing.assert_array_equal(one.keypoints_px, other.keypoints_px)
            inside = cv2.erode(one.mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            differs = (one.frame_rgb != other.frame_rgb).any(axis=2)
            assert differs[inside].mean() < 0.1  # gaps between arm and trunk
            changed.append(differs & ~one.mask)
        assert all(of_frame.sum() > 20 for of_frame in changed)
        assert (changed[0] & ~changed[-1]).sum() > 10


def test_passers_by_are_as_far_away_as_is_asked_and_walk_to_the_side_that_is_asked(takes: list[Take]):
    take = next(take for take in takes if take.surroundings and take.surroundings.is_cluttered)
    assert take.surroundings is not None
    first = take.surroundings.passers_by[0]
    walk = generated(frames=12)[0]
    heights, middles = {}, {}
    for away_m in (1.0, 6.0):
        for view_deg in (90.0, 270.0):
            passer_by = replace(first, motion=walk, view_deg=view_deg, away_m=away_m, right_m=0.0)
            shown = replace(take, motion=walk, surroundings=Surroundings(passers_by=(passer_by,)))
            frames = [
                [frame.frame_rgb.astype(int) for frame in render(each, size_hw=(96, 160))]
                for each in (far_off(shown), far_off(replace(shown, surroundings=Surroundings())))
            ]
            seen = [np.abs(one - other).max(axis=2) > 24 for one, other in zip(*frames, strict=True)]
            rows, columns = zip(*[(each.any(axis=1).sum(), np.nonzero(each)[1].mean()) for each in seen], strict=True)
            heights[away_m], middles[view_deg] = np.median(rows), columns
    assert heights[1.0] / heights[6.0] == pytest.approx((6 + 6) / (6 + 1), rel=0.12)
    assert middles[90.0][-1] < middles[90.0][0] - 3
    assert middles[270.0][-1] > middles[270.0][0] + 3


def far_off(take: Take) -> Take:
    """The take without its person."""
    joints_m = take.motion.joints_m + np.array([100, 0, 0], np.float32) * np.cos(np.radians(take.view_deg))
    joints_m = joints_m + np.array([0, 100, 0], np.float32) * np.sin(np.radians(take.view_deg))
    return replace(take, motion=replace(take.motion, joints_m=joints_m.astype(np.float32)))


def test_the_same_seed_gives_the_same_plan_and_another_seed_another():
    def subjects_of(seed: int) -> list[tuple[str, str, int]]:
        return [(take.subject_id, take.motion.subject_id, take.seed) for take in make_plan(seed)]

    assert subjects_of(1) == subjects_of(1)
    assert subjects_of(1) != subjects_of(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subjects": {"train": 4, "validation": 0, "test": 1}}, "at least one subject of train, validation and test"),
        ({"sessions": {"second": 0.3}}, r"sessions: \{second: share, returning: share\}"),
        ({"sessions": {"second": 1.5, "returning": 0}}, "from 0 to 1"),
        ({"subjects": {"train": 9, "validation": 1, "test": 1}}, "expected 11 subjects with motion for 12 videos .* 7"),
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_is_refused(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        fvg.plan(generated(), **{**PLAN, **change}, seed=1)


# --- write and read


@pytest.mark.parametrize("packed", [True, False], ids=["zip files", "folders"])
def test_what_is_written_is_read_again(takes: list[Take], written: Path, tmp_path: Path, packed: bool):
    root = written
    if packed:
        root = tmp_path / "packed"
        with ThreadPoolExecutor(2) as executor:
            fvg.write(root, takes, draw, jpeg_quality=95, executor=executor)
    clips = fvg.read(root).set_index("clip_id")
    assert len(clips) == len(takes)
    first, second = ("normal", "slow", "fast", "bag"), ("normal", "speed", "clothes", "clutter")
    for take in takes[::17]:
        session, video = take.session + 1, int(take.sequence[-2:])
        clip = clips.loc[f"s{session}/{take.subject_id}_{video:02d}"]
        labels = (clip["split"], clip["session"], clip["view_deg"], clip["gender"], clip["age_years"], clip["frame_rate_hz"])
        assert labels == (take.split, take.session, take.view_deg, take.motion.sex, take.motion.age_years, 15.0)
        code = (second if session == 2 else first)[(video - 1) // 3]
        assert (clip["sequence"], clip["condition"]) == (take.sequence, code)
        assert (clip["frame_count"], clip["height_px"], clip["width_px"]) == (5, 48, 44)
        truth = list(draw(take))
        frames = list(fvg.frames(root, clip["frames"]))
        assert min(cv2.PSNR(frame, rendered.frame_rgb) for frame, rendered in zip(frames, truth, strict=True)) > 30
        for mask, rendered in zip(fvg.masks(root, clip["masks"]), truth, strict=True):
            np.testing.assert_array_equal(mask, np.where(rendered.mask, 255, 0))
        np.testing.assert_array_equal(fvg.keypoints(root, clip["keypoints"]), [rendered.keypoints_px for rendered in truth])
    assert contents.unread(root, clips.reset_index()) == []


def test_the_written_files_have_the_official_names(takes: list[Take], written: Path, tmp_path: Path):
    assert (written / "session1/001_01/00001.jpg").is_file()
    assert not (written / "session1/001_13").exists()
    assert sorted(path.name for path in (written / "background").iterdir()) == [
        "session1.avi", "session2-clutter.avi", "session2.avi", "session3.avi"
    ]  # fmt: skip
    fvg.write(tmp_path / "packed", takes[:12], draw, jpeg_quality=90)
    with zipfile.ZipFile(tmp_path / "packed/session1_001.zip") as file:
        assert file.namelist()[0] == "session1/001_01/00001.jpg"


def test_the_empty_scenes_show_nobody_and_are_those_of_the_clips(written: Path):
    clips = fvg.read(written)
    for location in sorted(set(clips["background"])):
        clip = clips[clips["background"] == location].iloc[0]
        empty = np.median(list(fvg.background(written, location)), axis=0)
        frame = next(fvg.frames(written, clip["frames"])).astype(float)
        frame *= np.median(empty) / np.median(frame)
        mask = next(iter(fvg.masks(written, clip["masks"]))) > 0
        away = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
        assert np.abs(frame - empty)[mask].mean() > 3 * np.median(np.abs(frame - empty)[away])


def test_an_index_keeps_its_columns_through_a_file_and_passes_validation(written: Path, tmp_path: Path):
    clips = fvg.read(written)
    clips.to_csv(tmp_path / "clips.csv", index=False)
    good, faults = schemas.check(schemas.load(tmp_path / "clips.csv"), schemas.decodable(fvg.frames))
    assert len(good) == len(clips)
    assert faults.empty


def test_a_replaced_picture_changes_the_digest_of_its_clip_alone(archive: Path):
    clips = fvg.read(archive)
    before = contents.of_clips(archive, clips, {})
    image = archive / "session1/001_02/00003.jpg"
    image.write_bytes((archive / "session1/001_02/00004.jpg").read_bytes())
    after = contents.of_clips(archive, clips, {})
    changed = [clip for clip, one, other in zip(clips["clip_id"], before, after, strict=True) if one != other]
    assert changed == ["s1/001_02"]


# --- the official archive

PNG = cv2.imencode(".png", np.full((4, 3, 3), 90, np.uint8))[1].tobytes()
RETURNED = (1, 2, 4, 7, 8, 12, 13, 17, 31, 40, 48, 77)


def official(root: Path, videos: tuple[int, ...] = (2, 10)) -> Path:
    """The official people as one picture for each of some videos, in the zip files that are given out, and nothing else."""
    members = [(1, number) for number in range(1, 148)] + [(2, number) for number in range(148, 227)]
    root.mkdir()
    for session, number in [*members, *((3, number) for number in RETURNED)]:
        with zipfile.ZipFile(root / f"session{session}_{number:03d}.zip", "w") as file:
            for video in videos:
                file.writestr(f"session{session}/{number:03d}_{video:02d}/00001.png", PNG)
    return root


@pytest.fixture(scope="module")
def of_official(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return fvg.read(official(tmp_path_factory.mktemp("official") / "FVG"))


def test_the_official_people_are_122_to_train_14_to_validate_and_90_to_test(of_official: pd.DataFrame):
    people = of_official.groupby("split")["subject_id"].agg(["nunique", "min", "max"])
    assert people.loc["train"].tolist() == [122, "001", "122"]
    assert people.loc["validation"].tolist() == [14, "123", "136"]
    assert people.loc["test"].tolist() == [90, "137", "226"]


def test_official_clips_have_no_masks_no_empty_scene_and_no_labels_of_people(of_official: pd.DataFrame):
    assert len(of_official) == (147 + 79 + 12) * 2
    for name in ("masks", "keypoints", "background"):
        assert set(of_official[name]) == {""}
    assert of_official[["gender", "age_years"]].isna().to_numpy().all()
    assert set(of_official["frame_rate_hz"]) == {15.0}
    assert of_official.groupby("session")["condition"].unique().map(sorted).tolist() == [
        ["bag", "normal"], ["clutter", "normal"], ["bag", "normal"]
    ]  # fmt: skip


def test_of_the_official_test_people_nobody_returns_and_in_the_order_of_the_public_code_some_do(of_official: pd.DataFrame):
    returned = {f"{number:03d}" for number in RETURNED}
    assert not returned & set(fvg.official_split()["test"])
    shuffled = fvg.official_split("code")
    assert returned & set(shuffled["test"])
    assert [len(names) for names in shuffled.values()] == [122, 14, 90]
    assert len(set().union(*shuffled.values())) == 226


def test_id_lists_in_the_root_are_the_split(tmp_path: Path):
    root = official(tmp_path / "FVG", videos=(2,))
    for split, names in fvg.official_split("code").items():
        (root / f"ids-{split}.txt").write_text("\n".join(names))
    clips = fvg.read(root)
    assert {split: set(names) for split, names in clips.groupby("split")["subject_id"]} == {
        split: set(names) for split, names in fvg.official_split("code").items()
    }
    (root / "ids-test.txt").unlink()
    with pytest.raises(ValueError, match=r"has some id lists, but not ids-test\.txt"):
        fvg.read(root)


def test_an_archive_may_be_unpacked_in_part_written_in_capitals_and_hold_videos(tmp_path: Path):
    root = tmp_path / "FVG"
    (root / "SESSION1/001_01").mkdir(parents=True)
    (root / "SESSION1/001_01/00001.PNG").write_bytes(PNG)
    (root / "SESSION1/001_01/00002.JPG").write_bytes(PNG)
    (root / "SESSION1/001_01/._00002.JPG").write_bytes(b"\0")
    with zipfile.ZipFile(root / "Session2_148.ZIP", "w") as file:
        file.writestr("Session2/", b"")
        file.writestr("Session2/148_02/", b"")
        file.writestr("Session2/148_02/00001.png", PNG)
    with zipfile.ZipFile(root / "SESSION1/001_03.zip", "w") as file:
        file.writestr("001_03/00001.png", PNG)
    writer = cv2.VideoWriter(str(root / "SESSION1/002_05.AVI"), cv2.VideoWriter.fourcc(*"MJPG"), 15, (32, 24))
    for level in (10, 90, 200):
        writer.write(np.full((24, 32, 3), level, np.uint8))
    writer.release()
    clips = fvg.read(root).set_index("clip_id")
    assert clips["frame_count"].to_dict() == {"s1/001_01": 2, "s1/001_03": 1, "s1/002_05": 3, "s2/148_02": 1}
    assert len(list(fvg.frames(root, clips.loc["s1/002_05", "frames"]))) == 3
    assert next(fvg.frames(root, clips.loc["s2/148_02", "frames"])).shape == (4, 3, 3)
    assert contents.unread(root, clips.reset_index()) == []


def test_an_empty_folder_and_a_damaged_picture_go_to_quarantine_and_the_rest_stays(archive: Path):
    for image in (archive / "session1/001_03").iterdir():
        image.unlink()
    (archive / "session1/001_04/00002.jpg").write_bytes(b"\xff\xd8 cut")
    clips = fvg.read(archive)
    good, faults = schemas.check(clips, schemas.decodable(fvg.frames))
    assert set(faults["clip_id"]) == {"s1/001_03", "s1/001_04"}
    assert len(good) == len(clips) - 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("session1/001_13/1.png", r"session1/001_13: fvg has no video 13, it has 01 to 12"),
        ("session1/walk/1.png", r"session1/walk: expected frames in session1/001_01 \(subject, video\)"),
        ("session1/1.png", r"session1: expected frames in session1/001_01"),
        ("SESSION1/001_01/1.png", r"has SESSION1/001_01 and session1/001_01, which are one clip"),
        ("session1/001_01.avi", r"has session1/001_01 and session1/001_01\.avi, which are one clip"),
        ("session1/holiday.avi", r"session1/holiday: expected frames in session1/001_01"),
        ("session1_001.zip", r"session1_001\.zip: expected a whole zip file"),
        ("ids-test.txt", r"ids-test\.txt lists something, without clips"),
        ("keypoints/session1_009.npz", r"session1_009\.npz: expected an npz file of keypoints"),
    ],
    ids=lambda value: value if "/" in value and "(" not in value else "",
)
def test_what_does_not_belong_into_the_layout_is_named(archive: Path, path: str, message: str):
    (archive / path).parent.mkdir(parents=True, exist_ok=True)
    (archive / path).write_bytes(b"something")
    with pytest.raises(ValueError, match=message):
        fvg.read(archive)


def test_a_folder_without_anything_of_the_layout_is_refused(tmp_path: Path):
    (tmp_path / "session1").mkdir()
    with pytest.raises(ValueError, match=r"expected FVG at .*: images session1/001_01/\*\.png"):
        fvg.read(tmp_path)


# --- protocol


def index_of(videos: dict[tuple[str, int], list[int]]) -> pd.DataFrame:
    """Test clips by subject and session (from 1)."""
    rows = [
        (f"s{session}/{subject}_{video:02d}", subject, f"s{session}-{video:02d}", session - 1, "test")
        for (subject, session), numbers in videos.items()
        for video in numbers
    ]
    return pd.DataFrame(rows, columns=["clip_id", "subject_id", "sequence", "session", "split"])


ALL = list(range(1, 13))
THREE = {("001", 1): ALL, ("001", 3): ALL, ("150", 2): ALL}


def clips_of(session: int, subject: str, videos: list[int]) -> tuple[str, ...]:
    return tuple(f"s{session}/{subject}_{video:02d}" for video in videos)


def test_gallery_and_probes_written_out_by_hand():
    sets = {probe_set.name: probe_set for probe_set in fvg.protocol(index_of(THREE), "test")}
    first, second = partial(clips_of, 1, "001"), partial(clips_of, 2, "150")
    assert {name: probe_set.probes for name, probe_set in sets.items()} == {
        "WS": first([4, 5, 6, 7, 8, 9]) + second([4, 5, 6]),
        "CB": first([10, 11, 12]),
        "CL": second([7, 8, 9]),
        "CBG": second([10, 11, 12]),
        "ALL": first([1, *range(3, 13)]) + second([1, *range(3, 13)]) + clips_of(3, "001", ALL),
    }
    assert {probe_set.gallery for probe_set in sets.values()} == {("s1/001_02", "s2/150_02")}
    assert {probe_set.group for probe_set in sets.values()} == {"fvg"}


def test_the_probes_of_cluttered_background_are_those_of_the_paper_or_of_the_public_code():
    by_code = {probe_set.name: probe_set for probe_set in fvg.protocol(index_of(THREE), "test", clutter="code")}
    assert by_code["CBG"].probes == by_code["CB"].probes == clips_of(1, "001", [10, 11, 12])
    with pytest.raises(ValueError, match="expected clutter to be one of paper, code, got 'both'"):
        fvg.protocol(index_of(THREE), "test", clutter="both")


@pytest.mark.parametrize("clutter", ["paper", "code"])
def test_the_gallery_is_among_the_probes_of_no_protocol(clutter: str):
    clips = index_of({**THREE, ("009", 3): ALL, ("008", 1): [2], ("007", 2): [2, 3]})
    for probe_set in fvg.protocol(clips, "test", clutter):
        assert not set(probe_set.gallery) & set(probe_set.probes)
        assert "s3/001_02" not in probe_set.gallery
        assert "s3/009_02" in probe_set.gallery  # whose earliest session is the third


def test_probes_of_a_person_without_video_2_of_the_earliest_session_are_left_out_and_listed():
    clips = index_of({**THREE, ("002", 1): [1, 4, 10], ("002", 3): [2, 10]})
    left = fvg.left_out(clips, "test")
    assert left["WS"] == ("s1/002_04",)
    assert left["CB"] == ("s1/002_10",)
    assert left["ALL"] == ("s1/002_01", "s1/002_04", "s1/002_10", "s3/002_02", "s3/002_10")
    assert left["CL"] == left["CBG"] == ()
    included = {clip for probe_set in fvg.protocol(clips, "test") for clip in probe_set.probes}
    assert not [clip for clip in included if "/002" in clip]


def test_a_set_without_a_probe_and_a_split_without_clips_are_none():
    assert [probe_set.name for probe_set in fvg.protocol(index_of({("150", 2): [2, 4]}), "test")] == ["WS", "ALL"]
    with pytest.raises(ValueError, match=r"expected clips of split 'train', the index has \['test'\]"):
        fvg.protocol(index_of(THREE), "train")
