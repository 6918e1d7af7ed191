"""A clip's own masks: those that can be told apart from others are read as 0 and 255, the rest is named with its remedy."""

from collections.abc import Callable

import numpy as np
import pytest

from people.video.masks import UnreadableMasksError, binarise, check, crop, mask_iou, person_threshold, to_grey

SIZE = (40, 30)


def person(value: int = 255, dtype: type = np.uint8) -> np.ndarray:
    """An upright block of 8 x 24 px with this value."""
    mask = np.zeros(SIZE, dtype)
    mask[8:32, 10:18] = value
    return mask


def coloured(*bgr: int) -> np.ndarray:
    return np.stack([person(value) for value in bgr], axis=2)


def with_alpha(colour: int | np.ndarray, alpha: int | np.ndarray) -> np.ndarray:
    return np.stack([np.broadcast_to(np.uint8(channel), SIZE) for channel in (colour, colour, colour, alpha)], axis=2)


def full(images: list[np.ndarray]) -> list[np.ndarray]:
    return [mask.full() for mask in to_grey(images)]


READABLE = {
    "0 and 255": person(),
    "0 and 1": person(1),
    "16 bits": person(65535, np.uint16),
    "16 bits, 0 and 1": person(1, np.uint16),
    "16 bits, 0 and 255": person(255, np.uint16),
    "12 bits in 16": person(4095, np.uint16),
    "one channel": person()[..., None],
    "three channels": coloured(255, 255, 255),
    "blue": coloured(255, 0, 0),
    "green": coloured(0, 255, 0),
    "red": coloured(0, 0, 255),
    "red of 1": coloured(0, 0, 1),
    "alpha, white": with_alpha(255, person()),
    "alpha, black": with_alpha(0, person()),
    "alpha of 1": with_alpha(7, person(1)),
    "opaque": with_alpha(person(), 255),
    "transparent throughout": with_alpha(person(), 0),
    "colours and alpha alike": with_alpha(person(), person()),
}


@pytest.mark.parametrize("image", READABLE.values(), ids=READABLE)
def test_every_way_to_store_a_person_is_read_as_0_and_255(image: np.ndarray):
    read = to_grey([image, image])
    check(read)
    for mask in read:
        assert mask.pixels.dtype == np.uint8
        np.testing.assert_array_equal(mask.full(), person())


def test_the_largest_of_all_masks_of_the_clip_decides_and_not_that_of_a_frame():
    nobody, faint = np.zeros(SIZE, np.uint8), person(1)
    np.testing.assert_array_equal(full([nobody, faint]), [nobody, person()])
    np.testing.assert_array_equal(full([person(), faint, nobody]), [person(), faint, nobody])
    shades = [person(65535, np.uint16), person(257, np.uint16)]
    np.testing.assert_array_equal(full(shades), [person(), person(1)])


def test_grey_masks_of_eight_bits_stay_as_they_are():
    grey = np.random.default_rng(1).integers(0, 200, SIZE).astype(np.uint8)
    np.testing.assert_array_equal(full([grey, person(100)]), [grey, person(100)])


UNREADABLE: dict[str, tuple[Callable[[], list[np.ndarray]], str]] = {
    "empty": (lambda: [person(0)] * 3, "shows a person; got 3 masks of 0 alone; write the masks as grey PNG"),
    "empty, opaque": (lambda: [with_alpha(0, 255)] * 3, "shows a person; got 3 masks of 0 alone"),
    "full": (lambda: [np.full(SIZE, 255, np.uint8)] * 3, "shows background; got 3 masks of 255 alone"),
    "full of 1": (lambda: [np.ones(SIZE, np.uint8)], "shows background; got 1 masks of 255 alone"),
    "white, opaque": (lambda: [with_alpha(255, 255)], "shows background"),
    "inverted": (lambda: [255 - person()] * 3, "border are the person's; got 100%; invert the masks"),
    "inverted 0 and 1": (lambda: [1 - person(1)], "got 100%; invert the masks"),
    "colours and alpha differ": (
        lambda: [with_alpha(np.roll(person(), 6, axis=1), person())],
        "show the same; got 288 of 336 pixels differ",
    ),
    "several depths": (lambda: [person(), person(65535, np.uint16)], "one depth; got masks of 8 and of 16 bits"),
}


@pytest.mark.parametrize(("make", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_no_reading_makes_a_persons_mask_is_named_with_its_value_and_remedy(make: Callable, message: str):
    with pytest.raises(UnreadableMasksError, match=message) as raised:
        check(to_grey(make()))
    assert raised.value.fault.remedy.endswith("then ingest again")


def test_a_person_who_leaves_the_frame_or_fills_half_of_its_border_is_no_inverted_mask():
    near = np.zeros(SIZE, np.uint8)
    near[:, 8:24] = 255
    one_flash_in_three_frames = [np.zeros(SIZE, np.uint8), np.full(SIZE, 255, np.uint8), person()]
    for masks in ([crop(near)], to_grey(one_flash_in_three_frames)):
        check(masks)
    with pytest.raises(UnreadableMasksError):  # as it does the same person turned round
        check([crop(255 - person())])


def test_a_person_is_128_or_the_one_smaller_value_and_several_smaller_ones_are_no_mask():
    assert person_threshold([crop(person(200))]) == person_threshold([crop(person(0))]) == person_threshold([]) == 128
    assert person_threshold([crop(person(15)), crop(person(0))]) == 15
    labels = person(2)
    labels[8:20] = np.minimum(labels[8:20], 1)
    with pytest.raises(UnreadableMasksError, match="reach 128 of 255, or have one value beside 0; got values 1, 2;"):
        person_threshold([crop(labels)])


def test_binary_is_255_from_the_threshold_on():
    assert binarise(np.array([[0, 127, 128, 255]], np.uint8)).tolist() == [[0, 0, 255, 255]]
    assert binarise(np.array([[0, 14, 15, 16]], np.uint8), 15).tolist() == [[0, 0, 255, 255]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_cropped_mask_is_the_box_of_what_is_not_0_and_gives_the_whole_one_again(dtype: type):
    draw = np.random.default_rng(3)
    for _ in range(30):
        mask, (y, x) = np.zeros(SIZE, dtype), draw.integers(0, 28, 2)
        mask[y : y + draw.integers(0, 12), x : x + draw.integers(0, 9)] = draw.integers(0, 3)
        cropped = crop(mask)
        np.testing.assert_array_equal(cropped.full(), mask)
        assert cropped.full().dtype == cropped.pixels.dtype == dtype
        if mask.any():
            assert all(side.any() for side in (*cropped.pixels[[0, -1]], *cropped.pixels[:, [0, -1]].T))
        else:
            assert cropped.pixels.shape == (0, 0)


def test_images_that_are_no_masks_are_refused():
    for image in (person() > 0, person().astype(np.float32), np.stack([person()] * 2, axis=2), person()[0]):
        with pytest.raises(ValueError, match=r"mask 1 is .*expected uint8 or uint16"):
            to_grey([person(), image])


def test_mask_iou_is_intersection_over_union_of_each_frame():
    first, second, none = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    first[:2], second[1:3] = 255, 200
    np.testing.assert_allclose(mask_iou([first, first, none], [crop(second), crop(none), crop(none)]), [1 / 3, 0, np.nan])
    np.testing.assert_allclose(mask_iou([first], [crop(second // 100)]), [1 / 3])
    with pytest.raises(ValueError, match="expected one size"):
        mask_iou([first], [crop(first[:3])])
