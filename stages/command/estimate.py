"""About how long stages take on this machine: seconds on a reference machine, times the sizes in params.yaml, times its speed.

The reference is two cores of an AMD EPYC with AVX-512 BF16 and nothing else to do. A stage takes some seconds to begin
(`FIXED_S`, or `NETWORK_FIXED_S` where PyTorch, MLflow or Optuna are loaded) and the rest in proportion to its size; a size
has no unit, only its ratio to the reference's matters. `python -m benchmarks.estimate` prints the table after a run of
everything.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from stages.command.plan import environment

Block = Mapping[str, Any]


class Measured(NamedTuple):
    """A stage on the reference machine: the seconds that its size takes, beside the fixed ones, and that size."""

    seconds: float
    size: float


STEP_S, FRAME_S, CORES, THREADS = 0.0183, 0.00208, 2, 2  # of the reference machine: `stages.command.calibration`
SCALING = 0.7  # a training on n threads is n ** SCALING times as fast: small networks gain little from many
MOST_THREADS = 8  # and nothing from more
FIXED_S = 4.0  # to start a stage and to hash its outputs
NETWORK_FIXED_S = 8.0  # the same of a stage in `NETWORK`
UNKNOWN_S = 10.0  # of a stage that is not in the table, whatever its size
RENDERING = ("ingest", "validate", "flow", "silhouettes", "crops", "foregrounds", "scenes")  # on all cores, without training
OWN_BLOCKS = {"compare": "compare", "tune": "search"}  # what these stages read beside their system's block
TRAINING = ("train", "compare", "tune")  # whose sizes are counted alike, in what a training takes
NETWORK = (*TRAINING, "evaluate", "register")  # which load PyTorch and more

REFERENCE = {
    "ingest@tumgaid": Measured(34, 2.831e07),
    "ingest@casiab": Measured(22, 1.204e07),
    "ingest@market1501": Measured(14, 4.393e07),
    "ingest@fvg": Measured(18, 8.921e06),
    "ingest@coco": Measured(10, 2.611e07),
    "validate@tumgaid": Measured(3, 2304),
    "validate@casiab": Measured(2, 2240),
    "validate@market1501": Measured(1, 1200),
    "validate@fvg": Measured(1, 1056),
    "validate@coco": Measured(1, 340),
    "flow@tumgaid": Measured(23, 1.106e07),
    "silhouettes@casiab": Measured(14, 6.308e06),
    "silhouettes@fvg": Measured(8, 2.163e06),
    "poses@casiab": Measured(20, 2240),
    "crops@market1501": Measured(1, 9.83e06),
    "foregrounds@fvg": Measured(4, 2.163e06),
    "scenes@coco": Measured(1, 1.469e07),
    "train@dmt": Measured(38, 4.293e12),
    "train@gaittake": Measured(31, 9.602e10),
    "train@reid": Measured(30, 1.027e12),
    "train@gaitnet": Measured(38, 1.07e12),
    "train@multipose": Measured(38, 4.706e09),
    "evaluate@dmt": Measured(5, 7.454e09),
    "evaluate@gaittake": Measured(1, 2e08),
    "evaluate@reid": Measured(1, 2.228e09),
    "evaluate@gaitnet": Measured(2, 8.556e09),
    "evaluate@multipose": Measured(6, 2.621e07),
    "register@dmt": Measured(8, 1),
    "register@gaittake": Measured(12, 1),
    "register@reid": Measured(7, 1),
    "register@gaitnet": Measured(10, 1),
    "register@multipose": Measured(21, 1),
    "report@dmt": Measured(5, 1),
    "report@gaittake": Measured(3, 1),
    "report@reid": Measured(4, 1),
    "report@gaitnet": Measured(6, 1),
    "report@multipose": Measured(6, 1),
}


def seconds(stages: Iterable[str], params: Block, speed: Mapping[str, float] | None = None) -> dict[str, float]:
    """The seconds of each stage; `speed`: the machine's, as `measuring` gives it, or None for the reference machine."""
    core, training = 1.0, 1.0
    cores = float(CORES)
    if speed is not None:
        core, cores = speed["frame_s"] / FRAME_S, speed["cores"]
        training = speed["step_s"] / STEP_S * (THREADS / min(speed["threads"], MOST_THREADS)) ** SCALING
    estimates = {}
    for stage in stages:
        kind, _, key = stage.partition("@")
        measured = REFERENCE.get(f"train@{key}" if kind in TRAINING else stage)
        own_s = measured.seconds * size(stage, params) / measured.size if measured else UNKNOWN_S
        estimates[stage] = fixed_s(kind) * core + own_s * (core * CORES / cores if kind in RENDERING else training)
    return estimates


def fixed_s(kind: str) -> float:
    """The seconds that a stage takes on the reference machine whatever its size."""
    return NETWORK_FIXED_S if kind in NETWORK else FIXED_S


@contextmanager
def measuring() -> Iterator[Callable[[], dict[str, float]]]:
    """A process that measures the speed of this machine: the function that this gives tells it to begin, and returns the speed.

    What it imports, which takes most of its time, it has imported meanwhile.
    """
    command, pipe = [sys.executable, "-m", "stages.command.calibration", "--when-told"], subprocess.PIPE
    variables = environment(PEOPLE_DIE_WITH_PARENT="1")
    with subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:

        def measured() -> dict[str, float]:
            printed, errors = process.communicate("begin\n")
            if process.returncode:
                raise ValueError(f"the speed of this machine could not be measured:\n{errors.strip()}")
            return json.loads(printed.splitlines()[-1])

        try:
            yield measured
        finally:
            process.kill()


def size(stage: str, params: Block) -> float:
    """The size of a stage by params.yaml; 1 where the stage's blocks are not there."""
    kind, _, key = stage.partition("@")
    block = params.get("datasets", {}).get(key)
    if block is not None:
        own = (params.get(kind) or {}).get(key) or {}
        return frames(block) * _pixels_of_frames(kind, block, own)
    system = params.get("systems", {}).get(key)
    dataset, own = params["datasets"].get((system or {}).get("dataset")), params.get(OWN_BLOCKS.get(kind, ""), {}).get(key)
    if not system or not dataset or (kind in OWN_BLOCKS and not own):
        return 1.0  # the stage will name what params.yaml lacks
    return _size_of_system(kind, system, dataset, own or {})


def _pixels_of_frames(kind: str, block: Block, own: Block) -> float:
    """The pixels of each frame that a stage computes; 1 for a stage that only reads labels."""
    if kind == "ingest":
        return math.prod(block["size_hw"])
    if kind in ("validate", "poses"):
        return 1.0
    return math.prod(own.get("compute_size_hw") or own.get("size_hw") or [1])


def frames(block: Block) -> float:
    """Frames of a rendered dataset, in proportion: people, walks of so many frames, views; or scenes."""
    if "scenes" in block:
        return sum(block["scenes"].values())
    people = sum(count for count in block["subjects"].values() if not isinstance(count, Mapping))
    seen = len(block.get("views_deg") or []) or block.get("cameras") or 1
    return people * seen * (1 if "photos_per_camera" in block else block["frames_per_sequence"])


def _size_of_system(kind: str, system: Block, dataset: Block, own: Block) -> float:
    training = epochs_of_training(system) * _samples(system["training"]["batches"], dataset)
    if kind == "evaluate":
        return network(system) * dataset["subjects"]["test"]
    if kind == "compare":
        trainings = (1 + len(own["select"])) * own["seeds"] * own["epochs"]
    elif kind == "tune":
        finals = max(0, own["finals"]["seeds"] * (2 + len(own["finals"]["also"])) - 1)  # found, params.yaml's: one is `train`'s
        trainings = own["trials"] * own["epochs"] + finals * system["training"]["epochs"]
    elif kind == "train":
        trainings = system["training"]["epochs"]
    else:
        return 1.0
    return network(system) * training * trainings / system["training"]["epochs"]


def epochs_of_training(system: Block) -> float:
    """The epochs of a training, over all its phases."""
    training = system["training"]
    phases = training.get("phases") or [{}]
    return sum((phase.get("training") or {}).get("epochs", training["epochs"]) for phase in phases)


def _samples(batches: Block, dataset: Block) -> float:
    """Samples of an epoch."""
    if "per_epoch" in batches:
        return batches["per_epoch"] * batches.get("pairs", 1) * batches.get("identities", 1) * batches.get("samples_each", 1)
    share = dataset["subjects"]["train"] / sum(dataset["subjects"][split] for split in ("train", "validation", "test"))
    return frames(dataset) * share


def network(system: Block) -> float:
    """What a pass through a system's network costs, in proportion: channels squared, times frames and pixels."""
    model, data = system["model"], system["data"]
    channels = model.get("widths") or model.get("channels") or 1
    squares = sum(each**2 for each in channels) if isinstance(channels, list) else channels**2
    width = model.get("width", 1) ** 2
    pixels = math.prod(data.get("size_hw") or [data.get("crop_px") or 1] * 2)
    return float(squares * width * pixels * data.get("frames", 1))
