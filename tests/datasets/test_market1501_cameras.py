"""Street cameras: boxes of people and false alarms, and each camera's style."""

import cv2
import numpy as np
import pytest

from people.datasets.market1501 import cameras
from people.datasets.market1501.cameras import (
    CAMERA_STYLES,
    DETECTION_IOU,
    JUNK_IOU,
    CameraStyle,
    annotated_box,
    crop,
    detected_box,
    false_alarm_box,
    iou,
)

PERSON = np.array([60.0, 30.0, 100.0, 130.0], np.float32)


def test_intersection_over_union_by_hand():
    first = np.array([0.0, 0.0, 4.0, 4.0])
    assert iou(first, first) == 1
    assert iou(first, np.array([2.0, 0.0, 6.0, 4.0])) == pytest.approx(8 / 24)
    assert iou(first, np.array([4.0, 4.0, 6.0, 6.0])) == 0
    assert iou(first, np.array([9.0, 9.0, 12.0, 12.0])) == 0


def test_an_annotated_box_is_centred_twice_as_high_as_wide_and_holds_the_person():
    x0, y0, x1, y1 = annotated_box(PERSON)
    assert (x0 + x1, y0 + y1) == (160, 160)
    assert y1 - y0 == pytest.approx(2 * (x1 - x0))
    assert x0 <= 60 < 100 <= x1
    assert y0 <= 30 - 0.04 * 100 < 130 + 0.04 * 100 <= y1
    wide = annotated_box(np.array([10.0, 0.0, 110.0, 100.0], np.float32))
    assert (wide[2] - wide[0], wide[3] - wide[1]) == (100, 200)
    with pytest.raises(ValueError, match="the box of a person in the frame"):
        annotated_box(np.zeros(4, np.float32))


def test_a_detectors_box_is_a_detection_whose_overlap_falls_with_the_error():
    rng, annotated = np.random.default_rng(0), annotated_box(PERSON)
    overlap = {error: [iou(detected_box(annotated, error, rng), annotated) for _ in range(200)] for error in (0.0, 0.05, 0.1)}
    assert overlap[0.0] == pytest.approx([1.0] * 200)
    assert min(overlap[0.05] + overlap[0.1]) > DETECTION_IOU
    assert 1 > np.mean(overlap[0.05]) > np.mean(overlap[0.1])


def test_a_false_alarm_shows_surroundings_or_a_fragment_and_lies_in_the_frame():
    rng, annotated = np.random.default_rng(0), annotated_box(PERSON)
    boxes = [false_alarm_box(annotated, (160, 160), rng) for _ in range(200)]
    overlap = np.array([iou(box, annotated) for box in boxes])
    assert overlap.max() <= JUNK_IOU < DETECTION_IOU
    assert 60 < (overlap <= 0.03).sum() < 140
    assert ((overlap <= 0.03) | (overlap >= 0.1)).all()
    assert np.min(boxes) >= 0
    assert np.max(boxes) <= 160
    with pytest.raises(ValueError, match="leaves no room for a false alarm"):
        false_alarm_box(annotated, (108, 54), rng)


def test_a_crop_is_the_frame_inside_the_box_and_replicates_the_border_beyond_the_frame():
    frame = np.arange(160, dtype=np.uint8)[:, None, None].repeat(160, axis=1).repeat(3, axis=2)
    inside = crop(frame, np.array([10.0, 16.0, 74.0, 144.0]))
    np.testing.assert_array_equal(inside, frame[16:144, 10:74])
    assert crop(frame, np.array([0.0, -64.0, 64.0, 64.0]))[:64].max() == 0
    np.testing.assert_array_equal(crop(frame, np.array([120.0, 16.0, 184.0, 144.0])), inside)
    assert crop(frame, np.array([70.0, 70.0, 74.0, 78.0])).shape == (128, 64, 3)


def test_a_style_without_colour_blur_and_noise_changes_the_light_alone():
    image = np.random.default_rng(1).integers(0, 200, (16, 8, 3)).astype(np.uint8)
    plain = CameraStyle(
        gain=1.0, gamma=1.0, cast_rgb=(1.0, 1.0, 1.0), blur_px=0.0, noise_levels=0.0, quality_lost=0, box_error=1.0
    )
    styled = plain.apply(image, np.random.default_rng(2))
    light = np.random.default_rng(2).normal(1.0, 0.05)
    np.testing.assert_allclose(styled, image * light, atol=0.51)
    assert np.array_equal(styled, plain.apply(image, np.random.default_rng(2)))


def test_the_colours_of_two_cameras_differ_more_than_those_of_two_photos_of_one_camera():
    grey, rng = np.full((128, 64, 3), 128, np.uint8), np.random.default_rng(0)
    means = np.array([[style.apply(grey, rng).mean((0, 1)) for _ in range(20)] for style in CAMERA_STYLES])
    tint = means / means.sum(-1, keepdims=True)  # without the light
    centre = tint.mean(1)
    separation = np.linalg.norm(centre[:, None] - centre[None], axis=-1)[~np.eye(len(CAMERA_STYLES), dtype=bool)]
    assert separation.min() > 3 * np.linalg.norm(tint - centre[:, None], axis=-1).max()


def test_a_blurred_camera_has_less_detail_than_a_sharp_one():
    board = (np.indices((128, 64)).sum(0) % 4 < 2).astype(np.uint8)[..., None].repeat(3, axis=2) * 120 + 60
    detail = [
        cv2.Laplacian(style.apply(board, np.random.default_rng(0)).astype(np.float32), cv2.CV_32F).std()
        for style in CAMERA_STYLES
    ]
    assert np.argmin(detail) == int(np.argmax([style.blur_px for style in cameras.CAMERA_STYLES]))
