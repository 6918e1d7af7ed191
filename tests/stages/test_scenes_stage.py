"""The scenes stage: from a dataset's valid images and annotations to the stores of images and of their people."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from people import schemas
from people.datasets import coco
from people.datasets.coco import annotations
from people.records import COCO_KEYPOINTS, Annotation
from people.storage.store import Store
from people.systems.multipose import data
from people.video import scenes
from people.video.scenes import Config
from stages.scenes import write

CONFIG = Config(size_hw=[48, 64])
SIZES_HW = {7: (48, 64), 8: (96, 128), 9: (30, 200), 12: (40, 50)}  # of the images; the last has nobody
BOX = [8.0, 8.0, 24.0, 32.0]  # left, top, width, height
RIGHT_HALF = [[32, 0, 64, 0, 64, 48, 32, 48]]  # a polygon


def annotation(number: int, image: int, factor: float = 1.0, **changes: Any) -> dict[str, Any]:
    """Somebody labelled from head to foot, so many times as large."""
    keypoints = [value for index in range(17) for value in (factor * (10 + index), factor * (12 + index), 1 + index % 2)]
    left, top, width, height = (factor * value for value in BOX)
    polygon = [left, top, left + width, top, left + width, top + height, left, top + height]
    return {
        "id": number, "image_id": image, "category_id": 1, "bbox": [left, top, width, height], "area": 500.0 * factor**2,
        "iscrowd": 0, "keypoints": keypoints, "num_keypoints": 17, "segmentation": [polygon],
    } | changes  # fmt: skip


def unlabelled(number: int, image: int, **changes: Any) -> dict[str, Any]:
    return annotation(number, image, **{"keypoints": [0] * 51, "num_keypoints": 0, **changes})


def runs(mask: np.ndarray) -> dict[str, Any]:
    """A mask as COCO has crowds: lengths of runs of zeros and ones in turn, down the columns."""
    flat = mask.T.ravel().astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *ends, len(flat)]).tolist()
    return {"counts": lengths if not flat[0] else [0, *lengths], "size": list(mask.shape)}


def archive(root: Path, people: list[dict[str, Any]]) -> pd.DataFrame:
    """The valid index of an archive of val2017 with these people, through its CSV file, as the stage gets it."""
    (root / "val2017").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number, size_hw in SIZES_HW.items():
        pixels = cv2.GaussianBlur(draw.integers(0, 256, (*size_hw, 3)).astype(np.uint8), (0, 0), 2)
        cv2.imwrite(str(root / "val2017" / f"{number:012d}.jpg"), pixels)
    images = [
        {"id": number, "file_name": f"{number:012d}.jpg", "height": height, "width": width, "license": 1}
        for number, (height, width) in SIZES_HW.items()
    ]
    content = {
        "info": {}, "licenses": [{"id": 1, "name": "", "url": ""}], "images": images, "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_KEYPOINTS), "skeleton": []}],
    }  # fmt: skip
    annotations.save(root / "annotations" / "person_keypoints_val2017.json", content)
    good, bad = schemas.check(coco.read(root))
    assert bad.empty
    good.to_csv(root / "clips.csv", index=False)
    return schemas.load(root / "clips.csv")


def several() -> list[dict[str, Any]]:
    crowd = np.zeros((48, 64), np.uint8)
    crowd[4:20, 40:60] = 1
    return [
        annotation(1, 7, activity="sitting"), unlabelled(2, 7, iscrowd=1, segmentation=runs(crowd)),
        annotation(3, 8, factor=2.0), unlabelled(4, 8, segmentation=[[2 * value for value in RIGHT_HALF[0]]]),
        annotation(900100581904, 9, bbox=[100, 0, 100, 30], activity="running"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return archive(tmp_path_factory.mktemp("archive") / "coco", several())


@pytest.fixture(scope="module")
def stores(clips: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    folder = tmp_path_factory.mktemp("stores")
    write(folder / "scenes", folder / "annotations", "coco", clips, CONFIG, workers=1)
    return Store.open(folder / "scenes"), Store.open(folder / "annotations")


def test_every_image_is_stored_in_the_indexs_order_and_who_is_in_it_under_its_name(
    clips: pd.DataFrame, stores: tuple[Store, Store]
):
    images, people = stores
    assert images.clips["clip_id"].tolist() == clips["clip_id"].tolist()
    assert images.field("image").shape == (4, 48, 64, 3)
    assert images.field("ignored").shape == (4, 12, 16)
    assert people.clips["clip_id"].tolist() == [f"{number:012d}" for number in (7, 8, 9)]  # nobody is in the last
    assert people.clips["length"].tolist() == [2, 2, 1]
    assert people.field("annotation")[:, 0].tolist() == [1, 2, 3, 4, 900100581904]
    assert people.field("is_crowd")[:, 0].tolist() == [0, 1, 0, 0, 0]
    assert people.field("activity")[:, 0].tolist() == [2, -1, -1, -1, 1]
    assert people.meta == {"dataset": "coco", "size_hw": [48, 64], "scenes": images.digest}
    assert images.clips["person_count"].tolist() == [1, 2, 1, 0]


def test_an_image_of_the_size_is_stored_as_it_is_and_a_smaller_one_in_the_corner(
    clips: pd.DataFrame, stores: tuple[Store, Store]
):
    for index, (height, width) in ((0, (48, 64)), (3, (40, 50))):
        (image,) = coco.frames(Path(clips["root"][index]), clips["frames"][index])
        stored = stores[0].clip(index, "image")[0]
        np.testing.assert_array_equal(stored[:height, :width], image)
        assert not stored[height:].any()
        assert not stored[:, width:].any()
        assert stores[0].clips["scale"][index] == 1


def test_larger_images_are_reduced_with_boxes_keypoints_and_areas(clips: pd.DataFrame, stores: tuple[Store, Store]):
    images, people = stores
    assert images.clips["scale"].tolist() == pytest.approx([1, 0.5, 0.32, 1])
    assert images.clips["stored_height_px"].tolist() == [48, 48, 10, 40]
    assert images.clips["stored_width_px"].tolist() == [64, 64, 64, 50]
    (image,) = coco.frames(Path(clips["root"][1]), clips["frames"][1])
    means = image.reshape(48, 2, 64, 2, 3).astype(float).mean((1, 3))
    np.testing.assert_allclose(images.clip(1, "image")[0], means, atol=0.51)
    for name in ("box", "keypoints", "area"):  # of twice the size, in an image of twice the size
        np.testing.assert_allclose(people.clip(1, name)[0], people.clip(0, name)[0], rtol=1e-6)
    np.testing.assert_allclose(people.clip(2, "box")[0], [32, 0, 64, 9.6], rtol=1e-5)
    assert people.clip(2, "area")[0, 0] == pytest.approx(500 * 0.32**2, rel=1e-5)
    assert people.clip(2, "keypoints")[0, 16].tolist() == pytest.approx([0.32 * 26, 0.32 * 28, 1], rel=1e-5)


def test_crowds_and_people_without_keypoints_are_ignored_and_nobody_else(stores: tuple[Store, Store]):
    ignored = stores[0].field("ignored")
    expected = np.zeros((4, 12, 16), np.uint8)
    expected[0, 1:5, 10:15] = 255
    expected[1, :, 8:] = 255
    np.testing.assert_array_equal(ignored, expected)


def test_a_cell_that_is_covered_in_part_says_how_much_and_without_a_mask_a_box_is_taken():
    scene = scenes.fit(np.zeros((16, 16, 3), np.uint8), (32, 32))
    nothing = np.zeros((17, 3), np.float32)
    somebody = Annotation(1, np.array([2.0, 0, 8, 4], np.float32), nothing, 10.0)
    ignored = scenes.ignored([somebody], scene)
    assert ignored[0].tolist() == [128, 255, 0, 0, 0, 0, 0, 0]
    assert not ignored[1:].any()
    labelled = nothing.copy()
    labelled[3] = 5, 2, 1
    assert not scenes.ignored([Annotation(1, somebody.box_xyxy_px, labelled, 10.0)], scene).any()
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    assert scenes.ignored([Annotation(1, somebody.box_xyxy_px, nothing, 10.0, mask=mask)], scene).nonzero() == ([1], [1])


def test_one_worker_and_two_write_the_same_bytes(clips: pd.DataFrame, tmp_path: Path):
    for workers in (1, 2):
        write(tmp_path / f"scenes{workers}", tmp_path / f"annotations{workers}", "coco", clips, CONFIG, workers=workers)
    for kind in ("scenes", "annotations"):
        names = sorted(path.name for path in (tmp_path / f"{kind}1").iterdir())
        assert {"clips.csv", "meta.json"} < set(names)
        for name in names:
            assert (tmp_path / f"{kind}1" / name).read_bytes() == (tmp_path / f"{kind}2" / name).read_bytes()


def test_multipose_reads_what_the_stage_writes(stores: tuple[Store, Store]):
    from scene_stores import DATA_BLOCK

    reads = {"frames": stores[0].path, "poses": stores[1].path}
    samples = data.open_samples(reads, data.Config(**DATA_BLOCK), "test", ("keypoints", "detector", "residual", "activity"))
    assert [len(people.activity) for people in samples.people] == [2, 2, 1, 0]
    assert [people.with_pose.tolist() for people in samples.people] == [[0], [0], [0], []]
    assert samples.people[0].is_crowd.tolist() == [False, True]


def test_a_broken_image_and_faulty_people_stop_the_stage_with_the_images_name_and_leave_no_store(
    clips: pd.DataFrame, tmp_path: Path
):
    gone = clips.assign(frames=clips["frames"].str.replace("000000000008", "000000000099"))
    unknown = clips.assign(people=clips["people"].str.replace("!8", "!4711"))
    for faulty, file in ((gone, "99"), (unknown, "08")):
        with pytest.raises(ValueError, match=rf"image 000000000008 \(.*0000000000{file}\.jpg\): "):
            write(tmp_path / "scenes", tmp_path / "annotations", "coco", faulty, CONFIG, workers=1)
        assert not list(tmp_path.iterdir())


def test_an_image_cut_short_is_named(tmp_path: Path):
    clips = archive(tmp_path / "coco", several())
    image = tmp_path / "coco" / "val2017" / "000000000009.jpg"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"image 000000000009 \(.*000000000009\.jpg\): "):
        write(tmp_path / "scenes", tmp_path / "annotations", "coco", clips, CONFIG, workers=1)


def test_an_index_without_images_one_without_people_and_sizes_that_mean_nothing_are_refused(
    clips: pd.DataFrame, tmp_path: Path
):
    with pytest.raises(ValueError, match="no valid image of coco to pack"):
        write(tmp_path / "scenes", tmp_path / "annotations", "coco", clips[:0], CONFIG)
    with pytest.raises(ValueError, match="nobody is labelled in the 1 images of coco; provide annotations of people"):
        write(tmp_path / "scenes", tmp_path / "annotations", "coco", clips[3:], CONFIG, workers=1)
    assert not list(tmp_path.iterdir())
    for size_hw in ([0, 64], [48, 62], [64]):
        with pytest.raises(ValueError, match=r"scenes: size_hw must be \[height, width\] of at least 32 px, multiples of 4"):
            Config(size_hw=size_hw)


@pytest.mark.parametrize(("size_hw", "content_hw", "scale"), [
    ((1, 1), (1, 1), 1.0), ((96, 128), (48, 64), 0.5), ((4800, 10), (48, 1), 0.01), ((10, 6400), (1, 64), 0.01),
    ((49, 65), (48, 64), 48 / 49),
])  # fmt: skip
def test_any_image_fits(size_hw: tuple[int, int], content_hw: tuple[int, int], scale: float):
    scene = scenes.fit(np.full((*size_hw, 3), 9, np.uint8), (48, 64))
    assert scene.content_hw == content_hw
    assert scene.scale == pytest.approx(scale)
    assert (scene.image > 0).all(2).sum() == content_hw[0] * content_hw[1]
    assert scenes.arrays([], scene.scale)["keypoints"].shape == (0, 17, 3)
