"""How many scenes of several people a second one core renders: python -m benchmarks.scenes"""

import os
import time

import cv2
import numpy as np

from people.records import ACTIVITIES, Motion, Scene, ScenePerson
from people.synth.motion.parametric import motions
from people.synth.scenes import render_scene

SIZE_HW = (240, 320)
IDENTITIES, SESSIONS, PLACES = 24, 2, 24


def draw_scene(people: list[Motion], count: int, seed: int) -> Scene:
    """A scene of `count` people in random activities, 2.5 to 20 m from the camera."""
    rng = np.random.default_rng([seed, count])
    members = []
    for _ in range(count):
        identity, frame = int(rng.integers(len(people))), int(rng.integers(len(people[0])))
        activity = ACTIVITIES[int(rng.integers(len(ACTIVITIES)))]
        away_m = float(rng.triangular(-3.5, -2.0, 14.0))
        members.append(
            ScenePerson(
                motion=people[identity].piece(frame, frame + 1),
                activity=activity,
                identity_seed=identity,
                session=int(rng.integers(SESSIONS)),
                seed=int(rng.integers(2**31)),
                view_deg=float(rng.uniform(0, 360)),
                away_m=away_m,
                right_m=float(rng.uniform(-0.35, 0.35) * (6 + away_m)),
                seat="bench" if activity == "sitting" else None,
            )
        )
    return Scene(f"{seed:09d}", tuple(members), int(rng.integers(PLACES)), seed, "train")


def scenes_per_second(people: list[Motion], count: int, scenes: int) -> float:
    """Scenes of `count` people in a second of processor time, bodies and places that are drawn once included."""
    start = time.process_time()
    for seed in range(scenes):
        render_scene(draw_scene(people, count, seed), size_hw=SIZE_HW)
    return scenes / (time.process_time() - start)


def main() -> None:
    """Prints a line per number of people."""
    cv2.setNumThreads(1)
    people = motions(IDENTITIES, walks=1, frames=30, frame_rate_hz=30, seed=1)
    for count in (4, 0, 1, 8):
        rate = scenes_per_second(people, count, 100)
        print(f"{SIZE_HW[1]}x{SIZE_HW[0]}, {count} people: {rate:.0f} scenes/s on one of {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
