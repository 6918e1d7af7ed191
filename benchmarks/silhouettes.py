"""Frames per second and core of finding and normalising silhouettes, how well they agree with the truth, and of the student.

python -m benchmarks.silhouettes
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from people.records import Take
from people.synth.motion import parametric
from people.synth.render import render
from people.video import poses
from people.video.silhouettes import Config, mask_iou, normalise_masks, segment_person
from stages.shared.project import params

SIZES = ((72, 96), (240, 320))
VIEWS_DEG = (0.0, 54.0, 90.0)
LOOKED_AT = 1024
CONFIG = Config("background", (64, 44), False, "")


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
    student = poses.Config(**params("poses", "casiab"))
    silhouettes = np.resize(pictures[0].silhouette, (LOOKED_AT, 64, 44))
    network = poses.build_student(student, (64, 44)).eval()
    _, seconds = timed(lambda: [poses.predict(network, chunk, student.enlarge) for chunk in np.split(silhouettes, 8)])
    print(f"{'student':24} {'44x64':>9} {LOOKED_AT / seconds:18.0f}")


def film(size_hw: tuple[int, int], view_deg: float) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Frames of somebody who walks, their true masks, and frames of the scene when the person is far away."""
    motion = parametric.motions(1, walks=1, frames=24, frame_rate_hz=25.0, seed=2)[0]
    take = Take("001", "nm-01", motion, "normal", 0, view_deg, identity_seed=3, seed=4)
    seen = list(render(take, size_hw=size_hw))
    behind = motion.joints_m + np.float32([0, 0, -50])
    away = Take("001", "bkgrd", type(motion)(**{**vars(motion), "joints_m": behind}), "normal", 0, view_deg, 3, 5)
    empty = [frame.frame_rgb for frame in render(away, size_hw=size_hw)]
    return [frame.frame_rgb for frame in seen], [255 * frame.mask.astype(np.uint8) for frame in seen], empty[:8]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and the seconds of processor time that it took."""
    start = time.process_time()
    made = work()
    return made, time.process_time() - start


if __name__ == "__main__":
    main()
