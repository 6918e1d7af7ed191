"""Masks of people by background subtraction, and their normalised silhouettes and boxes."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from people.records import Rendered, Take
from people.synth.motion import parametric
from people.synth.render import render
from people.video import detectors, mediapipe, silhouettes
from people.video.keypoints import to_silhouette
from people.video.masks import UnreadableMasksError, crop, mask_iou
from people.video.silhouettes import Config, Silhouettes, normalise_mask, normalise_masks, segment_person, too_small

CONFIG = Config(method="background", size_hw=[64, 44], soft=False, pretreatment="scaled", weights="")
PUBLISHED = replace(CONFIG, pretreatment="published")
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


def overlap(found: Iterable[np.ndarray], true: list[np.ndarray]) -> np.ndarray:
    return mask_iou(found, [crop(mask) for mask in true])


def normalise(drawn: list[np.ndarray], config: Config) -> Silhouettes:
    return normalise_masks([crop(mask) for mask in drawn], config)


# --- the mask --------------------------------------------------------------------------------------------------------


def test_a_person_before_the_empty_scene_is_segmented():
    frames = [with_person(wall(seed=n), 30 + n) for n in range(4)]
    found = list(segment_person(frames, [wall(seed=90 + n) for n in range(6)], CONFIG))
    assert overlap(found, [block(30 + n) for n in range(4)]).min() > 0.9
    assert {int(value) for mask in found for value in np.unique(mask)} == {0, 255}


def test_a_change_of_exposure_is_not_a_person_and_hides_none():
    empty = [wall(seed=90 + n) for n in range(6)]
    empty_mask, person_mask = segment_person([wall(0.15, seed=1), with_person(wall(-0.15, seed=2), 40)], empty, CONFIG)
    assert not normalise([empty_mask], CONFIG).frame.size
    assert overlap([person_mask], [block(40)]).min() > 0.9


def test_a_shadow_is_not_the_person():
    frame = with_person(wall(seed=1), 40)
    frame[60:66, 40:64] = (0.88 * frame[60:66, 40:64]).astype(np.uint8)
    (found,) = segment_person([frame], [wall(seed=90 + n) for n in range(6)], CONFIG)
    assert np.count_nonzero(found[61:66]) < 10
    assert overlap([found], [block(40)])[0] > 0.9


def test_without_an_empty_scene_it_is_learned_from_a_clip_that_a_person_crosses():
    lefts = list(range(0, 84, 3))
    frames = [with_person(wall(seed=n), left) for n, left in enumerate(lefts)]
    found = list(segment_person(frames, [], CONFIG))
    assert np.mean(overlap(found, [block(left) for left in lefts])) > 0.8


def test_a_soft_mask_has_greys_only_round_the_same_person():
    frames, empty = [with_person(wall(seed=1), 40)], [wall(seed=90 + n) for n in range(6)]
    (hard,) = segment_person(frames, empty, CONFIG)
    (soft,) = segment_person(frames, empty, replace(CONFIG, soft=True))
    assert len(np.unique(soft)) > 2
    np.testing.assert_array_equal(soft >= 128, hard == 255)


def test_rendered_people_are_found_where_they_are():
    seen = walk(90.0)
    without = cv2.medianBlur(np.median([frame.frame_rgb for frame in seen], axis=0).astype(np.uint8), 3)
    assert np.nanmean(overlap(segment_person([f.frame_rgb for f in seen], [without] * 3, CONFIG), masks(seen))) > 0.7


def masks(seen: list[Rendered]) -> list[np.ndarray]:
    return [255 * frame.mask.astype(np.uint8) for frame in seen]


# --- its picture -----------------------------------------------------------------------------------------------------


def published(mask: np.ndarray, side: int = 64) -> np.ndarray | None:
    """The pretreatment of OpenGait in its own steps: `side` columns, of which its loader cuts ten of 64 on each side."""
    if mask.sum() <= 10_000:
        return None
    rows = mask.sum(axis=1)
    top, bottom = (rows != 0).argmax(), (rows != 0).cumsum().argmax()
    mask = mask[top : bottom + 1]
    ratio = mask.shape[1] / mask.shape[0]
    mask = cv2.resize(mask, (int(side * ratio), side), interpolation=cv2.INTER_CUBIC)
    middle, half = mask.shape[1] // 2, mask.sum() / 2
    for column, so_far in enumerate(mask.sum(axis=0).cumsum()):
        if so_far > half:
            middle = column
            break
    left, right = middle - side // 2, middle + side // 2
    if left <= 0 or right >= mask.shape[1]:
        left, right = left + side // 2, right + side // 2
        margin = np.zeros((side, side // 2))
        mask = np.concatenate([margin, mask, margin], axis=1)
    cut = side // 64 * 10
    return mask[:, left:right].astype(np.uint8)[:, cut:-cut]


def grey_person(draw: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """A soft blob of any height, width, place and brightness, often at a side, with noise in it and a speck."""
    height, width = size_hw
    y, x = np.ogrid[:height, :width]
    centre = draw.uniform(0, height), draw.choice([draw.uniform(0, width), 0.0, width - 1.0])
    sigma = draw.uniform(0.01, 0.3) * height, draw.uniform(0.005, 0.1) * width
    blob = np.exp(-(((y - centre[0]) / sigma[0]) ** 2) - ((x - centre[1]) / sigma[1]) ** 2)
    mask = draw.uniform(20, 255) * blob * draw.uniform(0.5, 1, size_hw)
    mask[blob < 0.1] = 0
    mask[draw.integers(0, height), draw.integers(0, width)] = draw.integers(0, 256)
    return mask.astype(np.uint8)


@pytest.mark.parametrize(("size_hw", "count"), [((240, 320), 120), ((980, 1280), 25), ((64, 44), 60), ((90, 60), 60)])
@pytest.mark.parametrize("side", [64, 128])
def test_published_equals_the_published_code_pixel_by_pixel_on_grey_masks(size_hw: tuple[int, int], count: int, side: int):
    draw = np.random.default_rng(size_hw)
    drawn = [grey_person(draw, size_hw) for _ in range(count)]
    expected = {index: published(mask, side) for index, mask in enumerate(drawn)}
    config = replace(PUBLISHED, size_hw=[side, side - 2 * (side // 64 * 10)])
    made = normalise(drawn, config)
    assert made.frame[:, 0].tolist() == [index for index, silhouette in expected.items() if silhouette is not None]
    assert len(made.frame) >= 8
    for silhouette, index in zip(made.silhouette, made.frame[:, 0], strict=True):
        np.testing.assert_array_equal(silhouette, expected[index])


@pytest.mark.parametrize("view_deg", [0.0, 54.0, 90.0])
def test_of_binary_masks_both_pretreatments_make_the_same_silhouettes(view_deg: float):
    seen = [cv2.resize(mask, (320, 240), interpolation=cv2.INTER_NEAREST) for mask in masks(walk(view_deg))]
    made, same = normalise(seen, CONFIG), normalise(seen, PUBLISHED)
    assert len(made.frame) > 12
    for one, other in zip(made, same, strict=True):
        np.testing.assert_array_equal(one, other)
    for silhouette, index in zip(made.silhouette, made.frame[:, 0], strict=True):
        np.testing.assert_array_equal(silhouette, published(seen[index]))


def test_a_small_person_in_a_large_frame_and_a_dark_mask_are_kept_by_the_published_pretreatment():
    large = np.zeros((980, 1280), np.uint8)
    large[500:525, 600:625] = 255
    assert len(normalise([large], PUBLISHED).frame) == 1
    assert len(normalise([large], CONFIG).frame) == 0
    dark = block(40) // 255 * 100
    np.testing.assert_array_equal(normalise([dark], PUBLISHED).silhouette[0], published(dark))
    assert 100 <= normalise([dark], PUBLISHED).silhouette.max() < 128
    np.testing.assert_array_equal(normalise([dark], CONFIG).silhouette, normalise([block(40)], CONFIG).silhouette)


def test_scaled_refuses_grey_masks_that_do_not_reach_half_of_white_and_keeps_soft_ones():
    grey = cv2.GaussianBlur(block(40) // 255 * 100, (0, 0), 2)
    with pytest.raises(UnreadableMasksError, match="reach 128 of 255"):
        normalise([grey], CONFIG)
    assert 90 < normalise([grey], replace(CONFIG, soft=True)).silhouette.max() <= 100


def test_the_fault_of_a_clip_with_little_of_a_person_names_the_largest_sum_and_the_limit():
    mask = np.zeros((240, 320), np.uint8)
    mask[0, :30] = 255
    fault = too_small([crop(mask), crop(mask // 2)], CONFIG)
    assert fault.rule == "a mask of the clip sums to more than 10,000 for 320x240 pixels"
    assert fault.value == "at most 7,650"
    assert "pretreatment: scaled" not in fault.remedy
    assert "pretreatment: scaled" in too_small([crop(mask)], PUBLISHED).remedy


@pytest.mark.parametrize("view_deg", [0.0, 54.0, 90.0])
def test_true_keypoints_land_on_the_body_in_the_picture(view_deg: float):
    seen = walk(view_deg)
    made = normalise(masks(seen), CONFIG)
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
    picture, _ = normalise_mask(crop(mask), CONFIG) or (np.zeros(0), None)
    mass = picture.sum(axis=0, dtype=int)
    assert mass[:22].sum() <= mass.sum() / 2 < mass[:23].sum()


def test_a_person_at_the_edge_is_padded_and_the_box_leaves_the_frame():
    mask = np.zeros((60, 80), np.uint8)
    mask[10:42, 0:4] = 255
    picture, box = normalise_mask(crop(mask), CONFIG) or (np.zeros(0), np.zeros(4))
    assert not picture[:, :17].any()
    np.testing.assert_allclose(box, [-9, 10, 13, 42])  # half a frame pixel for a pixel of the picture


def test_frames_with_too_little_of_a_person_are_left_out_in_proportion_to_their_size():
    frame = np.zeros((240, 320), np.uint8)
    frame[:1, :39] = 255  # 9,945 of at most 10,000
    assert normalise_mask(crop(frame), CONFIG) is None
    frame[1, 0] = 255
    assert normalise_mask(crop(frame), CONFIG) is not None
    small = np.zeros((120, 160), np.uint8)
    small[0, :9] = 255  # a quarter of the frame, a quarter of the sum
    assert normalise_mask(crop(small), CONFIG) is None
    small[0, 9] = 255
    assert normalise_mask(crop(small), CONFIG) is not None


def test_a_clip_of_black_masks_has_no_silhouette_and_one_frame_is_enough_for_one():
    black = np.zeros(SIZE, np.uint8)
    nothing = normalise([black] * 3, CONFIG)
    assert (nothing.silhouette.shape, nothing.box.shape, nothing.frame.shape) == ((0, 64, 44), (0, 4), (0, 1))
    assert normalise([block(40)], CONFIG).frame.tolist() == [[0]]
    assert normalise([black, block(40), black], CONFIG).frame.tolist() == [[1]]


def test_frames_of_several_sizes_and_another_size_of_the_empty_scene_or_the_masks_are_refused():
    with pytest.raises(ValueError, match="one size"):
        list(segment_person([wall(), wall()[:60]], [], CONFIG))
    with pytest.raises(ValueError, match="one camera"):
        list(segment_person([wall()], [wall()[:60]], CONFIG))
    with pytest.raises(ValueError, match="at least one frame"):
        list(segment_person([], [wall()], CONFIG))


def test_a_clip_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(silhouettes, "MAX_CLIP_BYTES", 5 * wall().nbytes)
    assert len(list(segment_person([wall()] * 5, [], CONFIG))) == 5
    with pytest.raises(ValueError, match=r"its first 6 frames take .* in memory; cut it"):
        list(segment_person((wall() for _ in range(10**9)), [], CONFIG))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"method": "hog"}, "'hog'"), ({"size_hw": [64]}, "size_hw"), ({"pretreatment": "gaitset"}, "scaled, published")],
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
    message = rf"{no_cache}/hub/checkpoints/pose_landmark_full-e9a5c5cb\.tflite .*python -m stages\.models fetch mediapipe"
    with pytest.raises(ValueError, match=message):
        list(segment_person([wall()], [], replace(CONFIG, method="mediapipe")))


@pytest.mark.parametrize("suffix", [".pth", ".tflite"])
def test_weights_carry_the_beginning_of_their_hash_in_their_name(tmp_path: Path, suffix: str):
    path = tmp_path / f"weights-00000000{suffix}"
    path.write_bytes(b"weights")
    for files in (partial(detectors.weights_file, "maskrcnn"), mediapipe.landmark_file):
        with pytest.raises(ValueError, match=rf"should end in -[0-9a-f]{{8}}\{suffix}"):
            files(str(path))
        digits = hashlib.sha256(b"weights").hexdigest()[:8]
        renamed = path.with_name(f"weights-{digits}{suffix}")
        renamed.write_bytes(b"weights")
        assert files(str(renamed)) == renamed
