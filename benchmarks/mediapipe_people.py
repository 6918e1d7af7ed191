"""MediaPipe's models on real people: keypoints and masks in true boxes of annotated photos, masks in a video, and time.

    python -m benchmarks.mediapipe_people path/to/coco path/to/one-by-one-person-detection.mp4

Photos in COCO's format: people of at least 100 px height, for keypoints with ten labelled joints, in their labelled boxes; one
look is that into the box, the second into the region that follows from it. The video, of a camera that does not move and an
empty room at first: people against background subtraction, in the frames where that covers a person's share of the frame (a
change of exposure, or somebody half outside, does not), and how often somebody is found where it finds nobody. Time is that of
a processor, on one thread.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from people.datasets import coco
from people.layouts.video_files import video_frames
from people.records import Annotation
from people.storage.trained_weights import weights_file
from people.video import background, mediapipe
from people.video.keypoints import object_keypoint_similarity
from people.video.mediapipe import Person

MIN_HEIGHT_PX, MIN_JOINTS = 100, 10
EMPTY_FRAMES, EVERY = 10, 10  # of the video: the empty room, and which frames are looked at
PERSON_SHARE, EMPTY_SHARE = (0.06, 0.18), 0.002  # of the frame's pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("coco", type=Path, help="a folder in COCO's format")
    parser.add_argument("video", type=Path)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    models, selfie = mediapipe.weights_files(""), weights_file(mediapipe.SELFIE_MODEL.published, "")
    judge_photos(asked.coco, models)
    judge_video(list(video_frames(asked.video)), models, selfie)


def judge_photos(folder: Path, models: mediapipe.Models) -> None:
    """Print the similarity of keypoints and the overlap of masks in true boxes, and the time of a person."""
    clips = coco.read(folder)
    people = [
        (frame, person)
        for frames, location in zip(clips["frames"], clips["people"], strict=True)
        for frame in coco.frames(folder, frames)
        for person in coco.people(folder, location, masks=True)
        if not person.is_crowd and person.box_xyxy_px[3] - person.box_xyxy_px[1] >= MIN_HEIGHT_PX
    ]
    ways: dict[str, Callable[[np.ndarray, np.ndarray], Person]] = {
        "one look": lambda frame, box: mediapipe.person_in_region(frame, mediapipe.region_of_box(box), models.landmarks),
        "two looks": lambda frame, box: mediapipe.person_in_box(frame, box, models.landmarks),
    }
    ways["one look"](*(people[0][0], people[0][1].box_xyxy_px))  # loads the model
    for way, look in ways.items():
        start = time.process_time()
        seen = [look(frame, person.box_xyxy_px) for frame, person in people]
        milliseconds = 1000 * (time.process_time() - start) / len(people)
        print(f"{way} into true boxes: {milliseconds:.0f} ms a person")
        labelled = [pair for pair in zip(seen, (person for _, person in people), strict=True) if joints(pair[1]) >= MIN_JOINTS]
        print_values(f"  OKS of people with {MIN_JOINTS} labelled joints or more", [similarity(*pair) for pair in labelled])
        masks = [(each.mask, person.mask) for each, (_, person) in zip(seen, people, strict=True) if person.mask is not None]
        print_values("  IoU of masks", [iou(*pair) for pair in masks])


def joints(person: Annotation) -> int:
    return int((person.keypoints_px[:, 2] > 0).sum())


def similarity(seen: Person, true: Annotation) -> float:
    """OKS of all keypoints, however confident."""
    found = seen.keypoints_px.copy()
    found[:, 2] = 1
    return float(object_keypoint_similarity(found[None], true.keypoints_px[None], np.array([true.area_px]))[0])


def judge_video(frames: Sequence[np.ndarray], models: mediapipe.Models, selfie: Path) -> None:
    """Print how masks in the video agree with background subtraction, how often somebody is found, and the time of a frame."""
    start = time.process_time()
    found = [person for _, person in mediapipe.person_in_clip(frames, models)]
    print(f"\nvideo of {len(frames)} frames: {1000 * (time.process_time() - start) / len(frames):.0f} ms a frame")
    looked_at = range(0, len(frames), EVERY)
    scores = background.person_masks(np.stack([frames[number] for number in looked_at]), np.stack(frames[:EMPTY_FRAMES]))
    true = {number: score >= 0.5 for number, score in zip(looked_at, scores, strict=True)}
    people = [number for number, mask in true.items() if PERSON_SHARE[0] <= mask.mean() <= PERSON_SHARE[1]]
    empty = [number for number, mask in true.items() if mask.mean() < EMPTY_SHARE]
    seen = {number: found[number] for number in looked_at}
    ways: dict[str, Callable[[int], Any]] = {
        "the person followed": lambda number: each.mask if (each := seen[number]) else np.zeros(true[number].shape),
        "the foreground model": lambda number: mediapipe.foreground_mask(frames[number], selfie),
    }
    for way, mask in ways.items():
        print_values(
            f"  IoU of masks with background subtraction, {way}", [iou(mask(number), true[number]) for number in people]
        )
    for where, numbers in (("with a person", people), ("empty", empty)):
        print(f"  somebody is found in {sum(seen[number] is not None for number in numbers)} of {len(numbers)} frames {where}")


def iou(score: np.ndarray, true: np.ndarray) -> float:
    mask = score >= 0.5
    return np.count_nonzero(mask & true) / max(np.count_nonzero(mask | true), 1)


def print_values(title: str, values: Sequence[float]) -> None:
    print(f"{title}: mean {np.mean(values):.3f}, median {np.median(values):.3f}, n = {len(values)}")


if __name__ == "__main__":
    main()
