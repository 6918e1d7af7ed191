"""Samples of multipose: labels move with the image, what a crop leaves, inputs of each head, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scene_stores import DATA_BLOCK, TASKS, person, write
from torch.nn import functional

from people.layouts import image_files
from people.records import ACTIVITIES, COCO_KEYPOINTS
from people.systems.multipose import data
from people.systems.multipose.data import HEADS, People
from people.systems.multipose.model import poses

PLAIN = {
    "jitter_px": 0,
    "scale": [1.0, 1.0],
    "rotation_deg": 0,
    "flip": 0.0,
    "box_noise": 0.0,
    "pose_noise": 0.0,
    "pose_dropout": 0.0,
}
STATISTICS = {"mean": torch.zeros(3, 1, 1), "std": torch.ones(3, 1, 1)}
SIZE_HW = (64, 96)
LEFT_WRIST, RIGHT_WRIST = (COCO_KEYPOINTS.index(f"{side}_wrist") for side in ("left", "right"))
MIDDLE = (36.0, 12.0, 56.0, 52.0)  # a box


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(tmp_path_factory.mktemp("stores"))


def config(**changes: Any) -> data.Config:
    return data.Config(**DATA_BLOCK | changes)


def samples_of(folder: Path, people: list[Any], split: str = "train", **changes: Any) -> data.Samples:
    """The samples of images with these people, plain but for the changes."""
    reads = write(folder, {split: people})
    return data.open_samples(reads, config(**PLAIN | changes), split, ())


def of_heads(samples: data.Samples, *heads: str) -> data.Samples:
    samples.heads = heads or HEADS
    return samples


def batch(samples: data.Samples, indices: list[int], seed: int | None) -> dict[str, Any]:
    augment = None if seed is None else np.random.default_rng(seed)
    return samples.batch(indices, spec={}, statistics=STATISTICS, augment=augment)


# --- augmentation ----------------------------------------------------------------------------------------------------


def dot(place_px: np.ndarray) -> np.ndarray:
    """A bright dot in a black image."""
    rows, columns = (np.arange(size) + 0.5 for size in SIZE_HW)
    distance = (columns - place_px[0]) ** 2 + (rows[:, None] - place_px[1]) ** 2
    return np.repeat(np.round(255 * np.exp(-distance / 4.5))[..., None], 3, axis=2).astype(np.uint8)


def centre(image: torch.Tensor) -> torch.Tensor:
    """Where the dot is, in continuous pixels."""
    light = image.mean(0).clamp(min=0)
    rows, columns = (torch.arange(size) + 0.5 for size in light.shape)
    return torch.stack([(light.sum(0) * columns).sum(), (light.sum(1) * rows).sum()]) / light.sum()


@pytest.mark.parametrize("changes", [
    {"rotation_deg": 180}, {"rotation_deg": 40, "scale": [0.5, 2.0]}, {"jitter_px": 12}, {"person_share": 0.6},
    {"crop_px": None, "rotation_deg": 30, "scale": [0.7, 1.2]}, {"crop_px": 66, "rotation_deg": 90},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_keypoint_stays_on_its_dot_and_takes_the_other_sides_name_where_mirrored(
    tmp_path: Path, changes: dict[str, Any], flip: float
):
    somebody = person(MIDDLE)
    samples = of_heads(samples_of(tmp_path, [[somebody]], flip=flip, **changes), "keypoints")
    samples._images = dot(somebody.keypoints_px[LEFT_WRIST, :2])[None]
    compared = 0
    for seed in range(12):
        drawn = batch(samples, [seed], seed)
        keypoint = drawn["keypoints"][0][0, RIGHT_WRIST if flip else LEFT_WRIST]
        size = drawn["image"].shape[-1]
        if keypoint[2] and (keypoint[:2] > 8).all() and (keypoint[:2] < min(size, drawn["image"].shape[-2]) - 8).all():
            compared += 1
            assert (centre(drawn["image"][0]) - keypoint[:2]).abs().max() < 0.5
    assert compared >= 4


def test_a_box_stays_on_what_it_bounds(tmp_path: Path):
    samples = of_heads(samples_of(tmp_path, [[person(MIDDLE)]], scale=[0.6, 1.4], jitter_px=6, flip=0.5), "detector")
    samples._images = np.zeros((1, *SIZE_HW, 3), np.uint8)
    samples._images[0, 12:52, 36:56] = 255
    for seed in range(8):
        drawn = batch(samples, [seed], seed)
        rows, columns = (drawn["image"][0, 0] > 0.5).nonzero(as_tuple=True)
        bounds = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert (drawn["boxes"][0][0] - bounds).abs().max() <= 1
        assert drawn["boxes"][0].min() >= 0
        assert drawn["boxes"][0].max() <= 64


@pytest.mark.parametrize("crop_px", [64, 66, None])
def test_cells_that_do_not_count_stay_on_their_region(tmp_path: Path, crop_px: int | None):
    people = [person(MIDDLE), person((0.0, 0.0, 32.0, 40.0), 2, labelled=False, crowd=True)]
    changes = {"crop_px": crop_px, "rotation_deg": 25, "scale": [0.9, 1.3], "flip": 0.5, "jitter_px": 10}
    samples = of_heads(samples_of(tmp_path, [people], **changes), "keypoints")
    samples._images = np.zeros((1, *SIZE_HW, 3), np.uint8)
    samples._images[0, :40, :32] = 255
    seen = 0
    for seed in range(10):
        drawn = batch(samples, [seed], seed)
        shown = functional.avg_pool2d(drawn["image"], 4, ceil_mode=True)[0, 0]
        assert drawn["counted"][0].shape == shown.shape
        clear = (shown < 0.1) | (shown > 0.9)
        assert ((shown > 0.9) == (drawn["counted"][0] == 0))[clear].all()
        seen += int((shown > 0.9).sum())
    assert seen > 50


def test_without_augmentation_a_batch_has_the_image_and_labels_as_they_are_stored(reads: dict[str, Path]):
    samples = data.open_samples(reads, config(), "train", TASKS)
    plain = batch(samples, list(range(len(samples))), None)
    torch.testing.assert_close(plain["image"], samples.images(list(range(len(samples)))))
    targets = samples.targets({})
    for name, values in targets.items():
        for stored, of_batch in zip(values, plain[name], strict=True):
            assert torch.equal(stored, of_batch), name
    assert (plain["counted"] == 1).all()  # nobody lacks keypoints


def test_the_same_seed_gives_the_same_batch_whatever_else_is_in_it(reads: dict[str, Path]):
    samples = data.open_samples(reads, config(), "train", TASKS)
    first, second, other = batch(samples, [3, 5], 1), batch(samples, [5, 3], 1), batch(samples, [3, 5], 2)
    assert torch.equal(first["image"], second["image"].flip(0))
    assert torch.equal(first["poses"][0], second["poses"][1])
    assert not torch.equal(first["image"], other["image"])
    assert not torch.equal(batch(samples, [3 + len(samples)], 1)["image"], first["image"][:1])


def test_on_a_device_values_are_equal(reads: dict[str, Path]):
    samples = data.open_samples(reads, config(), "train", TASKS)
    for seed in (None, 1):
        for name, value in batch(samples.to("cpu"), [0, 4], seed).items():
            torch.testing.assert_close(value, batch(samples, [0, 4], seed)[name])


def people_of(*boxes: tuple[float, float, float, float]) -> People:
    several = [person(box) for box in boxes]
    return People(
        np.array([each.box_xyxy_px for each in several]), np.array([each.keypoints_px for each in several]),
        np.array([each.area_px for each in several], np.float32), np.zeros(len(several), bool), np.arange(len(several)),
    )  # fmt: skip


def test_who_is_outside_of_a_crop_is_left_out_and_who_is_mostly_outside_is_a_region():
    people = people_of((10, 10, 20, 40), (60, 10, 70, 40), (28, 10, 38, 40), (31, 10, 41, 40), (31.5, 10, 40, 40))
    moved = people.moved(np.eye(2, 3), (40, 32), mirror=False)
    assert moved.activity.tolist() == [0, 2, 3]  # of the last half a pixel is left
    assert moved.is_crowd.tolist() == [False, False, True]  # all, 0.4 and 0.1 of a box
    assert moved.box_xyxy_px[:, 2].tolist() == [20, 32, 32]
    assert ((moved.keypoints_px[..., 2] > 0) == (people.keypoints_px[[0, 2, 3], :, 0] < 32)).all()
    assert moved.with_pose.tolist() == [0, 1]
    np.testing.assert_array_equal(moved.area_px, people.area_px[[0, 2, 3]])


def test_areas_grow_with_the_square_of_the_scale_and_do_not_turn():
    people = people_of((40, 20, 50, 40))
    matrix = data.affine(np.array([45.0, 30.0]), 1.5, 1.0, True, (64, 64))
    moved = people.moved(matrix, (64, 64), mirror=True)
    assert moved.area_px[0] == pytest.approx(1.5**2 * people.area_px[0])
    middle = (moved.box_xyxy_px[0, :2] + moved.box_xyxy_px[0, 2:]) / 2
    np.testing.assert_allclose(middle, [32, 32], atol=1e-4)
    assert moved.box_xyxy_px[0, 2] - moved.box_xyxy_px[0, 0] == pytest.approx(1.5 * (10 * np.cos(1) + 20 * np.sin(1)), rel=1e-4)


def test_a_person_in_the_middle_gets_the_share_of_the_crop_that_is_asked_for(tmp_path: Path):
    samples = of_heads(samples_of(tmp_path, [[person(MIDDLE)]], person_share=0.5), "detector")
    box = batch(samples, [0], 0)["boxes"][0][0]
    assert box.tolist() == pytest.approx([24, 16, 40, 48], abs=1e-4)


# --- inputs of the heads ---------------------------------------------------------------------------------------------


def test_joints_of_everybody_in_a_box_go_into_the_residual_network_and_its_target_has_the_persons_own(tmp_path: Path):
    people = [
        person((20.0, 8.0, 50.0, 60.0)),
        person((40.0, 8.0, 70.0, 60.0), 2),
        person((0.0, 0.0, 9.0, 9.0), 3, labelled=False),
    ]
    samples = of_heads(samples_of(tmp_path, [people, []]), "residual")
    drawn = batch(samples, [0, 1], None)
    assert [rows.tolist() for rows in drawn["residual_person"]] == [[0, 1], []]
    assert drawn["joint_maps"][1].shape == (0, 17, 14, 9)
    assert "image" not in drawn
    for row in range(2):
        box = people[row].box_xyxy_px
        expected, own = np.zeros((17, 14, 9)), np.zeros((17, 14, 9))
        for other in range(2):
            for joint, (x, y, _) in enumerate(people[other].keypoints_px):
                column, line = 9 * (x - box[0]) / (box[2] - box[0]), 14 * (y - box[1]) / (box[3] - box[1])
                if 0 <= column < 9 and 0 <= line < 14:
                    expected[joint, int(line), int(column)] = 1
                    own[joint, int(line), int(column)] += other == row
        np.testing.assert_array_equal(drawn["true_maps"][0][row].numpy(), own)
        torch.testing.assert_close(drawn["joint_maps"][0][row], poses.blurred(torch.from_numpy(expected).float(), 1.0))
        assert expected.sum() > own.sum() == 17


def test_poses_are_those_of_people_with_enough_joints_whose_activity_is_known(tmp_path: Path):
    few = person((40.0, 8.0, 70.0, 60.0), 2)
    few.keypoints_px[3:, :] = 0
    people = [person(MIDDLE, activity="running"), few, person((0.0, 0.0, 20.0, 40.0), 3, activity=None)]
    drawn = batch(of_heads(samples_of(tmp_path, [people]), "activity"), [0], None)
    assert drawn["pose_person"][0].tolist() == [0]
    torch.testing.assert_close(drawn["poses"][0], poses.coordinates(torch.from_numpy(people[0].keypoints_px)[None], "kept"))
    assert drawn["activity"][0].tolist() == [ACTIVITIES.index("running"), ACTIVITIES.index("standing"), -1]


def test_shaken_boxes_differ_by_no_more_than_the_noise_and_without_noise_not_at_all():
    box = np.array([[10, 20, 30, 80]], np.float32)
    moved = data.shaken(box, 0.1, np.random.default_rng(0))
    assert (moved != box).all()
    assert (np.abs(moved - box) <= [2.001, 6.001, 2.001, 6.001]).all()
    np.testing.assert_array_equal(data.shaken(box, 0.0, np.random.default_rng(0)), box)


def test_poses_of_training_lack_joints_and_are_off_by_the_share_that_is_asked_for():
    keypoints = np.tile(person((0.0, 0.0, 100.0, 200.0)).keypoints_px, (400, 1, 1))
    noisy = data.noisy(keypoints, config(pose_noise=0.05, pose_dropout=0.2), np.random.default_rng(0))
    there = noisy[..., 2] > 0
    assert (~there).mean() == pytest.approx(0.2, abs=0.02)
    extent = np.ptp(keypoints[0, :, 1])
    assert (noisy - keypoints)[there][:, :2].std() == pytest.approx(0.05 * extent, rel=0.05)
    assert not noisy[~there].any()
    assert (data.noisy(keypoints, config(pose_noise=0, pose_dropout=0.95), np.random.default_rng(0))[..., 2] > 0).sum(
        1
    ).min() >= 2
    np.testing.assert_array_equal(data.noisy(keypoints, config(**PLAIN), np.random.default_rng(0)), keypoints)


def test_with_a_neck_there_are_eighteen_joints_everywhere(tmp_path: Path):
    samples = of_heads(samples_of(tmp_path, [[person(MIDDLE)], []], neck=True))
    drawn = batch(samples, [0, 1], 0)
    assert [each.shape[1:] for each in drawn["keypoints"]] == [(18, 3), (18, 3)]
    assert drawn["joint_maps"][0].shape == (1, 18, 14, 9)
    assert drawn["poses"][0].shape == (1, 36)
    assert data.spec(samples)["joints"] == 18


def test_heads_read_what_they_need_and_nothing_else(tmp_path: Path):
    samples = samples_of(tmp_path, [[person(MIDDLE)]])
    labels = {"subject", "boxes", "keypoints", "area", "activity"}
    needed = {
        "keypoints": {"image", "counted"}, "detector": {"image", "is_crowd"},
        "residual": {"joint_maps", "true_maps", "residual_person"}, "activity": {"poses", "pose_person"},
    }  # fmt: skip
    for head, names in needed.items():
        assert set(batch(of_heads(samples, head), [0], 0)) == labels | names


def test_statistics_are_those_of_the_training_images_or_of_imagenet(reads: dict[str, Path]):
    samples = data.open_samples(reads, config(), "train", TASKS)
    pixels = samples.images(list(range(len(samples)))).permute(1, 0, 2, 3).flatten(1).double()
    found = data.statistics(samples)
    torch.testing.assert_close(found["mean"].flatten().double(), pixels.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["std"].flatten().double(), pixels.std(1, correction=0), rtol=1e-4, atol=1e-6)
    of_imagenet = data.statistics(data.open_samples(reads, config(normalise="imagenet"), "train", TASKS))
    assert of_imagenet["mean"].flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


# --- what is refused -------------------------------------------------------------------------------------------------


def anonymous() -> list[Any]:
    return [person(MIDDLE, labelled=False)]


def region() -> list[Any]:
    return [person(MIDDLE, activity=None, labelled=False, crowd=True)]


def without_activity() -> list[Any]:
    return [person(MIDDLE, activity=None), person((0.0, 0.0, 20.0, 40.0), 2, labelled=False)]


@pytest.mark.parametrize(("people", "tasks", "message"), [
    (without_activity, TASKS, r"objective\.lambda\.activity is not 0, but the split 'train' .* whose activity is known"),
    (anonymous, TASKS, r"lambda\.keypoints is not 0, .* has no people with 4 labelled keypoints"),
    (anonymous, ("residual",), r"lambda\.residual is not 0"),
    (region, ("detector",), r"lambda\.detector is not 0, .* has no people"),
])  # fmt: skip
def test_a_split_without_what_a_task_learns_from_is_refused_and_tells_the_task(
    tmp_path: Path, people: Callable[[], list[Any]], tasks: tuple[str, ...], message: str
):
    reads = write(tmp_path, {"train": [people(), []]})
    with pytest.raises(ValueError, match=message):
        data.open_samples(reads, config(), "train", tasks)
    assert len(data.open_samples(reads, config(), "train", ())) == 2


def test_an_empty_split_and_stores_that_do_not_belong_together_are_refused(tmp_path: Path, reads: dict[str, Path]):
    with pytest.raises(ValueError, match=r"the split 'somewhere' of .* has no images"):
        data.open_samples(reads, config(), "somewhere", TASKS)
    other = write(tmp_path, counts={"train": 3}, seed=9)
    with pytest.raises(ValueError, match=r"annotations is not of the images in .*: run dvc repro scenes@coco"):
        data.open_samples({"frames": reads["frames"], "poses": other["poses"]}, config(), "train", TASKS)


@pytest.mark.parametrize(("name", "value"), [
    ("normalise", "none"), ("crop_px", 16),
    ("jitter_px", -1), ("scale", [0.0, 1.0]), ("scale", [1.2, 0.8]), ("scale", [1.0]), ("rotation_deg", 181), ("flip", 1.5),
    ("person_share", 0.0), ("grid_hw", [14]), ("grid_hw", [14, 3]), ("aspect", "wide"),
    ("box_noise", 0.5), ("pose_noise", -0.1), ("pose_dropout", 1.0),
])  # fmt: skip
def test_every_rule_of_the_settings_names_its_key(name: str, value: Any):
    with pytest.raises(ValueError, match=rf"multipose\.data\.{name} must be "):
        config(**{name: value})


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 4)])
def test_a_grey_image_and_one_with_an_alpha_channel_have_three_channels(tmp_path: Path, shape: tuple[int, ...]):
    pixels = np.full(shape, 90, np.uint8)
    (tmp_path / "image.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (image,) = image_files.frames(tmp_path, "image.png")
    np.testing.assert_array_equal(image, np.full((48, 64, 3), 90, np.uint8))
