"""CMU motion capture: straight walks read from Acclaim skeletons and motions."""

import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from people.layouts.motion import BONES, J, bone_lengths_m, gait, step_rate_hz, walking_speed
from people.records import JOINTS, Motion
from people.synth.motion import cmumocap, kinectgait
from stages import archive, ingest

SCALE = 0.45
METRES = 0.0254 / SCALE
LEG = {"hipjoint": ("root", "0.7 -0.7 0", 2.0), "femur": ("hipjoint", "0 -1 0", 7.0), "tibia": ("femur", "0 -1 0", 7.0)}
LEG |= {"foot": ("tibia", "0 -0.3 1", 2.0), "toes": ("foot", "0 0 1", 1.0)}
ARM = {"clavicle": ("thorax", "1 0 0", 3.0), "humerus": ("clavicle", "1 0 0", 5.0), "radius": ("humerus", "1 0 0", 3.5)}
ARM |= {"wrist": ("radius", "1 0 0", 1.5), "hand": ("wrist", "1 0 0", 1.0)}
SPINE = ("lowerback", "upperback", "thorax", "lowerneck", "upperneck", "head")
MOVING = {"femur": "rx ry rz", "tibia": "rx", "humerus": "rx ry rz"}


def skeleton() -> str:
    bones = [("root" if i == 0 else SPINE[i - 1], name, "0 1 0", 2.0, "") for i, name in enumerate(SPINE)]
    for side, sign in (("l", 1), ("r", -1)):
        for name, (parent, direction, length) in (LEG | ARM).items():
            x, rest = direction.split(maxsplit=1)
            above = parent if parent in ("root", "thorax") else f"{side}{parent}"
            bones.append((above, f"{side}{name}", f"{sign * float(x)} {rest}", length, MOVING.get(name, "")))
    blocks = "".join(
        f"  begin\n     id {i}\n     name {name}\n     direction {direction}\n     length {length}\n     axis 0 0 0  XYZ\n"
        + (f"    dof {dof}\n    limits (-160.0 20.0)\n" if dof else "")
        + "  end\n"
        for i, (_, name, direction, length, dof) in enumerate(bones, start=1)
    )
    children: dict[str, list[str]] = {}
    for parent, name, *_ in bones:
        children.setdefault(parent, []).append(name)
    tree = "".join(f"    {parent} {' '.join(names)}\n" for parent, names in children.items())
    return (
        f"# a skeleton\n:version 1.10\n:units\n  mass 1.0\n  length {SCALE}\n  angle deg\n:documentation\n   text\n"
        f":root\n   order TX TY TZ RX RY RZ\n:bonedata\n{blocks}:hierarchy\n  begin\n{tree}  end\n"
    )


def motion(frames: int = 360, heading_deg: float = 0.0, speed_m_s: float = 1.2, femur_deg: float | None = None) -> str:
    """A walk towards `heading_deg` (0: z, 90: x); legs swing like pendulums unless the left one is held at `femur_deg`."""
    lines = ["#!OML:ASF walk.ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    heading = np.radians(heading_deg)
    for frame in range(frames):
        along = speed_m_s * frame / 120 / METRES
        swing = 25 * np.sin(2 * np.pi * 0.9 * frame / 120)
        left = swing if femur_deg is None else femur_deg
        lines += [str(frame + 1), f"root {along * np.sin(heading):.6g} 16 {along * np.cos(heading):.6g} 0 {heading_deg} 0"]
        lines += [f"lfemur {left:.6g} 0 0", f"rfemur {-swing:.6g} 0 0", "ltibia 10", "rtibia 1e1"]
        lines += ["lhumerus 0 0 -90", "rhumerus 0 0 90"]
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "cmu"
    (root / "data/07").mkdir(parents=True)
    (root / "data/07/07.asf").write_text(skeleton(), newline="\r\n")
    (root / "data/07/07_01.amc").write_text(motion(), newline="\r\n")
    (root / "data/07/07_02.amc").write_text(motion(heading_deg=120.0))
    return root


def joints(**options) -> np.ndarray:
    parsed = cmumocap.read_skeleton("07.asf", skeleton().encode())
    return cmumocap.read_joints("07_01.amc", motion(**options).encode(), parsed)


def test_bones_keep_the_skeletons_lengths_in_metres():
    lengths = dict(zip(BONES, bone_lengths_m(joints()).T, strict=True))
    for near, far, units in (("left_hip", "left_knee", 7), ("right_knee", "right_ankle", 7), ("left_elbow", "left_wrist", 3.5)):
        np.testing.assert_allclose(lengths[J[near], J[far]], units * METRES, atol=1e-9)


def test_a_thigh_raised_by_ninety_degrees_puts_the_knee_straight_ahead():
    # about x, a right-handed turn of -90 degrees takes down (0, -1, 0) to forward (0, 0, 1)
    frame = joints(frames=2, femur_deg=-90.0)[0]
    np.testing.assert_allclose(frame[J["left_knee"]] - frame[J["left_hip"]], [7 * METRES, 0, 0], atol=1e-9)


def test_an_arm_lowered_by_ninety_degrees_hangs_down():
    frame = joints(frames=2)[0]
    for side in ("left", "right"):
        np.testing.assert_allclose(frame[J[f"{side}_elbow"]] - frame[J[f"{side}_shoulder"]], [0, 0, -5 * METRES], atol=1e-9)


def test_left_is_on_the_left_of_the_walking_direction():
    frame = joints(frames=2)[0]
    assert frame[J["left_hip"], 1] > 0 > frame[J["right_hip"], 1]


def test_a_bones_axis_turns_its_angles_from_its_own_axes_into_the_worlds():
    # the thigh's own x axis is the world's z axis turned by 90 degrees about y: rx then turns about -z
    turned = skeleton().replace("axis 0 0 0  XYZ\n    dof rx ry rz", "axis 0 90 0  XYZ\n    dof rx ry rz", 1)
    parsed = cmumocap.read_skeleton("07.asf", turned.encode())
    frame = cmumocap.read_joints("07_01.amc", motion(2, femur_deg=30.0).encode(), parsed)[0]
    thigh = (frame[J["left_knee"]] - frame[J["left_hip"]]) / (7 * METRES)
    np.testing.assert_allclose(thigh, [0, -np.sin(np.radians(30)), -np.cos(np.radians(30))], atol=1e-9)


def test_standing_height_is_the_stretched_skeleton():
    height = cmumocap.read_skeleton("07.asf", skeleton().encode()).height_m
    assert height == pytest.approx(cmumocap.SOLE_M + (7 + 7 + 2 / np.sqrt(2) + 6 * 2) * METRES)


def test_walks_in_any_direction_head_along_x(folder):
    first, second = cmumocap.read(folder)
    assert (first.subject_id, first.walk_id, second.walk_id) == ("07", "01a", "02a")
    np.testing.assert_allclose(first.joints_m, second.joints_m, atol=1e-4)
    assert (first.sex, first.age_years, first.weight_kg) == (None, None, None)


def test_distance_is_that_of_the_root(folder):
    for walk in cmumocap.read(folder):
        assert len(walk) == 90
        np.testing.assert_allclose(walk.forward_m, 1.2 * np.arange(90) / 30, atol=1e-3)


def test_a_walk_that_turns_is_cut_at_the_turn(folder):
    outbound, returning = motion(240).splitlines(), motion(240, heading_deg=180.0).splitlines()[3:]
    (folder / "data/07/07_02.amc").write_text("\n".join([*outbound, *returning]))
    assert [walk.walk_id for walk in cmumocap.read(folder)] == ["01a", "02a", "02b"]


def test_tar_zip_and_folder_hold_the_same_walks(folder, tmp_path):
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as file:
        file.add(folder / "data", "data")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, path.relative_to(folder))
    for path in (tmp_path / "c.tar.gz", tmp_path / "c.zip"):
        for actual, expected in zip(cmumocap.read(path), cmumocap.read(folder), strict=True):
            np.testing.assert_array_equal(actual.joints_m, expected.joints_m)


def in_encoding(folder: Path, encoding: str, comment: str, newline: str = "\n") -> None:
    """The archive's files with a comment, as another program may save them."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    for path in (path for path in folder.rglob("*.*") if path.is_file()):
        path.write_bytes(f"{mark}# {comment}\n{path.read_text()}".replace("\n", newline).encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_text_in_each_encoding_that_says_what_it_is_gives_the_same_walks(folder: Path, encoding: str, newline: str):
    before = cmumocap.read(folder)
    in_encoding(folder, encoding, "Müller", newline)
    for actual, expected in zip(cmumocap.read(folder), before, strict=True):
        np.testing.assert_array_equal(actual.joints_m, expected.joints_m)
        assert actual.height_m == expected.height_m


@pytest.mark.parametrize("kept", ["07.asf", "07_02.amc"])
def test_text_in_another_encoding_is_named(folder: Path, kept: str):
    right = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file() and path.name != kept}
    in_encoding(folder, "latin-1", "Müller")
    for path, content in right.items():
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{kept}: expected text in UTF-8, or in UTF-16 with a byte order mark, but"):
        cmumocap.read(folder)


def test_names_may_be_in_capitals_and_folders_and_files_links_and_files_of_systems_are_passed_over(
    folder: Path, tmp_path: Path
):
    before = cmumocap.read(folder)
    shutil.move(folder / "data/07", tmp_path / "07")
    (folder / "data/07").symlink_to(tmp_path / "07")
    (tmp_path / "07/07.asf").rename(tmp_path / "skeleton")
    (tmp_path / "07/07.ASF").symlink_to(tmp_path / "skeleton")
    (tmp_path / "07/07_01.amc").rename(tmp_path / "07/07_01.AMC")
    for name in ("._07.asf", "._07_01.amc", ".DS_Store"):
        (tmp_path / "07" / name).write_bytes(b"\0\5\x16\7")
    for actual, expected in zip(cmumocap.read(folder), before, strict=True):
        assert actual.walk_id == expected.walk_id
        np.testing.assert_array_equal(actual.joints_m, expected.joints_m)


def test_an_archive_with_links_passes_through_the_stage_that_lists_it_to_its_walks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = cmumocap.read(folder)
    shutil.move(folder / "data/07", tmp_path / "07")
    (folder / "data/07").symlink_to(tmp_path / "07")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("PEOPLE_STATE", raising=False)
    block = {"source": "cmumocap", "archive": "data/raw/archives/casiab.json", "frame_rate_hz": 30, "frames_per_sequence": 8}
    block["subjects"] = {"train": 1, "validation": 1, "test": 1}
    params = {"seed": 1, "archives": {"casiab": str(folder)}, "datasets": {"casiab": block}}
    Path("params.yaml").write_text(json.dumps(params))
    archive.main("casiab")
    assert json.loads(Path(block["archive"]).read_text())["file_count"] == 3
    ingest.refuse_unseen_links("casiab", block["archive"])
    walks = ingest.walks("casiab", block)
    assert walks is not None
    for actual, expected in zip(walks, before, strict=True):
        np.testing.assert_array_equal(actual.joints_m, expected.joints_m)


@pytest.mark.parametrize(
    ("line", "content"), [(10, "ltibia"), (10, "ltibia ten"), (10, "ltibia nan"), (11, "rtibia 1 2"), (6, "root 1 2")]
)
def test_a_line_that_does_not_parse_is_named(folder, line, content):
    lines = motion(20).splitlines()
    lines[line + 8 - 1] = content  # in the second frame
    (folder / "data/07/07_01.amc").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=rf"07_01\.amc, line {line + 8}: expected .* got '{content}'"):
        cmumocap.read(folder)


def test_a_motion_cut_in_the_middle_of_a_frame_is_named(folder):
    lines = motion(20).splitlines()
    (folder / "data/07/07_01.amc").write_text("\n".join(lines[:-3]))
    with pytest.raises(ValueError, match=rf"07_01\.amc, line {len(lines) - 3}: .* got 'the end of the file'"):
        cmumocap.read(folder)


def test_a_motion_of_another_skeleton_is_refused(folder):
    (folder / "data/07/07_01.amc").write_text(motion(20).replace("ltibia", "ltail"))
    with pytest.raises(ValueError, match=r"expected a line for every moving bone, these differ: \['ltail', 'ltibia'\]"):
        cmumocap.read(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"length {SCALE}", "", "missing .'length in :units'"),
        (":hierarchy", ":tree", "missing .'hierarchy'"),
        ("name lfemur", "name tail", "expected name, direction, length and axis"),
        ("direction 0 1 0", "direction up", "expected name, direction"),
    ],
)
def test_a_broken_skeleton_is_named(folder, old, new, message):
    (folder / "data/07/07.asf").write_text(skeleton().replace(old, new))
    with pytest.raises(ValueError, match=rf"07\.asf: expected.*{message}|07\.asf: {message}"):
        cmumocap.read(folder)


def test_a_motion_without_its_skeleton_is_named(folder):
    (folder / "data/07/07.asf").rename(folder / "data/07/08.asf")
    with pytest.raises(ValueError, match=r"07_01\.amc: expected a skeleton 07\.asf"):
        cmumocap.read(folder)


def test_motion_files_without_frames_are_named(folder):
    (folder / "data/07/07_01.amc").write_text(":FULLY-SPECIFIED\n:DEGREES\n")
    with pytest.raises(ValueError, match="expected numbered frames, found none"):
        cmumocap.read(folder)


def test_neither_reader_takes_the_others_archive(folder, tmp_path):
    (tmp_path / "kinect/Data/Person001").mkdir(parents=True)
    (tmp_path / "kinect/Data/Person001/1.txt").write_text("Head;0;0;0\n")
    with pytest.raises(ValueError, match=r"expected skeletons NN/NN\.asf .* found 1 other files \(Data/Person001/1\.txt\)"):
        cmumocap.read(tmp_path / "kinect")
    with pytest.raises(ValueError, match=r"expected walks Data/PersonNNN/k\.txt .* found 3 other files"):
        kinectgait.read(folder)


# real walks


@pytest.fixture(scope="module")
def real_walks(real_data) -> list[Motion]:
    return cmumocap.read(real_data / "cmu-walks/cmu-walks.tar.xz")


def test_every_real_clip_has_one_straight_walk_of_one_of_ten_people(real_walks):
    assert len(real_walks) == 28
    assert len({walk.subject_id for walk in real_walks}) == 10


def test_real_feet_touch_the_ground_and_heads_are_at_head_height(real_walks):
    for walk in real_walks:
        assert -0.02 < walk.joints_m[:, [J["left_foot"], J["right_foot"]], 2].min() < 0.06
        assert walk.height_m is not None
        assert 1.45 < walk.height_m < 1.9
        assert 0.85 < walk.joints_m[:, J["head"], 2].mean() / walk.height_m < 1


def test_the_heading_seen_in_the_legs_is_that_of_the_path(real_walks):
    for walk in real_walks:
        assert abs(np.degrees(gait(walk.joints_m, walk.frame_rate_hz).heading_rad.mean())) < 3


def test_the_speed_seen_in_the_standing_foot_is_that_of_the_root(real_walks):
    ratios = [walking_speed(walk.joints_m, 30.0).mean() / (walk.forward_m[-1] / (len(walk) - 1) * 30) for walk in real_walks]
    assert min(ratios) > 0.9
    assert max(ratios) < 1.0
    assert np.mean(ratios) == pytest.approx(0.96, abs=0.01)


def test_real_steps_come_at_walking_pace(real_walks):
    rates = np.array([step_rate_hz(walk) for walk in real_walks])
    assert ((rates > 1.3) & (rates < 2.4)).all()


def test_real_bones_do_not_stretch(real_walks):
    for walk in real_walks:
        thigh = BONES.index((J["left_hip"], J["left_knee"]))
        assert bone_lengths_m(walk.joints_m)[:, thigh].std() < 0.01


def test_joints_are_those_of_the_record(real_walks):
    assert {walk.joints_m.shape[1:] for walk in real_walks} == {(len(JOINTS), 3)}
