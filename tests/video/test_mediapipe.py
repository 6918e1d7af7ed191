"""MediaPipe's models: geometry by hand, landmarks against a naive twin, and what they see in pictures of real people."""

import hashlib
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from people.datasets import coco
from people.layouts.video_files import video_frames
from people.records import COCO_KEYPOINTS, MIRRORED_KEYPOINTS, Annotation
from people.video import background, litert, mediapipe
from people.video.keypoints import object_keypoint_similarity
from people.video.mediapipe import Models, Person

Photo = tuple[np.ndarray, Annotation]


@pytest.fixture(scope="module")
def photos(real_data: Path) -> list[Photo]:
    """Frames with a labelled person of at least 100 px height and ten labelled joints."""
    root = real_data / "coco-mini"
    clips = coco.read(root)
    pairs = [
        (frame, person)
        for frames, people in zip(clips["frames"], clips["people"], strict=True)
        for frame in coco.frames(root, frames)
        for person in coco.people(root, people)
    ]
    return [(frame, each) for frame, each in pairs if np.ptp(each.box_xyxy_px[1::2]) >= 100 and labelled(each).sum() >= 10]


@pytest.fixture(scope="module")
def portrait(photos: list[Photo]) -> Photo:
    """The largest person who is alone in a picture."""
    alone = [photo for photo in photos if sum(photo[0] is frame for frame, _ in photos) == 1]
    return max(alone, key=lambda photo: photo[1].area_px)


EMPTY, FIRST, SECOND = (0, 20, 40, 470), range(100, 106), range(540, 690, 10)


@pytest.fixture(scope="module")
def video(real_data: Path) -> dict[int, np.ndarray]:
    """Frames of a fixed camera by number: an empty room, and two people who stand at a table in it."""
    numbers = {*EMPTY, *FIRST, *SECOND}
    frames = video_frames(real_data / "intel-video" / "one-by-one-person-detection.mp4")
    return {number: frame for number, frame in enumerate(islice(frames, max(numbers) + 1)) if number in numbers}


def labelled(person: Annotation) -> np.ndarray:
    return person.keypoints_px[:, 2] > 0


def similarity(found: np.ndarray, true: Annotation) -> float:
    """OKS of places, however confident."""
    found = np.column_stack([found[:, :2], np.ones(17)])
    return float(object_keypoint_similarity(found[None], true.keypoints_px[None], np.array([true.area_px]))[0])


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return np.count_nonzero((first >= 0.5) & (second >= 0.5)) / np.count_nonzero((first >= 0.5) | (second >= 0.5))


# --- geometry --------------------------------------------------------------------------------------------------------


def test_the_region_of_an_upright_circle_is_upright_and_of_a_lying_one_turned_by_a_quarter():
    middle = np.array([100.0, 80.0])
    assert mediapipe.region_of_circle(middle, np.array([100.0, 60.0])) == (100, 80, 50, 0)
    for point, angle_rad in (((120.0, 80.0), np.pi / 2), ((80.0, 80.0), -np.pi / 2)):
        region = mediapipe.region_of_circle(middle, np.array(point))
        assert_allclose(region, (100, 80, 50, angle_rad))


def test_the_region_of_a_box_is_a_square_of_its_longer_side_and_a_quarter():
    assert mediapipe.region_of_box(np.array([10.0, 20.0, 30.0, 100.0])) == (20, 60, 100, 0)
    assert mediapipe.region_of_box(np.array([10, 20, 10, 20], np.float32)) == (10, 20, 1, 0)


def test_a_point_of_the_circle_is_above_the_middle_of_the_input_and_within_it():
    middle, point = np.array([50.0, 70.0]), np.array([75.0, 45.0])
    to_input = mediapipe._to_square(mediapipe.region_of_circle(middle, point), 256)
    places = np.stack([middle, point]) @ to_input[:, :2].T + to_input[:, 2]
    assert_allclose(places, [[128, 128], [128, 128 - 128 / 1.25]])
    with_corner = np.array([[0.0, 1.0], [0.0, 0.0]]) @ to_input[:, :2].T
    assert_allclose(np.linalg.norm(with_corner[0]), 256 / (2.5 * np.hypot(25, 25)))


def test_anchors_are_the_middles_of_cells_row_by_row_from_the_finest_grid_on():
    expected = [
        ((column + 0.5) * 224 / cells, (row + 0.5) * 224 / cells)
        for cells, count in ((28, 2), (14, 2), (7, 6))
        for row in range(cells)
        for column in range(cells)
        for _ in range(count)
    ]
    assert len(expected) == 2254
    assert_allclose(mediapipe.anchors_xy_px(), expected)


def refined_naively(places: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The steps of MediaPipe's RefineLandmarksFromHeatmap, one landmark and one cell after the other."""
    rows, columns, _ = logits.shape
    made = places.astype(float).copy()
    for landmark, (x, y) in enumerate(places):
        column, row = int(x / 256 * columns), int(y / 256 * rows)
        if not (0 <= column < columns and 0 <= row < rows):
            continue
        total = across = down = largest = 0.0
        for i in range(max(0, row - 3), min(rows, row + 4)):
            for j in range(max(0, column - 3), min(columns, column + 4)):
                weight = 1 / (1 + np.exp(-float(logits[i, j, landmark])))
                total, largest = total + weight, max(largest, weight)
                across, down = across + j * weight, down + i * weight
        if largest >= 0.5:
            made[landmark] = across / columns / total * 256, down / rows / total * 256
    return made


def test_landmarks_are_refined_by_their_heat_maps_as_by_the_naive_twin():
    draw = np.random.default_rng(4)
    places = draw.uniform(-30, 286, (39, 2)).astype(np.float32)
    logits = draw.normal(-4, 2, (64, 64, 39)).astype(np.float32)
    made = mediapipe.refined(places, logits)
    assert_allclose(made, refined_naively(places, logits), rtol=1e-6)
    assert 5 < (made != places).any(1).sum() < 35


# --- names and files -------------------------------------------------------------------------------------------------


def test_the_landmark_of_a_right_joint_is_the_mirror_image_of_that_of_the_left_one():
    mirrored = {0: 0, 2: 5, 7: 8, **{left: left + 1 for left in range(11, 33, 2)}}
    mirrored |= {right: left for left, right in mirrored.items()}
    assert list(mediapipe.LANDMARKS_OF_COCO) == list(COCO_KEYPOINTS)
    for joint, other in enumerate(MIRRORED_KEYPOINTS):
        first, second = (mediapipe.LANDMARKS_OF_COCO[COCO_KEYPOINTS[each]] for each in (joint, other))
        assert mirrored[first] == second


def test_without_the_files_the_error_names_the_command_that_fetches_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    message = rf"{tmp_path}/hub/checkpoints/pose_landmark_full-e9a5c5cb\.tflite .*python -m stages\.models fetch mediapipe"
    for files in (mediapipe.weights_files, mediapipe.landmark_file):
        with pytest.raises(ValueError, match=message):
            files("")
    digits = hashlib.sha256(b"other").hexdigest()[:8]
    own = tmp_path / f"own-{digits}.tflite"
    own.write_bytes(b"other")
    assert mediapipe.landmark_file(str(own)) == own
    with pytest.raises(ValueError, match=rf"{tmp_path}/pose_detection-9ba9dd3d\.tflite .*beside the landmark model"):
        mediapipe.weights_files(str(own))


def test_without_the_runtime_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)  # even where it was imported before
    with pytest.raises(ValueError, match=r"ai-edge-litert is not installed; pip install '\.\[mobile\]'"):
        mediapipe.person_in_box(np.zeros((4, 4, 3), np.uint8), np.array([0.0, 0, 4, 4]), tmp_path / "model.tflite")


def test_a_file_that_is_no_model_or_another_model_is_refused(mediapipe_models: Models, tmp_path: Path):
    (tmp_path / "model.tflite").write_bytes(b"not a model")
    frame, box = np.zeros((4, 4, 3), np.uint8), np.array([0.0, 0, 4, 4])
    with pytest.raises(ValueError, match=r"model\.tflite cannot be read as a model of LiteRT"):
        mediapipe.person_in_box(frame, box, tmp_path / "model.tflite")
    with pytest.raises(ValueError, match=r"pose_detection-9ba9dd3d\.tflite should be MediaPipe's landmark model"):
        mediapipe.person_in_box(frame, box, mediapipe_models.detector)


# --- real people -----------------------------------------------------------------------------------------------------


def test_left_and_right_are_the_persons_own_as_in_the_labels(photos: list[Photo], mediapipe_models: Models):
    clear = 0
    for frame, true in photos:
        found = mediapipe.person_in_box(frame, true.box_xyxy_px, mediapipe_models.landmarks).keypoints_px
        if similarity(found, true) > 0.6:
            clear += 1
            assert similarity(found[list(MIRRORED_KEYPOINTS)], true) < similarity(found, true)
    assert clear >= 7


def test_keypoints_agree_with_the_labels_and_those_of_little_confidence_are_not_labelled(
    portrait: Photo, mediapipe_models: Models
):
    frame, true = portrait
    person = mediapipe.person_in_box(frame, true.box_xyxy_px, mediapipe_models.landmarks)
    assert person.probability > 0.9
    assert similarity(person.keypoints_px, true) > 0.7
    (keypoints,) = mediapipe.person_keypoints([frame], [true.box_xyxy_px], mediapipe_models.landmarks)
    for (x, y, confidence), labelled_keypoint in zip(person.keypoints_px, keypoints, strict=True):
        expected = (x, y, 2) if confidence >= mediapipe.MIN_CONFIDENCE else (0, 0, 0)
        assert_allclose(labelled_keypoint, expected)


def test_nobody_has_keypoints_in_a_box_without_a_person(mediapipe_models: Models):
    (keypoints,) = mediapipe.person_keypoints(
        [np.full((80, 60, 3), 90, np.uint8)], [np.array([0.0, 0, 60, 80])], mediapipe_models.landmarks
    )
    assert not keypoints.any()


def test_in_the_mirrored_picture_left_is_right(portrait: Photo, mediapipe_models: Models):
    frame, true = portrait
    x0, y0, x1, y1 = true.box_xyxy_px
    width = frame.shape[1]
    seen = mediapipe.person_in_box(frame, true.box_xyxy_px, mediapipe_models.landmarks)
    mirrored_box = np.array([width - x1, y0, width - x0, y1])
    mirrored = mediapipe.person_in_box(np.ascontiguousarray(frame[:, ::-1]), mirrored_box, mediapipe_models.landmarks)
    back = mirrored.keypoints_px[list(MIRRORED_KEYPOINTS)]
    back[:, 0] = width - 1 - back[:, 0]
    distance_px = np.linalg.norm(back[:, :2] - seen.keypoints_px[:, :2], axis=1)
    is_sure = (seen.keypoints_px[:, 2] > 0.8) & (back[:, 2] > 0.8)
    assert is_sure.sum() >= 10
    assert np.median(distance_px[is_sure]) < 0.02 * (y1 - y0)
    assert iou(mirrored.mask[:, ::-1], seen.mask) > 0.9


@pytest.mark.parametrize("shift_xy_px", [(17, 0), (0, 9), (31, 23)])
def test_a_shifted_picture_has_its_keypoints_and_its_mask_shifted(
    portrait: Photo, mediapipe_models: Models, shift_xy_px: tuple[int, int]
):
    frame, true = portrait
    across, down = shift_xy_px
    shifted_frame = cv2.copyMakeBorder(frame, down, 0, across, 0, cv2.BORDER_REPLICATE)
    shift = np.array([across, down])
    seen = mediapipe.person_in_box(frame, true.box_xyxy_px, mediapipe_models.landmarks)
    shifted = mediapipe.person_in_box(shifted_frame, true.box_xyxy_px + np.tile(shift, 2), mediapipe_models.landmarks)
    assert_allclose(shifted.keypoints_px[:, :2], seen.keypoints_px[:, :2] + shift, atol=0.5)
    assert_allclose(shifted.keypoints_px[:, 2], seen.keypoints_px[:, 2], atol=0.01)
    assert iou(shifted.mask[down:, across:], seen.mask) > 0.995
    found, shifted_found = (mediapipe.person_in_frame(each, mediapipe_models) for each in (frame, shifted_frame))
    assert found is not None
    assert shifted_found is not None
    distance_px = np.linalg.norm(shifted_found.keypoints_px[:, :2] - found.keypoints_px[:, :2] - shift, axis=1)
    assert np.median(distance_px) < 4  # of 254: the detector sees another picture
    assert iou(shifted_found.mask[down:, across:], found.mask) > 0.93


def test_without_a_box_the_same_person_is_found_as_in_the_box(portrait: Photo, mediapipe_models: Models):
    frame, true = portrait
    in_box = mediapipe.person_in_box(frame, true.box_xyxy_px, mediapipe_models.landmarks)
    in_frame = mediapipe.person_in_frame(frame, mediapipe_models)
    assert in_frame is not None
    assert similarity(in_frame.keypoints_px, true) > 0.7
    assert iou(in_frame.mask, in_box.mask) > 0.85


def test_a_grey_picture_of_a_person_has_the_same_keypoints(portrait: Photo, mediapipe_models: Models):
    frame, true = portrait
    grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    person = mediapipe.person_in_frame(grey, mediapipe_models)
    assert person is not None
    assert similarity(person.keypoints_px, true) > 0.7


@pytest.mark.parametrize("size_hw", [(120, 160), (1, 1), (1, 300), (300, 1), (1000, 20)])
@pytest.mark.parametrize("content", ["black", "grey", "noise"])
def test_in_a_picture_without_anybody_nobody_is_found(mediapipe_models: Models, size_hw: tuple[int, int], content: str):
    draw = np.random.default_rng(1)
    frame = {
        "black": np.zeros((*size_hw, 3), np.uint8),
        "grey": np.full((*size_hw, 3), 128, np.uint8),
        "noise": draw.integers(0, 256, (*size_hw, 3), np.uint8),
    }[content]
    assert mediapipe.person_in_frame(frame, mediapipe_models) is None
    (mask,) = mediapipe.person_masks([frame], mediapipe_models)
    assert mask.shape == size_hw
    assert not mask.any()
    person = mediapipe.person_in_box(frame, np.array([0.0, 0, *size_hw[::-1]]), mediapipe_models.landmarks)
    assert person.probability < 0.5 or content == "noise"
    assert person.mask.shape == size_hw
    assert np.isfinite(person.keypoints_px).all()


@pytest.mark.parametrize("side", ["left", "right", "bottom"])
def test_half_a_person_at_the_border_has_a_mask_up_to_it(portrait: Photo, mediapipe_models: Models, side: str):
    frame, true = portrait
    x0, y0, x1, y1 = np.rint(true.box_xyxy_px).astype(int)
    rows, columns, box = {
        "left": (slice(None), slice((x0 + x1) // 2, None), (0, y0, (x1 - x0) // 2, y1)),
        "right": (slice(None), slice(None, (x0 + x1) // 2), (x0, y0, (x0 + x1) // 2, y1)),
        "bottom": (slice(None, (y0 + y1) // 2), slice(None), (x0, y0, x1, (y0 + y1) // 2)),
    }[side]
    cut = np.ascontiguousarray(frame[rows, columns])
    person = mediapipe.person_in_box(cut, np.array(box, np.float64), mediapipe_models.landmarks)
    border = {"left": person.mask[:, 0], "right": person.mask[:, -1], "bottom": person.mask[-1]}[side]
    assert person.mask.shape == cut.shape[:2]
    assert (border >= 0.5).sum() > 10
    whole = mediapipe.person_in_box(frame, true.box_xyxy_px, mediapipe_models.landmarks).mask[rows, columns]
    assert iou(person.mask, whole) > 0.7


def test_two_processes_give_the_same_bytes(portrait: Photo, mediapipe_models: Models, tmp_path: Path, root: Path):
    frame, true = portrait
    np.savez(tmp_path / "frame.npz", frame=frame, box=true.box_xyxy_px)
    program = (
        "import hashlib, sys, numpy as np\n"
        "from people.video import mediapipe\n"
        "loaded = np.load(sys.argv[1])\n"
        "models = mediapipe.weights_files('')\n"
        "person = mediapipe.person_in_frame(loaded['frame'], models)\n"
        "boxed = mediapipe.person_in_box(loaded['frame'], loaded['box'], models.landmarks)\n"
        "parts = [part for each in (person, boxed) for part in (each.mask, each.keypoints_px)]\n"
        "print(hashlib.sha256(b''.join(part.tobytes() for part in parts)).hexdigest())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "frame.npz")]
    digests = [subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert re.fullmatch(r"[0-9a-f]{64}\n", digests[0])
    assert digests[0] == digests[1]


# --- a clip ----------------------------------------------------------------------------------------------------------


def test_masks_agree_with_background_subtraction_before_a_fixed_camera(video: dict[int, np.ndarray], mediapipe_models: Models):
    standing, empty = ([video[number] for number in numbers] for numbers in (SECOND, EMPTY))
    expected = list(background.person_masks(np.stack(standing), np.stack(empty)))
    found = list(mediapipe.person_masks(standing, mediapipe_models))
    assert np.median([iou(*pair) for pair in zip(found, expected, strict=True)]) >= 0.85


def test_the_empty_room_has_nobody(video: dict[int, np.ndarray], mediapipe_models: Models):
    assert not any(mask.any() for mask in mediapipe.person_masks([video[number] for number in EMPTY], mediapipe_models))


def test_the_detector_looks_only_where_nobody_is_followed(
    video: dict[int, np.ndarray], mediapipe_models: Models, monkeypatch: pytest.MonkeyPatch
):
    looked_at, detected = [], mediapipe._detected_region

    def counted(frame_rgb: np.ndarray, detector: Path) -> mediapipe.Region | None:
        looked_at.append(frame_rgb)
        return detected(frame_rgb, detector)

    monkeypatch.setattr(mediapipe, "_detected_region", counted)
    empty, standing = video[EMPTY[0]], [video[number] for number in FIRST]
    frames = [empty, *standing[:2], empty, *standing[2:4]]
    people = [person for _, person in mediapipe.person_in_clip(frames, mediapipe_models)]
    assert [person is not None for person in people] == [False, True, True, False, True, True]
    assert [next(n for n, frame in enumerate(frames) if frame is each) for each in looked_at] == [0, 1, 0, 4]
    assert all(person.probability >= 0.5 for person in people if person)


def test_somebody_who_is_followed_is_seen_as_by_the_detector_to_a_few_pixels(
    video: dict[int, np.ndarray], mediapipe_models: Models
):
    standing = [video[number] for number in FIRST]
    followed: list[Person] = [person for _, person in mediapipe.person_in_clip(standing, mediapipe_models) if person]
    detected = mediapipe.person_in_frame(standing[-1], mediapipe_models)
    assert len(followed) == 6
    assert detected is not None
    sure = detected.keypoints_px[:, 2] > 0.9
    distance_px = np.linalg.norm(followed[-1].keypoints_px[:, :2] - detected.keypoints_px[:, :2], axis=1)
    assert np.median(distance_px[sure]) < 0.02 * 330
    assert iou(followed[-1].mask, detected.mask) > 0.9


def test_the_foreground_is_everybody(video: dict[int, np.ndarray], mediapipe_models: Models):
    selfie = mediapipe_models.landmarks.with_name(mediapipe.SELFIE_MODEL.published.name)
    frame, empty = video[SECOND[5]], np.stack([video[number] for number in EMPTY])
    (expected,) = background.person_masks(frame[None], empty)
    assert iou(mediapipe.foreground_mask(frame, selfie), expected) > 0.75


def test_an_interpreter_is_made_once_for_a_file(mediapipe_models: Models):
    assert litert._interpreter(mediapipe_models.landmarks) is litert._interpreter(mediapipe_models.landmarks)
