"""Masks of people by background subtraction, and their normalised silhouettes and boxes."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from people.records import Rendered, Take
from people.synth.motion import parametric
from people.synth.render import render
from people.video import detectors
from people.video.keypoints import to_silhouette
from people.video.silhouettes import Config, mask_iou, normalise_mask, normalise_masks, segment_person

CONFIG = Config(method="background", size_hw=[64, 44], soft=False, weights="")
SIZE = (72, 96)


def wall(level: float = 0.0, seed: int = 0) -> np.ndarray:
    """A coloured, textured scene with the noise of a sensor, its exposure changed by `level`."""
    grain = cv2.GaussianBlur(np.random.default_rng(5).normal(size=(*SIZE, 3)).astype(np.float32), (0, 0), 2)
    scene = np.array([150, 140, 120]) + 40 * grain
    return np.clip(scene * (1 + level) + np.random.default_rng(seed).normal(0, 1.5, scene.shape), 0, 255).astype(np.uint8)


def with_person(frame: np.ndarray, left: int) -> np.ndarray:
    """A dark upright block 12 px wide and 40 px high."""
    seen = frame.copy()
    seen[20:60, left : left + 12] = (60, 40, 90)
    return seen


def block(left: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[20:60, left : left + 12] = 255
    return mask


def walk(view_deg: float) -> list[Rendered]:
    motion = parametric.motions(1, walks=1, frames=24, frame_rate_hz=25.0, seed=2)[0]
    take = Take("001", "nm-01", motion, "normal", 0, view_deg, identity_seed=3, seed=4)
    return list(render(take, size_hw=SIZE))


# --- the mask --------------------------------------------------------------------------------------------------------


def test_a_person_before_the_empty_scene_is_segmented():
    frames = [with_person(wall(seed=n), 30 + n) for n in range(4)]
    found = list(segment_person(frames, [wall(seed=90 + n) for n in range(6)], CONFIG))
    assert mask_iou(found, [block(30 + n) for n in range(4)]).min() > 0.9
    assert {int(value) for mask in found for value in np.unique(mask)} == {0, 255}


def test_a_change_of_exposure_is_not_a_person_and_hides_none():
    empty = [wall(seed=90 + n) for n in range(6)]
    empty_mask, person_mask = segment_person([wall(0.15, seed=1), with_person(wall(-0.15, seed=2), 40)], empty, CONFIG)
    assert not normalise_masks([empty_mask], CONFIG).frame.size
    assert mask_iou([person_mask], [block(40)]).min() > 0.9


def test_a_shadow_is_not_the_person():
    frame = with_person(wall(seed=1), 40)
    frame[60:66, 40:64] = (0.88 * frame[60:66, 40:64]).astype(np.uint8)
    (found,) = segment_person([frame], [wall(seed=90 + n) for n in range(6)], CONFIG)
    assert np.count_nonzero(found[61:66]) < 10
    assert mask_iou([found], [block(40)])[0] > 0.9


def test_without_an_empty_scene_it_is_learned_from_a_clip_that_a_person_crosses():
    lefts = list(range(0, 84, 3))
    frames = [with_person(wall(seed=n), left) for n, left in enumerate(lefts)]
    found = list(segment_person(frames, [], CONFIG))
    assert np.mean(mask_iou(found, [block(left) for left in lefts])) > 0.8


def test_a_soft_mask_has_greys_only_round_the_same_person():
    frames, empty = [with_person(wall(seed=1), 40)], [wall(seed=90 + n) for n in range(6)]
    (hard,) = segment_person(frames, empty, CONFIG)
    (soft,) = segment_person(frames, empty, replace(CONFIG, soft=True))
    assert len(np.unique(soft)) > 2
    np.testing.assert_array_equal(soft >= 128, hard == 255)


def test_rendered_people_are_found_where_they_are():
    seen = walk(90.0)
    without = cv2.medianBlur(np.median([frame.frame_rgb for frame in seen], axis=0).astype(np.uint8), 3)
    assert np.nanmean(mask_iou(segment_person([f.frame_rgb for f in seen], [without] * 3, CONFIG), masks(seen))) > 0.7


def masks(seen: list[Rendered]) -> list[np.ndarray]:
    return [255 * frame.mask.astype(np.uint8) for frame in seen]


def test_mask_iou_is_intersection_over_union_of_each_frame():
    first, second, none = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    first[:2], second[1:3] = 255, 200
    np.testing.assert_allclose(mask_iou([first, first, none], [second, none, none]), [1 / 3, 0, np.nan])


# --- its picture -----------------------------------------------------------------------------------------------------


def published(mask: np.ndarray) -> np.ndarray:
    """The pretreatment of GaitSet and OpenGait in its own steps: 64 x 64, of which the loader cuts ten columns each side."""
    rows = [row for row in range(len(mask)) if mask[row].sum() > 0]
    cut = mask[rows[0] : rows[-1] + 1]
    cut = cv2.resize(cut, (int(64 * cut.shape[1] / cut.shape[0]), 64), interpolation=cv2.INTER_CUBIC)
    total, so_far, middle = int(cut.sum()), 0, -1
    for column in range(cut.shape[1]):
        so_far += int(cut[:, column].sum())
        if so_far > total / 2:
            middle = column
            break
    padded = np.concatenate([np.zeros((64, 32), np.uint8), cut, np.zeros((64, 32), np.uint8)], axis=1)
    return padded[:, middle : middle + 64][:, 10:54]


@pytest.mark.parametrize("view_deg", [0.0, 54.0, 90.0])
def test_the_picture_is_that_of_the_published_pretreatment(view_deg: float):
    seen = walk(view_deg)
    made = normalise_masks(masks(seen), CONFIG)
    assert len(made.frame) > 12
    for picture, index in zip(made.silhouette, made.frame[:, 0], strict=True):
        np.testing.assert_array_equal(picture, published(masks(seen)[index]))


@pytest.mark.parametrize("view_deg", [0.0, 54.0, 90.0])
def test_true_keypoints_land_on_the_body_in_the_picture(view_deg: float):
    seen = walk(view_deg)
    made = normalise_masks(masks(seen), CONFIG)
    true = np.stack([seen[index].keypoints_px for index in made.frame[:, 0]])
    placed = to_silhouette(true, made.box, (64, 44))
    joints = placed[..., 2] > 0
    near = np.stack([cv2.dilate(picture, np.ones((5, 5), np.uint8)) for picture in made.silhouette])
    frame, joint = np.nonzero(joints)
    x, y = placed[frame, joint, :2].astype(int).T
    assert (near[frame, y, x] > 0).mean() > 0.97
    first, last = made.box[frame, :2], made.box[frame, 2:]
    back = first + placed[joints][:, :2] / [44, 64] * (last - first)
    np.testing.assert_allclose(back, true[joints][:, :2], atol=1e-3)


def test_half_of_the_mass_is_left_of_the_middle_column():
    mask = np.zeros((60, 80), np.uint8)
    mask[5:55, 50:60], mask[20:25, 42:50] = 255, 255
    picture, _ = normalise_mask(mask, (64, 44)) or (np.zeros(0), None)
    mass = picture.sum(axis=0, dtype=int)
    assert mass[:22].sum() <= mass.sum() / 2 < mass[:23].sum()


def test_a_person_at_the_edge_is_padded_and_the_box_leaves_the_frame():
    mask = np.zeros((60, 80), np.uint8)
    mask[10:42, 0:4] = 255
    picture, box = normalise_mask(mask, (64, 44)) or (np.zeros(0), np.zeros(4))
    assert not picture[:, :17].any()
    np.testing.assert_allclose(box, [-9, 10, 13, 42])  # half a frame pixel for a pixel of the picture


def test_frames_with_too_little_of_a_person_are_left_out_in_proportion_to_their_size():
    frame = np.zeros((240, 320), np.uint8)
    frame[:1, :39] = 255  # 9,945 of at most 10,000
    assert normalise_mask(frame, (64, 44)) is None
    frame[1, 0] = 255
    assert normalise_mask(frame, (64, 44)) is not None
    small = np.zeros((120, 160), np.uint8)
    small[0, :9] = 255  # a quarter of the frame, a quarter of the sum
    assert normalise_mask(small, (64, 44)) is None
    small[0, 9] = 255
    assert normalise_mask(small, (64, 44)) is not None


def test_a_clip_of_black_masks_has_no_silhouette_and_one_frame_is_enough_for_one():
    black = np.zeros(SIZE, np.uint8)
    nothing = normalise_masks([black] * 3, CONFIG)
    assert (nothing.silhouette.shape, nothing.box.shape, nothing.frame.shape) == ((0, 64, 44), (0, 4), (0, 1))
    assert normalise_masks([block(40)], CONFIG).frame.tolist() == [[0]]
    assert normalise_masks([black, block(40), black], CONFIG).frame.tolist() == [[1]]


def test_masks_that_are_not_grey_pictures_of_eight_bits_are_refused():
    for mask in (block(40) > 0, block(40).astype(np.float32), np.stack([block(40)] * 3, axis=2)):
        with pytest.raises(ValueError, match="expected uint8"):
            normalise_masks([mask], CONFIG)


def test_frames_of_several_sizes_and_another_size_of_the_empty_scene_or_the_masks_are_refused():
    with pytest.raises(ValueError, match="one size"):
        list(segment_person([wall(), wall()[:60]], [], CONFIG))
    with pytest.raises(ValueError, match="one camera"):
        list(segment_person([wall()], [wall()[:60]], CONFIG))
    with pytest.raises(ValueError, match="expected one size"):
        mask_iou([block(40)], [block(40)[:60]])
    with pytest.raises(ValueError, match="at least one frame"):
        list(segment_person([], [wall()], CONFIG))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"method": "hog"}, "'hog'"), ({"size_hw": [64]}, "size_hw")],
)
def test_settings_out_of_range_are_refused(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


# --- detectors -------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def test_without_weights_the_error_says_which_file_goes_where(no_cache: Path):
    message = rf"{no_cache}/hub/checkpoints/maskrcnn_resnet50_fpn_coco-bf2d0c1e\.pth .*MaskRCNN_ResNet50_FPN_Weights\.COCO_V1"
    with pytest.raises(ValueError, match=message):
        list(segment_person([wall()], [], replace(CONFIG, method="maskrcnn")))


def test_weights_carry_the_beginning_of_their_hash_in_their_name(tmp_path: Path):
    path = tmp_path / "weights-00000000.pth"
    path.write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"should end in -[0-9a-f]{8}\.pth"):
        detectors.weights_file("maskrcnn", str(path))
