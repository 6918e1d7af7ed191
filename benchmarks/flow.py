"""Frames per second and core of each flow method, at the sizes in use; and of finding the person.

python -m benchmarks.flow
"""

import time

import cv2
import numpy as np

from people.video.flow import METHODS, Config, clip_flow
from people.video.tracks import person_boxes_xyxy_px

FRAMES = 200
SIZES = (((60, 80), (60, 80)), ((120, 160), (60, 80)), ((480, 640), (60, 80)))  # computed at, stored at


def film(height: int, width: int) -> list[np.ndarray]:
    """A textured wall and a textured rectangle that crosses it."""
    rng = np.random.default_rng(0)
    wall, person = (cv2.GaussianBlur(rng.uniform(0, 255, (height, width, 3)).astype(np.uint8), (0, 0), 3) for _ in range(2))
    frames = []
    for number in range(FRAMES):
        frame, left = wall.copy(), number * width * 3 // (4 * FRAMES)
        frame[height // 4 : height, left : left + width // 6] = person[height // 4 : height, : width // 6]
        frames.append(frame)
    return frames


def main() -> None:
    print(f"{'method':10} {'frames':>9} {'computed':>9} {'stored':>7} {'frames/s and core':>18} {'with box':>9}")
    for compute_size_hw, size_hw in SIZES:
        source_hw = compute_size_hw if compute_size_hw[0] > 120 else (120, 160)
        frames = film(*source_hw)
        for method in METHODS:
            config, start = Config(method, compute_size_hw, size_hw), time.perf_counter()
            made = clip_flow(frames, config)
            flow_s = time.perf_counter() - start
            person_boxes_xyxy_px(made.flow, made.grey)
            both_s = time.perf_counter() - start
            sizes = [f"{width}x{height}" for height, width in (source_hw, compute_size_hw, size_hw)]
            print(f"{method:10} {sizes[0]:>9} {sizes[1]:>9} {sizes[2]:>7} {FRAMES / flow_s:18.0f} {FRAMES / both_s:9.0f}")


if __name__ == "__main__":
    main()
