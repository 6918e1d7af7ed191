"""A system's parts with their configuration checked and their data opened: what train, compare and tune start from."""

from pathlib import Path
from typing import Any

from people import checkpoints, states, systems, training
from people.video.store import Store
from stages.common import params


def prepare(name: str) -> training.Problem:
    """The problem that the blocks `data`, `model` and `objective` of a system describe, on the stores that it reads."""
    block = params("systems", name)
    data, model = systems.find(name, "data"), systems.find(name, "model")
    objective = systems.find(name, "objective")
    data_config = checkpoints.config_of(data.Config, block["data"])
    checkpoints.config_of(model.Config, block["model"])
    checkpoints.config_of(objective.Config, block["objective"])
    reads = {slot: Path(path) for slot, path in block["reads"].items()}
    train = data.open_samples(reads, data_config, "train")
    return training.Problem(
        system=name,
        model=model,
        objective=objective,
        config={part: block[part] for part in ("data", "model", "objective")},
        train=train,
        validation=data.open_samples(reads, data_config, "validation"),
        spec=data.spec(train),
        statistics=data.statistics(train),
        data_digest=states.key(**{slot: Store.open(path).digest for slot, path in reads.items()}),
    )


def recipe(name: str, **changes: Any) -> training.Config:
    """How a system is trained: its block `training`, with what a stage wants otherwise."""
    return checkpoints.config_of(training.Config, {**params("systems", name, "training"), **changes})


def merged(block: dict[str, Any], changes: dict[str, Any], where: str) -> dict[str, Any]:
    """The block with some of its values replaced, at any depth; a key that it does not have is refused."""
    result = dict(block)
    for key, value in changes.items():
        if key not in block:
            raise ValueError(
                f"{where}.{key} names nothing to change: there are {', '.join(map(str, block))}; correct params.yaml"
            )
        nested = isinstance(block[key], dict)
        if nested != isinstance(value, dict):
            raise ValueError(f"{where}.{key} must be {'a block' if nested else 'a value'} as in params.yaml, got {value!r}")
        result[key] = merged(block[key], value, f"{where}.{key}") if nested else value
    return result


def write_model(folder: Path, epoch: training.Epoch) -> None:
    """The best epoch's checkpoint and the whole curve; nothing of when or how fast they came about."""
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(states.serialized(epoch.best))
    epoch.history.to_csv(folder / "history.csv", index=False)
