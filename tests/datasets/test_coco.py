"""COCO: annotation files, splits, faults of archives and annotations, masks, the plan of scenes, scenes written and read."""

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from people import schemas
from people.datasets import coco
from people.datasets.coco import annotations, labels, rendering, scenes
from people.layouts import contents
from people.records import ACTIVITIES, COCO_KEYPOINTS, RenderedPerson, RenderedScene, Scene
from people.synth.motion import parametric

PLAN: dict[str, Any] = {
    "subjects": {"train": 6, "validation": 5, "test": 5},
    "scenes": {"train": 18, "validation": 6, "test": 12},
    "people_per_scene": [0, 5],
    "distance_m": [2.8, 18.0],
    "activities": {"walking": 0.3, "running": 0.2, "sitting": 0.25, "standing": 0.25},
    "frames_per_sequence": 4,
}
HEIGHT_PX, WIDTH_PX = 60, 80


def image(extension: str = ".jpg", shape: tuple[int, ...] = (48, 64, 3), value: int = 90) -> bytes:
    return cv2.imencode(extension, np.full(shape, value, np.uint8))[1].tobytes()


def annotation(**changes: Any) -> dict[str, Any]:
    """Somebody in the image 7, labelled from head to foot."""
    keypoints = [number for index in range(17) for number in (10 + index, 12 + index, 2)]
    return {
        "id": 1,
        "image_id": 7,
        "category_id": 1,
        "bbox": [8, 8, 24, 32],
        "area": 500.5,
        "iscrowd": 0,
        "keypoints": keypoints,
        "num_keypoints": 17,
        "segmentation": [[8, 8, 32, 8, 32, 40, 8, 40]],
    } | changes


def listed(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number:012d}.jpg", "height": 48, "width": 64, "license": 4} | changes


def archive(
    root: Path,
    *people: dict[str, Any],
    images: tuple[dict[str, Any], ...] = (listed(7),),
    subset: str = "train2017",
    files: tuple[str, ...] | None = None,
    **changes: Any,
) -> Path:
    """An archive with these annotations and grey images of these names (all that are listed)."""
    (root / subset).mkdir(parents=True, exist_ok=True)
    for name in [each["file_name"] for each in images] if files is None else files:
        (root / subset / name).write_bytes(image())
    content = {
        "info": {},
        "licenses": [{"id": 4, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"}],
        "images": list(images),
        "annotations": list(people),
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_KEYPOINTS), "skeleton": []}],
    }
    annotations.save(root / "annotations" / f"person_keypoints_{subset}.json", content | changes)
    return root


def only_image(root: Path, **options: Any) -> list[Any]:
    """The people in the one image of an archive."""
    (location,) = coco.read(root)["people"]
    return coco.people(root, location, **options)


# --- real images -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mini(real_data: Path) -> Path:
    return real_data / "coco-mini"


def test_a_file_that_is_read_and_written_back_loses_nothing(mini: Path, tmp_path: Path):
    name = "person_keypoints_train2017.json"
    coco.save(tmp_path / name, coco.load(mini / name))
    assert json.loads((tmp_path / name).read_text()) == json.loads((mini / name).read_text())


def test_seven_images_have_60_annotations_of_which_3_are_regions(mini: Path):
    clips = coco.read(mini)
    everybody = [coco.people(mini, location, masks=True) for location in clips["people"]]
    people = [person for listed in everybody for person in listed]
    assert (len(clips), len(people), sum(person.is_crowd for person in people)) == (7, 60, 3)
    assert clips["person_count"].tolist() == [4, 13, 13, 1, 11, 13, 2]
    assert set(clips["license"]) == {f"http://creativecommons.org/licenses/{name}/2.0/" for name in ("by", "by-sa")}
    good, quarantine = schemas.check(clips.assign(content=""), schemas.decodable(coco.frames), schemas.labelled(coco.people))
    assert (len(good), len(quarantine)) == (7, 0)
    official = COCO(mini / "person_keypoints_train2017.json")
    for person in people:
        entry = official.anns[person.annotation_id]
        assert person.mask is not None
        np.testing.assert_array_equal(person.mask, official.annToMask(entry) == 1)
        rows, columns = np.nonzero(person.mask)
        bounds = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(bounds, person.box_xyxy_px, atol=3)
        assert (person.keypoints_px[:, 2] > 0).sum() == entry["num_keypoints"]
        assert person.activity is None


# --- archives --------------------------------------------------------------------------------------------------------


def test_val2017_is_test_and_a_twentieth_of_train2017_validates_or_the_images_of_a_list(tmp_path: Path):
    archive(tmp_path, images=tuple(listed(number) for number in range(1, 401)))
    assert not {"test"} & set(coco.read(tmp_path)["split"])
    archive(tmp_path, images=(listed(500),), subset="val2017")
    clips = coco.read(tmp_path).set_index("clip_id")
    assert clips["split"].value_counts()["validation"] == pytest.approx(20, abs=8)
    assert clips.loc["000000000500", ["split", "sequence"]].tolist() == ["test", "val2017"]
    (tmp_path / "validation_ids.txt").write_text("3\n000000000007\n")
    assert coco.read(tmp_path).query("split == 'validation'")["clip_id"].tolist() == ["000000000003", "000000000007"]
    for wrong in ("500", "three"):
        (tmp_path / "validation_ids.txt").write_text(f"3\n{wrong}\n")
        with pytest.raises(ValueError, match=f"numbers of images in train2017, one a line, {wrong} are none"):
            coco.read(tmp_path)


def test_a_zip_file_of_images_has_the_rows_of_the_folder(tmp_path: Path):
    root = archive(tmp_path, annotation(), images=(listed(7), listed(8)), files=("000000000007.jpg",))
    folder = coco.read(root)
    with zipfile.ZipFile(root / "train2017.zip", "w") as packed:
        packed.writestr("train2017/000000000007.jpg", image())
    with pytest.raises(ValueError, match=r"train2017 and train2017\.zip exist; remove one"):
        coco.read(root)
    (root / "train2017" / "000000000007.jpg").unlink()
    (root / "train2017").rmdir()
    zipped = coco.read(root)
    assert zipped["frames"].tolist() == [f"train2017.zip!{location}" for location in folder["frames"]]
    pd.testing.assert_frame_equal(zipped.drop(columns="frames"), folder.drop(columns="frames"))
    assert next(coco.frames(root, zipped["frames"][0])).shape == (48, 64, 3)


def test_what_is_missing_or_left_out_is_counted_and_a_missing_image_is_quarantined(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    root = archive(
        tmp_path,
        annotation(),
        annotation(id=2, image_id=99),
        annotation(id=3, category_id=18),
        images=(listed(7), listed(8), listed(9, license=6)),
        files=("000000000007.jpg", "000000000009.jpg", "000000000010.jpg"),
    )
    (root / "train2017" / "Thumbs.db").write_bytes(b"no image")
    archive(tmp_path / "other", subset="val2017")
    (tmp_path / "other/annotations/person_keypoints_val2017.json").rename(root / "annotations/person_keypoints_val2017.json")
    clips = coco.read(root)
    for warning in (
        "1 annotations of other categories than person",
        "1 annotations of images that the file does not list",
        "1 licences of images that the file does not list",
        "1 images without a file",
        "1 files of images that the annotations do not list",
        "the images of val2017 are not there",
    ):
        assert warning in caplog.text
    assert clips["clip_id"].tolist() == ["000000000007", "000000000008", "000000000009"]
    assert clips["person_count"].tolist() == [1, 0, 0]
    assert clips["license"].tolist() == [*["http://creativecommons.org/licenses/by/2.0/"] * 2, ""]
    _, quarantine = schemas.check(clips, schemas.decodable(coco.frames))
    assert quarantine[["clip_id", "column"]].values.tolist() == [["000000000008", "frames"]]
    clips["content"] = contents.of_clips(root, clips, {})
    clips.to_csv(tmp_path / "clips.csv", index=False)
    assert schemas.load(tmp_path / "clips.csv")["license"].tolist() == clips["license"].tolist()


def test_another_annotation_file_is_another_content(tmp_path: Path):
    clips = coco.read(archive(tmp_path, annotation()))
    before = contents.of_clips(tmp_path, clips, {})
    archive(tmp_path, annotation(area=501))
    assert contents.of_clips(tmp_path, clips, {}) != before
    (person,) = only_image(tmp_path)
    assert person.area_px == 501  # read again, as the file has changed


def test_grey_and_transparent_images_and_one_of_a_pixel_are_rgb(tmp_path: Path):
    names = {"a.png": image(".png", (1, 1), 77), "b.png": image(".png", (5, 4, 4), 20), "c.jpg": image(".jpg", (3, 4), 60)}
    root = archive(tmp_path, images=tuple(listed(number, file_name=name) for number, name in enumerate(names)))
    for name, content in names.items():
        (root / "train2017" / name).write_bytes(content)
    found = [next(coco.frames(root, location)) for location in coco.read(root)["frames"]]
    assert [frame.shape for frame in found] == [(1, 1, 3), (5, 4, 3), (3, 4, 3)]
    assert np.unique(found[0]).tolist() == [77]


def test_archives_that_are_not_cocos_are_errors(tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected COCO 2017 at .*: images in train2017 or val2017"):
        coco.read(tmp_path)
    root = archive(tmp_path / "a", annotation())
    (root / "annotations/person_keypoints_train2017.json").rename(root / "labels.json")
    with pytest.raises(ValueError, match=r"train2017: expected the annotations of these images at .* unpack"):
        coco.read(root)
    for place in ("annotations/person_keypoints_train2017.json", "person_keypoints_train2017.json"):
        (root / place).write_bytes((root / "labels.json").read_bytes())
    with pytest.raises(ValueError, match=r"expected one person_keypoints_train2017\.json, got"):
        coco.read(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>not found</html>", "expected the JSON file of COCO's person keypoints .*, but Expecting value"),
        ("[1, 2]", "expected .* it has no list images, annotations, categories"),
        ('{"images": [], "annotations": {}}', "expected .* it has no list annotations, categories"),
        ("[" * 100_000, "expected the JSON file .* but"),
        (b"\xff\x00\xfe", "expected text in UTF-8"),
    ],
)
def test_a_file_that_is_no_annotation_file_is_named(tmp_path: Path, text: str | bytes, message: str):
    root = archive(tmp_path)
    path = root / "annotations/person_keypoints_train2017.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ValueError, match=rf"person_keypoints_train2017\.json: {message}"):
        coco.read(root)


PERSON = {"id": 1, "name": "person", "keypoints": list(COCO_KEYPOINTS)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": [{"id": 18, "name": "dog"}]}, "expected one category 'person' with an id, got 0"),
        ({"categories": [PERSON | {"keypoints": ["nose"]}]}, r"category 'person' with the keypoints nose, .* got \['nose'\]"),
        ({"categories": [{"id": 1, "name": "person"}]}, "with the keypoints nose, .* got None"),
        ({"images": [listed(7), listed(7)]}, "image 7 is listed twice"),
        ({"images": [listed(7, height=0)]}, "image 7: expected a file_name, a height and a width"),
        ({"images": [listed(7, file_name="")]}, "image 7: expected a file_name, a height and a width"),
        ({"images": [listed(7) | {"id": "7"}]}, "image number 0: expected a whole number as id, got '7'"),
        ({"images": ["7.jpg"]}, "expected an object for image number 0, got 7.jpg"),
        ({"annotations": [{"id": 1, "category_id": 1}]}, "annotation number 0: expected a whole number as image_id, got None"),
    ],
)
def test_each_fault_of_a_files_structure_is_named(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=rf"person_keypoints_train2017\.json: .*{message}"):
        coco.read(archive(tmp_path, files=("000000000007.jpg",), **changes))


# --- annotations -----------------------------------------------------------------------------------------------------


def test_a_box_is_clipped_to_the_image_and_keypoints_outside_remain_where_they_are(tmp_path: Path):
    keypoints = annotation()["keypoints"]
    keypoints[:6] = [-4, 50, 1, 3, 4, 0]
    people = only_image(
        archive(tmp_path, annotation(bbox=[-0.5, 8, 70, 40.2], keypoints=keypoints, num_keypoints=16, activity="sitting"))
    )
    assert people[0].box_xyxy_px.tolist() == [0, 8, 64, 48]
    assert people[0].keypoints_px[:3].tolist() == [[-4, 50, 1], [0, 0, 0], [12, 14, 2]]
    assert (people[0].area_px, people[0].activity, people[0].is_crowd, people[0].mask) == (500.5, "sitting", False, None)


def test_somebody_without_labelled_keypoints_has_none_and_a_region_is_one(tmp_path: Path):
    region = annotation(id=2, iscrowd=1, num_keypoints=0, keypoints=[0] * 51, segmentation=None)
    root = archive(tmp_path, annotation(num_keypoints=0), region)
    assert coco.read(root)["person_count"].tolist() == [1]
    person, crowd = only_image(root, masks=True)
    assert not person.keypoints_px.any()
    assert (person.is_crowd, crowd.is_crowd, crowd.mask) == (False, True, None)


def test_an_image_without_people_has_an_empty_list(tmp_path: Path):
    assert only_image(archive(tmp_path)) == []
    with pytest.raises(ValueError, match="expected image 8, the file does not list it; ingest"):
        coco.people(tmp_path, "annotations/person_keypoints_train2017.json!8")


INFINITE, NOT_A_NUMBER = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [8, 8, 0, 32]}, r"expected a bbox with a width and a height of more than 0, got \[8, 8, 0, 32\]"),
        ({"bbox": [8, 8, 4, -3]}, "expected a bbox with a width and a height of more than 0"),
        ({"bbox": [70, 8, 4, 3]}, "expected a bbox that overlaps the image of 64x48 pixels"),
        ({"bbox": [8, 8, 4]}, "expected bbox as 4 numbers, got 3"),
        ({"bbox": None}, "expected bbox as 4 numbers, got 'None'"),
        ({"bbox": [8, 8, 4, "3"]}, "expected bbox as 4 numbers"),
        ({"bbox": [NOT_A_NUMBER, 8, 4, 3]}, "expected finite numbers below 1e.09 in bbox, got nan"),
        ({"bbox": [10**400, 8, 4, 3]}, "expected finite numbers below 1e.09 in bbox"),
        ({"area": INFINITE}, "expected finite numbers below 1e.09 in area"),
        ({"area": 0}, "expected an area of more than 0 pixels"),
        ({"area": None}, "expected area as 1 numbers"),
        ({"iscrowd": 2}, "expected iscrowd 0 or 1, got 2"),
        ({"keypoints": [1, 2, 2] * 16}, "expected keypoints as 51 numbers, got 48"),
        ({"keypoints": None}, "expected keypoints as 51 numbers"),
        ({"keypoints": [1, 2, 3] * 17}, "expected visibility 0, 1 or 2 of every keypoint, got 3"),
        ({"keypoints": [1, 2, 0.5] * 17}, "expected visibility 0, 1 or 2 of every keypoint, got 0.5"),
        ({"keypoints": [INFINITE, 2, 2] * 17}, "expected finite numbers below 1e.09 in keypoints, got inf"),
        ({"num_keypoints": 3}, "expected num_keypoints 17, .* or 0, got 3"),
        ({"activity": "swimming"}, "expected an activity of walking, running, sitting, standing, got 'swimming'"),
    ],
)
def test_a_faulty_annotation_is_named_and_its_image_is_quarantined(tmp_path: Path, changes: dict[str, Any], message: str):
    root = archive(tmp_path, annotation(id=5, **changes), annotation(id=6, image_id=8), images=(listed(7), listed(8)))
    clips = coco.read(root)
    with pytest.raises(ValueError, match=rf"train2017\.json: image 7, annotation 5: {message}.*; correct it in the file, or"):
        coco.people(root, clips["people"][0])
    good, quarantine = schemas.check(clips, schemas.labelled(coco.people))
    assert good["clip_id"].tolist() == ["000000000008"]
    assert quarantine[["clip_id", "column"]].values.tolist() == [["000000000007", "people"]]
    assert "annotation 5" in quarantine["value"][0]


def test_an_id_of_two_annotations_is_a_fault_of_both_images(tmp_path: Path):
    root = archive(tmp_path, annotation(), annotation(image_id=8), images=(listed(7), listed(8), listed(9)))
    _, quarantine = schemas.check(coco.read(root), schemas.labelled(coco.people))
    assert quarantine["clip_id"].tolist() == ["000000000007", "000000000008"]
    assert quarantine["value"].str.contains("annotation 1: expected an id of its own").all()


# --- masks -----------------------------------------------------------------------------------------------------------


def test_polygons_run_lengths_and_their_text_are_one_mask(tmp_path: Path):
    rng = np.random.default_rng(3)
    for _ in range(20):
        expected = cv2.GaussianBlur(rng.random((48, 64)), (9, 9), 3) > 0.5
        text = rendering.encode_mask(expected)
        flat = expected.T.ravel()
        edges = [0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]
        lengths = ([0] if flat[0] else []) + [int(stop - start) for start, stop in pairwise(edges)]
        for segmentation in (text, {"size": [48, 64], "counts": lengths}):
            np.testing.assert_array_equal(labels.decode_mask(segmentation, 48, 64), expected)
        np.testing.assert_array_equal(coco_mask.decode({**text, "counts": text["counts"].encode()}).astype(bool), expected)
    (person,) = only_image(archive(tmp_path, annotation()), masks=True)
    assert person.mask is not None
    assert person.mask.sum() == 24 * 32
    assert person.mask[8:40, 8:32].all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [64, 48], "counts": "0"}, r"expected a segmentation of size \[48, 64\], got \[64, 48\]"),
        ({"size": [48, 64], "counts": [5, 6]}, "expected run lengths .* of 3072 pixels in all, got 11"),
        ({"size": [48, 64], "counts": [-5, 3077]}, r"expected run lengths \(whole numbers, not below 0\)"),
        ({"size": [48, 64], "counts": "0"}, ".* of 3072 pixels in all, got 0"),
        ({"size": [48, 64], "counts": "~~~~~~~~~~~~~~~~"}, "expected the text of run lengths"),
        ({"size": [48, 64], "counts": "\u20ac"}, "expected the text of run lengths, got '\u20ac' in it"),
        ({"size": [48, 64], "counts": "o"}, ".* it ends inside a number"),
        ({"size": [48, 64]}, ".* of 3072 pixels in all, got other data"),
        ([[1, 2, 3, 4]], "expected polygons of at least 3 points x, y"),
        ([[1, 2, 3, 4, 5, 6, 7]], "expected polygons of at least 3 points x, y"),
        ([[1, 2, 3, 4, 5, "6"]], "expected a polygon as 6 numbers"),
        ([[1, 2, 3, 4, 5, 1e8]], "expected polygons within the image of 64x48 pixels"),
        ("none", "expected a segmentation of polygons or of run lengths"),
    ],
)
def test_a_faulty_mask_is_named_where_masks_are_asked_for(tmp_path: Path, segmentation: Any, message: str):
    root = archive(tmp_path, annotation(segmentation=segmentation))
    assert len(only_image(root)) == 1
    with pytest.raises(ValueError, match=rf"image 7, annotation 1: {message}"):
        only_image(root, masks=True)


# --- scenes ----------------------------------------------------------------------------------------------------------


def planned(seed: int = 3, **changes: Any) -> list[Scene]:
    motions = parametric.motions(16, walks=1, frames=4, frame_rate_hz=25.0, seed=3)
    return coco.plan(motions, **{**PLAN, **changes}, seed=seed)


def test_a_plan_has_empty_sparse_and_crowded_scenes_of_people_who_are_in_one_split_and_once_in_a_scene():
    takes = planned()
    assert [take.subject_id for take in takes] == [f"{number:012d}" for number in range(1, 37)]
    assert Counter(take.split for take in takes) == PLAN["scenes"]
    members: dict[str, set[int]] = {}
    for split in PLAN["scenes"]:
        of_split = [take for take in takes if take.split == split]
        assert set(Counter(len(take.people) for take in of_split).values()) == {PLAN["scenes"][split] / 6}
        members[split] = {person.identity_seed for take in of_split for person in take.people}
    assert {split: len(people) for split, people in members.items()} == PLAN["subjects"]
    assert len(set.union(*members.values())) == 16
    assert all(len({person.identity_seed for person in take.people}) == len(take.people) for take in takes)
    places = {split: {take.place for take in takes if take.split == split} for split in members}
    assert sum(map(len, places.values())) == len(set.union(*places.values())) == 12


def test_activities_have_their_shares_and_who_sits_has_a_seat():
    people = [person for take in planned() for person in take.people]
    shares = Counter(person.activity for person in people)
    assert {name: shares[name] / len(people) for name in ACTIVITIES} == pytest.approx(PLAN["activities"], abs=0.02)
    assert all((person.seat is None) == (person.activity != "sitting") for person in people)
    assert {person.seat for person in people} == {None, "bench", "chair"}
    assert all(len(person.motion) == 1 for person in people)


def test_people_stand_where_the_camera_sees_them_and_often_cover_each_other_but_never_all_of_somebody():
    people = [person for take in planned() for person in take.people]
    assert all(-3.2 <= person.away_m <= 12 and 0 <= person.view_deg < 360 for person in people)
    assert all(abs(person.right_m) <= 1.05 / 3 * (6 + person.away_m) + 1e-9 for person in people)
    assert np.median([person.away_m for person in people]) < 3
    few = np.concatenate([scenes.arrange(4, (2.8, 18.0), np.random.default_rng(seed)).hidden() for seed in range(200)])
    assert few.max() <= scenes.MOST_HIDDEN
    assert 0.2 < (few > 0.1).mean() < 0.5


def test_the_same_seed_plans_the_same_and_another_one_does_not():
    def described(takes: list[Scene]) -> list[Any]:
        return [
            (take.place, take.seed, [(person.seed, person.activity, person.away_m, person.right_m) for person in take.people])
            for take in takes
        ]

    assert described(planned()) == described(planned()) != described(planned(seed=4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people_per_scene": [0, 6]}, r"\[least, most\] of 0 to 5 .* got \[0, 6\]"),
        ({"people_per_scene": [3, 2]}, r"got \[3, 2\]"),
        ({"distance_m": [1.0, 9.0]}, r"distance_m as \[least, most\] metres from the camera, at least 2.0, got \[1.0, 9.0\]"),
        ({"distance_m": [9.0, 9.0]}, r"got \[9.0, 9.0\]"),
        ({"scenes": {"train": 3, "validation": 0, "test": 2}}, "the scenes .at least one. of train, validation and test"),
        ({"subjects": {"train": 3}}, "expected the subjects and the scenes"),
        ({"activities": {"walking": 0.5}}, "expected shares of walking, running, sitting, standing that are 1 in all"),
        ({"activities": {"walking": 0.5, "swimming": 0.5}}, "expected shares of walking, running, sitting, standing"),
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused(change: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        planned(**change)


# --- rendered scenes -------------------------------------------------------------------------------------------------


def boxes(scene: Scene) -> RenderedScene:
    """People as coloured boxes, nearer ones before farther ones."""
    shown = np.full((HEIGHT_PX, WIDTH_PX, 3), 200, np.uint8)
    whole: dict[int, np.ndarray] = {}
    visible: dict[int, np.ndarray] = {}
    for index in sorted(range(len(scene.people)), key=lambda each: -scene.people[each].away_m):
        person = scene.people[index]
        depth_m = 6 + person.away_m
        centre, half = WIDTH_PX / 2 + 120 * person.right_m / depth_m, 30 / depth_m
        mask = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=bool)
        mask[
            int(max(30 - 170 / depth_m, 0)) : int(30 + 170 / depth_m), max(int(centre - half), 0) : max(int(centre + half), 0)
        ] = 1
        visible = {other: region & ~mask for other, region in visible.items()} | {index: mask}
        whole[index] = mask
        shown[mask] = [person.seed % 256, 40 * index, 90]
    return RenderedScene(shown, tuple(rendered(whole[index], visible[index], scene, index) for index in range(len(whole))))


def rendered(mask: np.ndarray, visible: np.ndarray, scene: Scene, index: int) -> RenderedPerson:
    keypoints = np.stack([np.linspace(1, 70, 17), np.linspace(1, 50, 17), np.arange(17) % 3], axis=1)
    return RenderedPerson(scene.people[index].activity, mask, visible, keypoints, np.zeros(4))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco") / "rendered"
    coco.write(root, planned(), boxes, jpeg_quality=92)
    return root


def test_what_is_written_is_read_again(written: Path):
    takes, clips = planned(), coco.read(written)
    assert clips["clip_id"].tolist() == [take.subject_id for take in takes]
    assert clips["split"].tolist() == [take.split for take in takes]
    assert set(clips["license"]) == {""}
    for take, row in zip(takes, clips.itertuples(), strict=True):
        made = boxes(take)
        frame = next(coco.frames(written, row.frames))
        assert np.abs(frame.astype(int) - made.image_rgb).mean() < 12
        expected = [person for person in made.people if person.visible_mask.sum() >= rendering.FEWEST_PIXELS]
        read = coco.people(written, row.people, masks=True)
        assert (len(read), row.person_count) == (len(expected), len(expected))
        for person, annotated in zip(expected, read, strict=True):
            np.testing.assert_array_equal(annotated.mask, person.visible_mask)
            assert annotated.area_px == person.visible_mask.sum()
            assert annotated.activity == person.activity
            rows, columns = np.nonzero(person.visible_mask)
            assert annotated.box_xyxy_px.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            labelled = person.keypoints_px * (person.keypoints_px[:, 2:] > 0) * (np.ptp(rows) + 1 >= 16)
            np.testing.assert_allclose(annotated.keypoints_px, labelled, atol=0.005)
    good, quarantine = schemas.check(clips, schemas.decodable(coco.frames), schemas.labelled(coco.people))
    assert (len(good), len(quarantine)) == (36, 0)


def test_the_whole_person_is_annotated_beside_what_is_visible(written: Path):
    content = coco.load(written / "annotations/person_keypoints_train2017.json")
    entries = content["annotations"]
    assert [entry["id"] for entry in entries] == list(range(1, len(entries) + 1))
    areas = []
    for entry in entries:
        visible, whole = (
            labels.decode_mask(mask, HEIGHT_PX, WIDTH_PX) for mask in (entry["segmentation"], entry["amodal"]["segmentation"])
        )
        assert visible is not None
        assert whole is not None
        assert not (visible & ~whole).any()
        areas.append(visible.sum() / whole.sum())
    assert 0 < np.mean(np.array(areas) < 1) < 1


def person_of(*corners: tuple[int, int, int, int]) -> list[RenderedPerson]:
    """People as boxes of left, top, width and height, all visible."""
    people = []
    for left, top, width, height in corners:
        mask = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=bool)
        mask[top : top + height, left : left + width] = True
        keypoints = np.tile([left + 0.123, top + 0.456, 2.0], (17, 1))
        people.append(RenderedPerson("standing", mask, mask, keypoints, np.zeros(4)))
    return people


def test_small_people_are_without_keypoints_and_three_beside_each_other_are_one_region():
    tall, small = (1, 1, 6, 30), [(20, 40, 4, 10), (30, 40, 4, 10), (40, 42, 4, 10)]
    found = rendering.annotate(person_of(tall, small[0], small[1], (70, 2, 5, 10), (60, 50, 5, 5)))
    assert [entry["num_keypoints"] for entry in found] == [17, 0, 0, 0]  # of 25 pixels nobody is annotated
    assert found[0]["keypoints"][:3] == [1.12, 1.46, 2]
    assert not any(found[1]["keypoints"])
    found = rendering.annotate(person_of(*small, tall, (70, 2, 5, 10)))
    assert [(entry["iscrowd"], entry["num_keypoints"]) for entry in found] == [(0, 17), (0, 0), (1, 0)]
    assert found[2]["bbox"] == [20, 40, 24, 12]
    assert found[2]["area"] == 3 * 40
    assert "activity" not in found[2]


def test_folders_and_any_number_of_workers_hold_the_same_images(written: Path, tmp_path: Path):
    calls: list[int] = []
    with ProcessPoolExecutor(2) as executor:
        coco.write(tmp_path / "again", planned()[::-1], boxes, jpeg_quality=92, executor=executor, done=lambda: calls.append(1))
    assert len(calls) == 36
    names = sorted(path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file())
    assert names == [
        "annotations/person_keypoints_train2017.json",
        "annotations/person_keypoints_val2017.json",
        "train2017.zip",
        "val2017.zip",
        "validation_ids.txt",
    ]
    assert all((tmp_path / "again" / name).read_bytes() == (written / name).read_bytes() for name in names)
    coco.write(tmp_path / "folders", planned(), boxes, jpeg_quality=92, packed=False)
    packed, unpacked = coco.read(written), coco.read(tmp_path / "folders")
    pd.testing.assert_frame_equal(packed.drop(columns=["frames", "root"]), unpacked.drop(columns=["frames", "root"]))


def failing(scene: Scene) -> RenderedScene:
    raise ValueError(f"no picture of {scene.subject_id}")


def test_nothing_is_left_where_writing_fails(tmp_path: Path):
    cases: list[tuple[list[Scene], Callable[[Scene], RenderedScene], str]] = [
        ([], boxes, "expected scenes to write to .* got 0 scenes"),
        (planned()[:1] * 2, boxes, "each with a number of its own as subject_id, got 2 scenes with 1"),
        (planned(), failing, "no picture of 000000000001"),
    ]
    for takes, render, message in cases:
        with pytest.raises(ValueError, match=message):
            coco.write(tmp_path / "rendered", takes, render, jpeg_quality=92)
        assert list(tmp_path.iterdir()) == []


# --- protocols -------------------------------------------------------------------------------------------------------


def test_the_image_sets_of_a_split(tmp_path: Path):
    people = [annotation(id=10 * image + number, image_id=image) for image in range(6) for number in range(image)]
    clips = coco.read(archive(tmp_path, *people, images=tuple(listed(number) for number in range(6)), subset="val2017"))
    sets = {each.name: [int(clip) for clip in each.images] for each in coco.protocol(clips, "test")}
    assert sets == {"all": [0, 1, 2, 3, 4, 5], "sparse": [1, 2], "crowded": [3, 4, 5]}
    assert [each.name for each in coco.protocol(clips[:3], "test")] == ["all", "sparse"]
    with pytest.raises(ValueError, match=r"expected images of split 'train', the index has those of \['test'\]"):
        coco.protocol(clips, "train")
