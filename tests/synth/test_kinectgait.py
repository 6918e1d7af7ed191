"""Kinect gait archive: steady walks read from the official layout."""

import io
import lzma
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from people.layouts.archives import members
from people.layouts.motion import J, bone_lengths_m, pieces, step_rate_hz
from people.records import JOINTS, Motion
from people.synth.motion import kinectgait

STEP_HZ, SPEED_M_S, HZ = 1.75, 1.1, 30.0
TABLE = (
    "Individual,Height,Weight (Kg),Age,Gender,Body Mass Index,BackPack,HighHeels\r\n"
    "Person001,1.63,,,F ,0,,\r\nPerson002,1.8,75,21,M,23.1,S,\r\nPerson003,1.7,,,M,0,,\r\n,,,,,,,\r\n"
)


def body(phase: np.ndarray, seen_from_right: bool) -> np.ndarray:
    """A walker towards -x (seen from the right) or +x; the sensor looks along +z of its own frame, y is up."""
    frames = len(phase)
    direction, left = (-1, 1) if seen_from_right else (1, -1)  # left of -x leads away from the sensor, to larger z
    reach = SPEED_M_S * 1.2 / STEP_HZ / 2
    joints = {}
    trunk = {"head": 1.65, "neck": 1.45, "spine": 1.1, "pelvis": 0.95}
    for name, up in trunk.items():
        joints[name] = (np.zeros(frames), up, 0.0)
    for side, sign, shift in (("left", left, 0.0), ("right", -left, 0.5)):
        cycle = (phase + shift) % 1
        swing = np.clip((cycle - 0.6) / 0.4, 0, 1)
        x = np.where(cycle < 0.6, reach * (1 - cycle / 0.3), -reach * np.cos(np.pi * swing))
        lift = 0.08 * np.sin(np.pi * swing)
        for joint, up, reach_share, offset, width in (
            ("hip", 0.9, 0, 0, 0.09), ("knee", 0.5, 0.5, 0.06, 0.09), ("ankle", 0.1, 1, 0, 0.08), ("foot", 0.03, 1, 0.12, 0.08),
        ):  # fmt: skip
            joints[f"{side}_{joint}"] = (reach_share * x + offset, up + reach_share * lift, sign * width)
        for joint, up, reach_share in (("shoulder", 1.4, 0), ("elbow", 1.1, 0.15), ("wrist", 0.88, 0.4), ("hand", 0.8, 0.5)):
            joints[f"{side}_{joint}"] = (-reach_share * x, up, sign * 0.2)
    columns = [
        np.stack(np.broadcast_arrays(direction * x, y - 0.9, z + 2.5), axis=1) for x, y, z in (joints[name] for name in JOINTS)
    ]
    return np.stack(columns, axis=1)


def recording(walk_frames: int = 150) -> np.ndarray:
    """Standing, walking to the left of the image, standing and walking back, as in the archive's files."""
    phase = np.arange(walk_frames) * STEP_HZ / 2 / HZ
    away, towards = body(phase, True), body(phase, False)
    end_standing, start_standing = np.repeat(away[-1:], 30, axis=0), np.repeat(towards[:1], 30, axis=0)
    return np.concatenate([np.repeat(away[:1], 30, axis=0), away, end_standing, start_standing, towards])


def text(joints: np.ndarray) -> str:
    named = (joint for frame in joints for joint in zip(kinectgait.SENSOR_JOINTS, frame, strict=True))
    return "".join(f"{name};{x:.7g};{y:.7g};{z:.7g}\r\n" for name, (x, y, z) in named)


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "kinect"
    (root / "GenderBMIData").mkdir(parents=True)
    (root / "GenderBMIData/person-data.csv").write_text(TABLE, newline="")
    for subject, walks in (("Person001", (2, 10)), ("Person002", (1,))):
        (root / "Data" / subject).mkdir(parents=True)
        for walk in walks:
            (root / "Data" / subject / f"{walk}.txt").write_text(text(recording()), newline="")
    return root


def packed(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:xz" if archive.suffix == ".xz" else "w") as file:
        for path in sorted(folder.iterdir()):
            file.add(path, arcname=path.name)
    return archive


def test_a_file_with_two_directions_gives_two_walks_in_numeric_order(folder):
    motions = kinectgait.read(folder)
    names = [f"{motion.subject_id}/{motion.walk_id}" for motion in motions]
    assert names == [f"Person{walk}" for walk in ("001/2a", "001/2b", "001/10a", "001/10b", "002/1a", "002/1b")]


def test_labels_are_read_from_the_table_and_missing_ones_are_none(folder):
    first, *_, last = kinectgait.read(folder)
    assert (first.sex, first.age_years, first.height_m, first.weight_kg) == ("female", None, 1.63, None)
    assert (last.sex, last.age_years, last.height_m, last.weight_kg) == ("male", 21.0, 1.8, 75.0)


def test_walks_in_both_directions_head_along_x_with_left_along_y(folder):
    for motion in kinectgait.read(folder):
        feet = (
            motion.joints_m[:, [J["left_foot"], J["right_foot"]], 0]
            - motion.joints_m[:, [J["left_ankle"], J["right_ankle"]], 0]
        )
        assert feet.mean() > 0.08
        assert (motion.joints_m[:, J["left_shoulder"], 1] > motion.joints_m[:, J["right_shoulder"], 1]).all()
        np.testing.assert_allclose(motion.joints_m[:, J["pelvis"], :2], 0, atol=1e-6)
        assert 0 < motion.joints_m[:, [J["left_foot"], J["right_foot"]], 2].min() < 0.06


def test_speed_and_step_rate_are_those_of_the_walker(folder):
    for motion in kinectgait.read(folder):
        assert motion.forward_m[-1] / (len(motion) - 1) * HZ == pytest.approx(SPEED_M_S, rel=0.07)
        assert step_rate_hz(motion) == pytest.approx(STEP_HZ, abs=0.05)


def test_duration_and_distance_do_not_depend_on_the_frame_rate(folder):
    for slow, fast in zip(kinectgait.read(folder), kinectgait.read(folder, frame_rate_hz=60.0), strict=True):
        assert len(fast) == 2 * len(slow) - 1
        assert fast.forward_m[-1] == pytest.approx(slow.forward_m[-1], rel=1e-6)
        np.testing.assert_allclose(fast.joints_m[::2], slow.joints_m, atol=1e-6)


def test_tar_zip_and_folder_hold_the_same_walks(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "k.zip", "w") as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, path.relative_to(folder))
    expected = kinectgait.read(folder)
    for archive in (packed(folder, tmp_path / "k.tar.xz"), packed(folder, tmp_path / "k.tar"), tmp_path / "k.zip"):
        for actual, expected_motion in zip(kinectgait.read(archive), expected, strict=True):
            assert (actual.subject_id, actual.walk_id) == (expected_motion.subject_id, expected_motion.walk_id)
            np.testing.assert_array_equal(actual.joints_m, expected_motion.joints_m)


def test_swapped_legs_are_reassigned_and_counted(folder):
    joints = recording()
    original = kinectgait.read(folder)[4]
    for joint in ("knee", "ankle", "foot"):
        pair = [J[f"left_{joint}"], J[f"right_{joint}"]]
        joints[100:104, pair] = joints[100:104, pair[::-1]]
    (folder / "Data/Person002/1.txt").write_text(text(joints))
    repaired = kinectgait.read(folder)[4]
    assert repaired.repaired_frames == original.repaired_frames + 4
    legs = [J[f"{side}_{joint}"] for side in ("left", "right") for joint in ("knee", "ankle", "foot")]
    np.testing.assert_allclose(repaired.joints_m[:, legs], original.joints_m[:, legs], atol=0.05)  # apart by up to 0.7 m


def test_depth_bias_is_corrected_about_the_mean(folder):
    joints = recording()
    hidden = [J[name] for name in JOINTS if name.startswith("left_")]
    joints[:, hidden, 2] -= 0.08  # the hidden half is displaced towards the sensor
    joints[:, hidden, 0] -= 0.1
    (folder / "Data/Person002/1.txt").write_text(text(joints))
    mean = kinectgait.read(folder)[4].joints_m.mean(axis=0)
    for joint in ("shoulder", "hip", "ankle"):
        difference, total = (
            mean[J[f"left_{joint}"]] - mean[J[f"right_{joint}"]],
            mean[J[f"left_{joint}"]] + mean[J[f"right_{joint}"]],
        )
        assert abs(difference[0]) < 0.01
        assert abs(total[1]) < 0.01
        assert difference[1] > 0.1


def test_a_person_who_stands_still_gives_no_walk(folder):
    (folder / "Data/Person002/1.txt").write_text(text(np.repeat(recording()[:1], 200, axis=0)))
    assert {motion.subject_id for motion in kinectgait.read(folder)} == {"Person001"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Head;0.1;0.2", "line 21: expected Joint-Name;x;y;z"),
        ("Head;0.1;a;0.2", "line 21"),
        ("Tail;0;0;0", "line 21"),
        ("", "line 21"),
    ],
)
def test_a_line_that_does_not_parse_is_named(folder, line, message):
    lines = text(recording()[:50]).splitlines()
    lines[20] = line
    (folder / "Data/Person002/1.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"Person002/1\.txt, line 21: expected Joint-Name;x;y;z"):
        kinectgait.read(folder)


def test_a_frame_of_nineteen_joints_is_named(folder):
    lines = text(recording()[:50]).splitlines()
    del lines[45]
    (folder / "Data/Person002/1.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"Person002/1\.txt, line 41: expected 20 joints from Head on in frame 3, got 19"):
        kinectgait.read(folder)


def test_a_joint_given_twice_is_named(folder):
    lines = text(recording()[:50]).splitlines()
    lines[45] = lines[46]
    (folder / "Data/Person002/1.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="line 41: expected every joint once in frame 3"):
        kinectgait.read(folder)


def test_a_file_cut_in_the_middle_of_a_frame_is_named(folder):
    lines = text(recording()[:50]).splitlines()
    (folder / "Data/Person002/1.txt").write_text("\n".join(lines[:-7]))
    with pytest.raises(ValueError, match="in frame 50, got 13"):
        kinectgait.read(folder)


def test_an_empty_walk_is_named(folder):
    (folder / "Data/Person002/1.txt").write_text("")
    with pytest.raises(ValueError, match=r"Person002/1\.txt"):
        kinectgait.read(folder)


def test_a_missing_table_is_named(folder):
    (folder / "GenderBMIData/person-data.csv").unlink()
    with pytest.raises(ValueError, match=r"expected a table GenderBMIData/person-data\.csv"):
        kinectgait.read(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("M,23.1", "x,23.1", "line 3: expected Gender F, M"), (",21,", ",old,", "line 3"), ("Age", "Years", "Age")],
)
def test_a_wrong_entry_of_the_table_is_named(folder, old, new, message):
    (folder / "GenderBMIData/person-data.csv").write_text(TABLE.replace(old, new))
    with pytest.raises(ValueError, match=rf"person-data\.csv.*{message}"):
        kinectgait.read(folder)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_with_a_byte_order_mark_is_read_alike(folder, encoding):
    before = kinectgait.read(folder)
    for path in (path for ending in ("*.csv", "*.txt") for path in folder.rglob(ending)):
        path.write_bytes(path.read_bytes().decode().encode(encoding))
    after = kinectgait.read(folder)
    assert [motion.age_years for motion in after] == [motion.age_years for motion in before]
    assert all((first.joints_m == second.joints_m).all() for first, second in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["GenderBMIData/person-data.csv", "Data/Person001/2.txt"])
def test_text_in_another_encoding_is_named(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes() + "Müller".encode("latin-1"))
    with pytest.raises(ValueError, match=rf"{name}: expected text in UTF-8, or in UTF-16 with a byte order mark, but"):
        kinectgait.read(folder)


def test_names_may_be_in_capitals_and_folders_and_files_links_and_files_of_systems_are_passed_over(folder, tmp_path):
    before = kinectgait.read(folder)
    (folder / "Data/Person001").rename(tmp_path / "elsewhere")
    (folder / "Data/PERSON001").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/2.txt").rename(tmp_path / "walk")
    (tmp_path / "elsewhere/2.TXT").symlink_to(tmp_path / "walk")
    (folder / "GenderBMIData/person-data.csv").rename(folder / "GenderBMIData/PERSON-DATA.CSV")
    for name in ("._2.txt", ".DS_Store"):
        (tmp_path / "elsewhere" / name).write_bytes(b"\0\5\x16\7")
    after = kinectgait.read(folder)
    assert [(motion.subject_id, motion.walk_id) for motion in after] == [
        (motion.subject_id, motion.walk_id) for motion in before
    ]
    assert all((first.joints_m == second.joints_m).all() for first, second in zip(before, after, strict=True))


def test_a_person_without_a_row_is_named(folder):
    (folder / "GenderBMIData/person-data.csv").write_text(TABLE.replace("Person002", "Person009"))
    with pytest.raises(ValueError, match=r"expected Person002 in person-data\.csv"):
        kinectgait.read(folder)


@pytest.mark.parametrize("name", ["k.tar.xz", "k.tar"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_truncated_archive_is_refused(folder, tmp_path, name, share):
    archive = packed(folder, tmp_path / name)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    with pytest.raises(ValueError, match=rf"{re.escape(name)}: expected a whole tar, zip or folder"):
        kinectgait.read(archive)


def test_a_tar_cut_between_two_files_is_refused(folder, tmp_path):
    archive = packed(folder, tmp_path / "k.tar")
    with tarfile.open(archive) as file:
        last = file.getmembers()[-1]
    archive.write_bytes(archive.read_bytes()[: last.offset])
    with pytest.raises(ValueError, match="end-of-archive mark is missing"):
        kinectgait.read(archive)


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: expected walks Data/PersonNNN/k\.txt .* found 0 other files"):
        kinectgait.read(tmp_path / "empty")
    with pytest.raises(ValueError, match="no such file or folder"):
        kinectgait.read(tmp_path / "nowhere")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "k.tar.xz").write_bytes(lzma.compress(b"not a tar" * 999))
    with pytest.raises(ValueError, match="expected a whole tar"):
        kinectgait.read(tmp_path / "k.tar.xz")


def test_an_archive_cannot_reach_outside_itself(folder, tmp_path):
    archive = packed(folder, tmp_path / "k.tar")
    with tarfile.open(archive, "a") as file:
        content = text(recording(60)).encode()
        info = tarfile.TarInfo("../../outside/Person001/99.txt")
        info.size = len(content)
        file.addfile(info, io.BytesIO(content))
    kinectgait.read(archive)
    assert not list(tmp_path.rglob("outside"))


# real walks


@pytest.fixture(scope="module")
def real_walks(real_data, tmp_path_factory) -> list[Motion]:
    """Every eleventh person of the archive, ten in all."""
    root = tmp_path_factory.mktemp("kinect")
    files = members(real_data / "kinect-gait/kinect-gait.tar.xz", kinectgait._PATTERN, expected="walks")
    subjects = sorted({Path(name).parent.name for name in files if name.endswith(".txt")})[::11]
    for name, content in files.items():
        if name.endswith(".csv") or Path(name).parent.name in subjects:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return kinectgait.read(root)


def test_real_walks_take_about_one_and_three_quarter_steps_a_second(real_walks):
    rates = np.array([step_rate_hz(motion) for motion in real_walks if len(motion) >= 90])
    assert 1.6 < np.median(rates) < 1.9


def test_real_walkers_are_as_fast_as_people_walk_indoors(real_walks):
    speeds = np.array([motion.forward_m[-1] / (len(motion) - 1) * HZ for motion in real_walks])
    assert ((speeds > 0.5) & (speeds < 2.0)).all()
    assert 0.8 < np.median(speeds) < 1.3


def test_real_knees_bend_forwards_and_toes_point_forwards(real_walks):
    for motion in real_walks:
        for side in ("left", "right"):
            hip, knee, ankle, foot = (motion.joints_m[:, J[f"{side}_{part}"], 0] for part in ("hip", "knee", "ankle", "foot"))
            assert (foot - ankle).mean() > 0
            assert (knee - (hip + ankle) / 2).mean() > 0


def test_real_people_have_enough_walks_for_ten_sequences(real_walks):
    counts: dict[str, int] = {}
    for motion in real_walks:
        counts[motion.subject_id] = counts.get(motion.subject_id, 0) + len(pieces(motion, 60))
    assert len(counts) == 10
    assert sorted(counts.values())[1] >= 10


def test_real_people_are_known_by_their_bones_far_above_chance(real_walks):
    walks: dict[tuple[str, str], list[np.ndarray]] = {}
    for motion in real_walks:
        walks.setdefault((motion.subject_id, motion.walk_id[:-1]), []).append(bone_lengths_m(motion.joints_m))
    traits = np.array([np.concatenate(lengths).mean(axis=0) for lengths in walks.values()])
    distances = np.linalg.norm(traits[:, None] - traits[None], axis=2) + np.diag(np.full(len(traits), np.inf))
    subjects = np.array([subject for subject, _ in walks])
    assert (subjects[distances.argmin(axis=1)] == subjects).mean() > 0.6
