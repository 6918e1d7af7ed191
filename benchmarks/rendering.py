"""How many frames a second one core renders: python -m benchmarks.rendering"""

import os
import time

import cv2

from people.records import Take
from people.synth.motion.parametric import motions
from people.synth.render import render


def frames_per_second(size_hw: tuple[int, int], frames: int, repeats: int) -> float:
    """The fastest of some renderings of whole takes (drawing the person included), in frames per second of processor time."""
    people = motions(repeats, walks=1, frames=frames, frame_rate_hz=30, seed=1)
    fastest = float("inf")
    for i, motion in enumerate(people):
        take = Take(motion.subject_id, "n01", motion, "normal", 0, 90.0, identity_seed=i, seed=i)
        start = time.process_time()
        count = sum(1 for _ in render(take, size_hw=size_hw))
        fastest = min(fastest, (time.process_time() - start) / count)
    return 1 / fastest


def main() -> None:
    """Prints a line per image size."""
    cv2.setNumThreads(1)
    for size_hw, frames, repeats in (((120, 160), 60, 8), ((240, 320), 30, 4), ((480, 640), 16, 4)):
        rate = frames_per_second(size_hw, frames, repeats)
        print(f"{size_hw[1]}x{size_hw[0]}: {rate:.0f} frames/s on one of {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
