"""Foregrounds: the box that they show, how frame and mask are resampled, and their product."""

import numpy as np
import pytest

from people.video.foregrounds import Config, foreground, region, resample
from people.video.masks import crop
from people.video.silhouettes import Config as SilhouetteConfig
from people.video.silhouettes import normalise_masks


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def box(*xyxy_px: float, dtype: type = np.float64) -> np.ndarray:
    return np.array(xyxy_px, dtype)


def overlap(first: tuple[float, float], second: tuple[float, float]) -> float:
    return max(0.0, min(first[1], second[1]) - max(first[0], second[0]))


def naive(image: np.ndarray, xyxy_px: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Every pixel as the mean over its extent in the image, or over one pixel of the image round its centre."""
    x0, y0, x1, y1 = xyxy_px
    steps = (y1 - y0) / size_hw[0], (x1 - x0) / size_hw[1]
    made = np.zeros((*size_hw, *image.shape[2:]))
    for row in range(size_hw[0]):
        for column in range(size_hw[1]):
            centres = y0 + (row + 0.5) * steps[0], x0 + (column + 0.5) * steps[1]
            down, right = ((c - max(s, 1) / 2, c + max(s, 1) / 2) for c, s in zip(centres, steps, strict=True))
            for y in range(image.shape[0]):
                for x in range(image.shape[1]):
                    share = overlap(down, (y, y + 1)) * overlap(right, (x, x + 1))
                    made[row, column] += image[y, x] * share / max(steps[0], 1) / max(steps[1], 1)
    return made


BOXES = {
    "shrinks": (1.3, 2.2, 17.9, 19.1),
    "grows": (5.2, 6.6, 9.1, 10.9),
    "grows down and shrinks across": (0.5, 8.0, 19.5, 11.0),
    "leaves the frame at the left and above": (-6.4, -3.1, 10.0, 9.7),
    "leaves the frame at the right and below": (11.5, 13.25, 27.5, 31.0),
    "is wider than the frame": (-5.0, 3.0, 29.0, 17.0),
}


@pytest.mark.parametrize("xyxy_px", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_pixel_is_the_mean_over_its_extent_or_linear_between_centres(xyxy_px: tuple, channels: tuple):
    image = noise(20, 21, *channels)
    np.testing.assert_allclose(resample(image, box(*xyxy_px), (7, 5)), naive(image, box(*xyxy_px), (7, 5)), atol=1e-9)


def test_what_lies_outside_of_the_frame_is_0():
    white = np.full((10, 12), 255, np.uint8)
    for outside in ((12, 0, 20, 10), (-9, 0, -1, 10), (0, 10, 12, 18), (0, -9, 12, -1), (400, 400, 410, 410)):
        assert not resample(white, box(*outside), (4, 4)).any()
    half = resample(white, box(-6, 0, 6, 10), (5, 4))
    assert half.tolist() == [[0, 0, 255, 255]] * 5


def test_whole_pixels_at_their_own_size_do_not_change():
    image = noise(20, 21, 3)
    np.testing.assert_array_equal(resample(image, box(3, 4, 11, 16), (12, 8)), image[4:16, 3:11])


def test_stripes_of_a_pixel_become_even_grey_and_not_broader_stripes():
    stripes = np.tile(np.array([0, 200], np.uint8), (60, 60))
    np.testing.assert_allclose(resample(stripes, box(0, 0, 120, 60), (10, 10)), 100)
    assert np.ptp(resample(stripes, box(0, 0, 120, 60), (7, 13))) < 25


def test_a_ramp_stays_a_ramp_where_it_grows():
    ramp = np.tile(np.arange(0, 100, 10, dtype=np.uint8), (4, 1))
    grown = resample(ramp, box(2, 1, 6, 3), (8, 16))
    np.testing.assert_allclose(grown, np.tile(10 * (2 + (np.arange(16) + 0.5) / 4 - 0.5), (8, 1)), atol=1e-9)


def test_the_region_has_the_rows_and_the_middle_column_of_the_silhouette_and_the_aspect_ratio_of_the_picture():
    found = region(box(10, 5, 54, 69, dtype=np.float32), (64, 32))
    assert found.dtype == np.float32
    assert found.tolist() == [16, 5, 48, 69]
    wide = region(box(-3, 5, 7, 25, dtype=np.float32), (16, 64))
    assert wide.tolist() == [-38, 5, 42, 25]


def test_the_picture_is_the_frame_times_the_soft_mask_rounded_once():
    frame, mask = noise(64, 44, 3), noise(64, 44, seed=1)
    shown = box(0, 0, 44, 64, dtype=np.float32)
    picture = foreground(frame, mask, shown, shown, (64, 44)).picture
    np.testing.assert_array_equal(picture, np.rint(frame * (mask[..., None] / 255)))
    half = foreground(frame, mask, shown, shown, (32, 22)).picture
    averages = [image.reshape(32, 2, 22, 2, -1).astype(float).mean((1, 3)) for image in (frame, mask)]
    np.testing.assert_array_equal(half, np.rint(averages[0] * (averages[1] / 255)))
    assert not foreground(frame, np.zeros_like(mask), shown, shown, (64, 32)).picture.any()
    full = foreground(frame, np.full_like(mask, 255), shown, shown, (64, 44)).picture
    np.testing.assert_array_equal(full, frame)


@pytest.mark.parametrize("size_hw", [(64, 32), (32, 22), (96, 40)])
@pytest.mark.parametrize("left", [0, 30, 84])  # at both borders the box leaves the frame
def test_the_persons_colour_is_where_the_person_is_and_the_rest_is_black(size_hw: tuple[int, int], left: int):
    frame, mask = np.full((72, 96, 3), (10, 200, 30), np.uint8), np.zeros((72, 96), np.uint8)
    mask[12:60, left : left + 12] = 255
    frame[12:60, left : left + 12] = (240, 90, 60)
    config = SilhouetteConfig(method="layout", size_hw=[64, 44], soft=False, pretreatment="scaled", weights="")
    found = normalise_masks([crop(mask)], config)
    shown = region(found.box[0], size_hw)
    picture = foreground(frame, found.silhouette[0], found.box[0], shown, size_hw).picture
    x = shown[0] + (np.arange(size_hw[1]) + 0.5) * (shown[2] - shown[0]) / size_hw[1]
    inside, outside = (x > left + 2.5) & (x < left + 9.5), (x < left - 2.5) | (x > left + 14.5)
    assert inside.any()
    assert outside.any()
    rows = slice(size_hw[0] // 8, -size_hw[0] // 8)
    assert np.abs(picture[rows, inside].astype(int) - (240, 90, 60)).max() <= 3
    assert picture[:, outside].max() <= 3


def test_a_size_without_pixels_is_refused():
    with pytest.raises(ValueError, match=r"foregrounds: size_hw must be \[height, width\] of at least 8 px, got \(64,\)"):
        Config(size_hw=[64])
    assert Config(size_hw=[64, 32]).size_hw == (64, 32)
