"""MPII Human Pose: the table of real people's joints, the official file, activities, splits, faults."""

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import scipy.io

from people import schemas
from people.datasets import mpii
from people.datasets.mpii import labels
from people.layouts import contents, matlab
from people.records import COCO_KEYPOINTS

# --- real people -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(real_data: Path) -> Path:
    return real_data / "mpii"


def test_12938_images_with_one_person_each_and_14976_missing_joints(table: Path):
    poses = mpii.poses(table)
    assert poses.joints_px.shape == (12938, 16, 2)
    assert len(set(poses.images)) == 12938
    assert np.isnan(poses.joints_px).all(axis=2).sum() == np.isnan(poses.joints_px[..., 0]).sum() == 14976
    assert (poses.joints_px < 0).any(axis=2).sum(axis=0)[[8, 9]].tolist() == [5, 190]  # neck and head above the image
    assert (poses.joints_px < 0).any(axis=2).sum() == 195
    assert (poses.scale > 0.5).all()
    assert (poses.scale < 17).all()
    assert not poses.is_hidden.any()
    assert (sum(text == "" for text in poses.raw_activity), poses.category.count("")) == (29, 29)


def test_the_joints_are_in_the_order_of_their_names(table: Path):
    poses = mpii.poses(table)
    index = {name: mpii.JOINTS.index(name) for name in mpii.JOINTS}
    row = poses.images.index("015601864.jpg")
    assert poses.joints_px[row, index["right_ankle"]].tolist() == [620, 394]
    assert poses.joints_px[row, index["left_wrist"]].tolist() == [688, 313]
    assert poses.joints_px[row, index["thorax"]].tolist() == [647, 176]
    assert (poses.raw_activity[row], poses.category[row], poses.activity[row]) == ("curling", "sports", None)
    height_px = poses.joints_px[:, :, 1]
    assert (np.nanmedian(height_px[:, index["head_top"]]) < np.nanmedian(height_px[:, index["left_ankle"]])).all()


def test_three_of_four_activities_have_more_than_500_people(table: Path):
    poses = mpii.poses(table)
    assert Counter(poses.activity) == {"standing": 807, "sitting": 675, "walking": 531, "running": 214, None: 10711}
    examples = dict(zip(poses.raw_activity, poses.activity, strict=True))
    assert {name: examples[name] for name in ("hiking", "jogging", "chess game, sitting", "double bass, standing")} == {
        "hiking": "walking",
        "jogging": "running",
        "chess game, sitting": "sitting",
        "double bass, standing": "standing",
    }


def test_who_sits_has_level_thighs(table: Path):
    poses = mpii.poses(table)
    hips, knees = (
        poses.joints_px[:, [mpii.JOINTS.index(f"{side}_{name}") for side in ("left", "right")], 1].mean(axis=1)
        for name in ("hip", "knee")
    )
    drop = (knees - hips) / (200 * poses.scale)  # in heights of the person; of an upright one about a quarter
    median = {
        name: np.nanmedian(drop[[each == name for each in poses.activity]])
        for name in ("sitting", "standing", "walking", "running")
    }
    assert median["sitting"] < 0.1
    assert all(0.19 < median[name] < 0.28 for name in ("standing", "walking", "running"))


def test_the_table_is_an_index_without_images(table: Path, caplog: pytest.LogCaptureFixture):
    clips = mpii.read(table)
    assert "12938 images without a readable file in images" in caplog.text
    shares = clips["split"].value_counts(normalize=True)
    assert {name: shares[name] for name in ("train", "validation", "test")} == pytest.approx(
        {"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.01
    )
    clips["content"] = contents.of_clips(table, clips, {})
    good, quarantine = schemas.check(clips, schemas.labelled(mpii.people))
    assert (len(good), len(quarantine)) == (12938, 0)
    with pytest.raises(ValueError, match=r"expected the images of MPII Human Pose, there are none, only labels; unpack"):
        next(mpii.frames(table, clips["frames"][0]))


def test_the_twelve_limb_joints_are_keypoints_in_a_box_around_all_joints(table: Path):
    (person,) = mpii.people(table, "mpii_joints_activities.csv!015601864.jpg")
    keypoints = dict(zip(COCO_KEYPOINTS, person.keypoints_px.tolist(), strict=True))
    assert keypoints["right_ankle"] == [620, 394, 2]
    assert keypoints["left_wrist"] == [688, 313, 2]
    assert [name for name in COCO_KEYPOINTS if keypoints[name] == [0, 0, 0]] == list(COCO_KEYPOINTS[:5])
    margin_px = 0.1 * 200 * 3.021046176409755
    assert person.box_xyxy_px == pytest.approx(
        np.array([553 - margin_px, 108.1817 - margin_px, 695.9799 + margin_px, 394 + margin_px])
    )


# --- activities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activity", "category", "expected"),
    [
        ("walking, general", "walking", "walking"),
        ("walking, applying fertilizer or seeding a lawn, push applicator", "lawn and garden", "walking"),  # not "lying"
        ("backpacking", "walking", "walking"),
        ("race walking", "walking", "walking"),
        ("running, stairs, up", "running", "running"),
        ("jogging", "running", "running"),
        ("sitting quietly", "inactivity quiet/light", "sitting"),
        ("violin, sitting", "music playing", "sitting"),
        ("standing, talking in person", "miscellaneous", "standing"),
        ("treading water, moderate effort, general", "water activities", None),
        ("water walking", "water activities", None),
        ("sweeping garage, sidewalk or outside of house", "home activities", None),
        ("watering lawn or garden, standing or walking", "lawn and garden", None),
        ("walkrun play with children, moderate, only active periods", "volunteer activities", None),
        ("walk/run, playing with animals, light", "home activities", None),
        ("implied walkingstanding - picking up yard, light", "lawn and garden", None),
        ("loading unloading a car, implied walking", "walking", None),
        ("stair climbing, using or climbing up ladder (Taylor Code 030)", "walking", None),
        ("jogging, on a mini-tramp", "running", None),
        ("pushing a wheelchair, non-occupational", "walking", None),
        ("running, training, pushing a wheelchair, marathon wheeling", "running", None),
        ("breastfeeding, sitting or reclining", "home activities", None),
        ("kneeling in church or at home, praying", "religious activities", None),
        ("bicycling, mountain", "bicycling", None),
        ("soccer", "sports", None),
        ("", "", None),
    ],
)
def test_an_activity_is_one_of_four_where_its_text_says_so(activity: str, category: str, expected: str | None):
    assert mpii.activity_of(activity, category) == expected


# --- the official file -----------------------------------------------------------------------------------------------


def structs(*entries: dict[str, Any]) -> np.ndarray:
    """A struct array as MATLAB has it."""
    array = np.empty(len(entries), dtype=[(name, object) for name in entries[0]])
    for index, entry in enumerate(entries):
        array[index] = tuple(entry.values())
    return array


NONE = np.zeros((0, 0))


def points(**joints: tuple[float, float, Any]) -> dict[str, Any]:
    rows = [
        {"x": x, "y": y, "id": float(mpii.JOINTS.index(name)), "is_visible": visible}
        for name, (x, y, visible) in joints.items()
    ]
    return {"point": structs(*rows)}


def release(path: Path, **changes: Any) -> Path:
    """Four images to train: two people of whom one has no joints, the same person twice, nobody, and one of the test set."""
    somebody = {
        "annopoints": points(right_ankle=(20.0, 60.0, 0.0), left_hip=(25.0, 30.0, "1"), head_top=(24.0, -2.0, NONE)),
        "scale": 0.3,
        "objpos": {"x": 24.0, "y": 30.0},
    }
    standing = {"annopoints": NONE, "scale": 0.2, "objpos": {"x": 60.0, "y": 30.0}}
    nobody = {"annopoints": NONE, "scale": NONE, "objpos": NONE}
    images = [
        ("000000001.jpg", structs(somebody, standing), 11.0),
        ("000000002.jpg", structs(somebody, somebody), 11.0),
        ("000000003.jpg", structs(nobody), 12.0),
        ("000000004.jpg", NONE, NONE),
    ]
    entries = [{"image": {"name": name}, "annorect": people, "vididx": video} for name, people, video in images]
    act = structs(
        {"act_name": "hiking", "cat_name": "walking"},
        {"act_name": "archery", "cat_name": "sports"},
        {"act_name": NONE, "cat_name": NONE},
        {"act_name": NONE, "cat_name": NONE},
    )
    content = {"annolist": structs(*entries), "act": act, "img_train": np.array([1.0, 1.0, 1.0, 0.0])}
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"RELEASE": content | changes}, do_compression=True)
    return path.parent


def test_the_official_file_is_read_with_its_images(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    release(tmp_path / labels.MAT_FOLDER / labels.MAT)
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / "images" / f"00000000{number}.jpg"), np.zeros((72, 80, 3), np.uint8))
    clips = mpii.read(tmp_path)
    for warning in (
        "1 images of the official test set",
        "1 people listed twice",
        "1 images to train in which nobody is labelled",
    ):
        assert warning in caplog.text
    assert clips["clip_id"].tolist() == ["000000001", "000000002"]
    assert clips["person_count"].tolist() == [2, 1]
    assert clips["split"].nunique() == 1  # of one video
    good, quarantine = schemas.check(clips, schemas.decodable(mpii.frames), schemas.labelled(mpii.people))
    assert (len(good), len(quarantine)) == (2, 0)
    somebody, standing = mpii.people(tmp_path, clips["people"][0])
    assert somebody.keypoints_px[COCO_KEYPOINTS.index("right_ankle")].tolist() == [20, 60, 1]
    assert somebody.keypoints_px[COCO_KEYPOINTS.index("left_hip")].tolist() == [25, 30, 2]
    assert (somebody.keypoints_px[:, 2] > 0).sum() == 2
    assert somebody.box_xyxy_px.tolist() == [14, 0, 31, 66]
    assert somebody.area_px == pytest.approx(0.53 * 17 * 66)
    assert (somebody.activity, standing.activity) == ("walking", "walking")
    assert standing.box_xyxy_px.tolist() == [40, 10, 80, 50]
    assert not standing.keypoints_px.any()
    assert {each.name: len(each.images) for each in mpii.protocol(clips, clips["split"][0])} == {"all": 2, "sparse": 2}


def test_the_poses_of_the_official_file(tmp_path: Path):
    poses = mpii.poses(release(tmp_path / labels.MAT))
    assert poses.images == ("000000001.jpg", "000000002.jpg")
    assert (poses.activity, poses.category, poses.raw_activity) == (
        ("walking", None),
        ("walking", "sports"),
        ("hiking", "archery"),
    )
    assert poses.joints_px[0, mpii.JOINTS.index("head_top")].tolist() == [24, -2]
    assert np.isnan(poses.joints_px[..., 0]).sum(axis=1).tolist() == [13, 13]
    assert poses.is_hidden.sum(axis=0).nonzero()[0].tolist() == [mpii.JOINTS.index("right_ankle")]
    assert poses.scale.tolist() == [0.3, 0.3]


def test_more_entries_are_read_than_of_other_matlab_files(tmp_path: Path):
    path = release(tmp_path / labels.MAT) / labels.MAT
    assert labels.MAX_ENTRIES > 29_000 * 16 * 4 * 2 > matlab.MAX_ENTRIES  # joints of the official file, four fields each
    with pytest.raises(ValueError, match=r"claims [0-9,]+ cells, fields or characters, at most 50 are read"):
        matlab.read(path, "labels", max_entries=50)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_where_there_are_no_labels_their_names_are_told(tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected MPII Human Pose at .*: mpii_human_pose_v1_u12_1\.mat .* found none"):
        mpii.read(tmp_path)
    with pytest.raises(ValueError, match="expected the labels of MPII, no such file exists"):
        mpii.people(tmp_path, "mpii_joints_activities.csv!1.jpg")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_train": np.ones(3)}, "annolist, act and img_train have 4, 4 and 3 entries"),
        ({"annolist": 3.0}, "annolist, act and img_train have 0, 4 and 4 entries"),
        ({"act": structs({"cat_name": "a"})}, "annolist, act and img_train have 4, 1 and 4 entries"),
    ],
)
def test_a_broken_official_file_is_named(tmp_path: Path, changes: dict[str, Any], message: str):
    root = release(tmp_path / labels.MAT, **changes)
    with pytest.raises(ValueError, match=rf"u12_1\.mat: expected the MATLAB struct RELEASE .*, but {message}; fetch"):
        mpii.read(root)
    (root / labels.MAT).write_bytes((root / labels.MAT).read_bytes()[:300])
    with pytest.raises(ValueError, match=r"u12_1\.mat: expected the MATLAB struct RELEASE .* cannot be read"):
        mpii.read(root)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"id": 16.0, "x": 1.0}, "a joint of 000000001.jpg has the id 16"),
        ({"id": NONE, "x": 1.0}, "cannot convert float NaN to integer"),
        ({"id": 3.0, "x": "far"}, "could not convert string to float"),
        ({"id": 3.0, "x": np.inf}, "somebody in 000000001.jpg has an infinite coordinate"),
    ],
)
def test_a_joint_that_is_none_is_named(tmp_path: Path, point: dict[str, Any], message: str):
    person = {"annopoints": {"point": structs({"y": 2.0, "is_visible": 1.0, **point})}, "scale": 0.3, "objpos": NONE}
    image = structs({"image": {"name": "000000001.jpg"}, "annorect": structs(person)})
    act = structs({"act_name": "hiking", "cat_name": "walking"})
    root = release(tmp_path / labels.MAT, annolist=image, act=act, img_train=1.0)
    with pytest.raises(ValueError, match=message):
        mpii.read(root)


def rows(*changes: dict[str, Any]) -> pd.DataFrame:
    values = {name: 5 + index for index, name in enumerate(labels._COLUMNS)}
    row = {"": 0, "NAME": "000000001.jpg", **values, "Scale": 1.5, "Activity": "hiking", "Category": "walking"}
    return pd.DataFrame([row | change for change in changes])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (rows({}).drop(columns=["r hip_X"]), "r hip_X are missing; fetch the file again"),
        (rows({"Scale": "large"}), "expected numbers of joints and scales, but could not convert"),
        (rows({}, {"NAME": "2.jpg", "l hip_X": "inf"}), "row 1 of the table has no finite number in every column"),
        (rows({}, {"Activity": "archery"}), "expected one activity of the image 000000001.jpg, got 'hiking' and 'archery'"),
        (rows({}).head(0), "expected images with labelled people, it has none"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, content: pd.DataFrame, message: str):
    content.to_csv(tmp_path / labels.CSV, index=False)
    with pytest.raises(ValueError, match=rf"mpii_joints_activities\.csv: .*{message}"):
        mpii.read(tmp_path)


def test_several_people_of_one_image_are_one_row_and_one_listed_twice_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    other = dict.fromkeys(labels._COLUMNS[:8], 90)
    rows({}, other, {}, {"NAME": "2.jpg", **dict.fromkeys(labels._COLUMNS, -1)}).to_csv(tmp_path / labels.CSV, index=False)
    clips = mpii.read(tmp_path)
    assert clips["person_count"].tolist() == [2, 1]
    assert "1 people listed twice in one image" in caplog.text
    assert len(mpii.poses(tmp_path).images) == 2
