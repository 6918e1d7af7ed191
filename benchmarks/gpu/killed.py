"""A training that waits to be killed in its second epoch.

python -m benchmarks.gpu.killed SYSTEM SIZE DEVICE PRECISION FOLDER STATE
"""

import sys
import time
from pathlib import Path

from benchmarks.gpu import workloads
from people.training import loop
from people.training.fabric import launch

EPOCHS, STEPS = 2, 4
READY = "the second epoch has begun"


def main() -> None:
    system, size, device, precision, folder, state = sys.argv[1:]
    workload = workloads.make(system, size, Path(folder), device, STEPS)
    config = workload.config(epochs=EPOCHS, precision=precision)

    def on_step(done: int, steps: int) -> None:
        if Path(state, loop.STATE_FILE).exists():  # written after the first epoch
            print(READY, flush=True)
            time.sleep(600)

    for _ in loop.fit(
        workload.problem, config, seed=workloads.SEED, fabric=launch(config), checkpoint_folder=Path(state), on_step=on_step
    ):
        pass


if __name__ == "__main__":
    main()
