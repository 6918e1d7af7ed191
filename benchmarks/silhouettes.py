"""Frames per second and core of finding and normalising silhouettes, how well they agree with the truth, and of the student.

python -m benchmarks.silhouettes
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from people.layouts import image_files
from people.records import Take
from people.synth.motion import parametric
from people.synth.render import render
from people.video import poses
from people.video.masks import Mask, check, crop, mask_iou, to_grey
from people.video.silhouettes import Config, normalise_masks, segment_person
from stages.shared.project import params

SIZES = ((72, 96), (240, 320))
FOLDER_SIZES = ((240, 320), (980, 1280))  # CASIA-B's and OU-MVLP's masks
REPEATS = 9
VIEWS_DEG = (0.0, 54.0, 90.0)
LOOKED_AT = 1024
CONFIG = Config("background", (64, 44), False, "scaled", "")


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'':24} {'frame':>9} {'frames/s and core':>18} {'IoU':>6}")
    for size_hw in SIZES:
        clips = [film(size_hw, view_deg) for view_deg in VIEWS_DEG]
        name, frames = f"{size_hw[1]}x{size_hw[0]}", sum(len(masks) for _, masks, _ in clips)
        for known in (True, False):
            made, seconds = timed(
                lambda clips=clips, known=known: [
                    list(segment_person(seen, empty if known else [], CONFIG)) for seen, _, empty in clips
                ]
            )
            iou = np.nanmean(np.concatenate([mask_iou(found, masks) for found, (_, masks, _) in zip(made, clips, strict=True)]))
            print(f"{'empty scene known' if known else 'clip median':24} {name:>9} {frames / seconds:18.0f} {iou:6.3f}")
        pictures, seconds = timed(lambda clips=clips: [normalise_masks(masks, CONFIG) for _, masks, _ in clips])
        print(f"{'pretreatment':24} {name:>9} {frames / seconds:18.0f}")
    for size_hw in FOLDER_SIZES:
        compare_folders(size_hw)
    student = poses.Config(**params("poses", "casiab"))
    silhouettes = np.resize(pictures[0].silhouette, (LOOKED_AT, 64, 44))
    network = poses.build_student(student, (64, 44)).eval()
    _, seconds = timed(lambda: [poses.predict(network, chunk, student.enlarge) for chunk in np.split(silhouettes, 8)])
    print(f"{'student':24} {'44x64':>9} {LOOKED_AT / seconds:18.0f}")


def compare_folders(size_hw: tuple[int, int]) -> None:
    """From folders of PNG files to normalised silhouettes: this code, and OpenGait's steps; both give the same pixels."""
    clips = [
        [cv2.resize(mask.full(), size_hw[::-1], interpolation=cv2.INTER_NEAREST) for mask in film((240, 320), v)[1]]
        for v in VIEWS_DEG
    ]
    config, name = replace(CONFIG, method="layout", pretreatment="published"), f"{size_hw[1]}x{size_hw[0]}"
    with tempfile.TemporaryDirectory() as parent:
        root, frames = Path(parent), sum(map(len, clips))
        for clip, masks in enumerate(clips):
            files = [(f"{number:04d}.png", image_files.encode_png(mask)) for number, mask in enumerate(masks)]
            image_files.write(root / str(clip), files, packed=False)
        ours, theirs = [], []
        for _ in range(REPEATS):  # in turn, so that a change of the machine's speed meets both
            made, seconds = timed(lambda: [from_folder(root, str(clip), config) for clip in range(len(clips))])
            expected, seconds_theirs = timed(lambda: [published(root / str(clip)) for clip in range(len(clips))])
            ours.append(seconds)
            theirs.append(seconds_theirs)
        for silhouettes, same in zip(made, expected, strict=True):
            np.testing.assert_array_equal(silhouettes, same)
    for way, times in (("PNG folder", ours), ("PNG folder, OpenGait", theirs)):
        print(f"{way:24} {name:>9} {frames / np.median(times):18.0f}")
    print(f"{'time, of OpenGait':24} {name:>9} {np.median(np.divide(ours, theirs)):18.2f}")


def from_folder(root: Path, location: str, config: Config) -> np.ndarray:
    """The silhouettes of a folder of masks, as the stage makes them."""
    masks = to_grey(image_files.stored_images(root, location))
    check(masks)
    return normalise_masks(masks, config).silhouette


def published(folder: Path) -> np.ndarray:
    """The same by the steps of OpenGait's pretreatment, and of its loader, which cuts ten of 64 columns on each side."""
    silhouettes = []
    for path in sorted(folder.iterdir()):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None or image.sum() <= 10_000:
            continue
        rows = image.sum(axis=1)
        top, bottom = (rows != 0).argmax(axis=0), (rows != 0).cumsum(axis=0).argmax(axis=0)
        image = image[top : bottom + 1, :]
        ratio = image.shape[1] / image.shape[0]
        image = cv2.resize(image, (int(64 * ratio), 64), interpolation=cv2.INTER_CUBIC)
        sums, centre = image.sum(axis=0).cumsum(), image.shape[1] // 2
        for column, so_far in enumerate(sums):
            if so_far > image.sum() / 2:
                centre = column
                break
        left, right = centre - 32, centre + 32
        if left <= 0 or right >= image.shape[1]:
            left, right = left + 32, right + 32
            margin = np.zeros((image.shape[0], 32))
            image = np.concatenate([margin, image, margin], axis=1)
        silhouettes.append(image[:, left:right].astype("uint8")[:, 10:-10])
    return np.stack(silhouettes)


def film(size_hw: tuple[int, int], view_deg: float) -> tuple[list[np.ndarray], list[Mask], list[np.ndarray]]:
    """Frames of somebody who walks, their true masks, and frames of the scene when the person is far away."""
    motion = parametric.motions(1, walks=1, frames=24, frame_rate_hz=25.0, seed=2)[0]
    take = Take("001", "nm-01", motion, "normal", 0, view_deg, identity_seed=3, seed=4)
    seen = list(render(take, size_hw=size_hw))
    behind = motion.joints_m + np.float32([0, 0, -50])
    away = Take("001", "bkgrd", type(motion)(**{**vars(motion), "joints_m": behind}), "normal", 0, view_deg, 3, 5)
    empty = [frame.frame_rgb for frame in render(away, size_hw=size_hw)]
    return [frame.frame_rgb for frame in seen], [crop(255 * frame.mask.astype(np.uint8)) for frame in seen], empty[:8]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and the seconds of processor time that it took."""
    start = time.process_time()
    made = work()
    return made, time.process_time() - start


if __name__ == "__main__":
    main()
