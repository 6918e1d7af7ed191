"""What is trained to the end after the trials: the weights that were found beside others, over several seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from people.config import Block
from people.training.loop import Epoch
from stages.search.space import PARAMS, Candidate, Space
from stages.shared.project import ERROR
from stages.shared.weights_comparison import FOUND


class Final(NamedTuple):
    """One training to the end: whose weights, from which seed, and the objective block."""

    weights: str
    seed: int
    objective: Block

    @property
    def folder(self) -> str:
        """The name of its folder: that of the weights and the seed."""
        return f"{self.weights.replace('.', '_')}-seed{self.seed}"


def finals(space: Space, best: Candidate, seed: int) -> list[Final]:
    """The final trainings: found weights, params.yaml's own, and those that `search.finals.also` names, from each seed.

    params.yaml's weights with the pipeline's seed are left out: that training is the stage train. So are found weights that are
    params.yaml's own.
    """
    seeds = range(seed, seed + space.search.finals.seeds)
    own = space.objective_block
    blocks: dict[str, Block] = {FOUND: space.objective(best.choice, best.values), PARAMS: own}
    for name in space.search.finals.also:
        candidate = space.named(name)
        blocks[name] = space.objective(candidate.choice, candidate.values)
    return [
        Final(name, one, block)
        for name, block in blocks.items()
        for one in seeds
        if not (name == FOUND and block == own) and not (name == PARAMS and one == seed)
    ]


def table(trained: Sequence[tuple[Final, Epoch, str]]) -> pd.DataFrame:
    """A row for each final training: weights, seed, epochs, and score and errors of its kept epoch on validation people."""
    columns = ["weights", "seed", "folder", "epochs", "best_epoch", "sha256", "score"]
    rows = [row(final, epoch.best, epoch.number, sha256) for final, epoch, sha256 in trained]
    return pd.DataFrame(rows, columns=None if rows else columns)


def row(final: Final, best: Mapping[str, Any], epochs: int, sha256: str) -> dict[str, Any]:
    """One row of the table."""
    return {
        "weights": final.weights,
        "seed": final.seed,
        "folder": final.folder,
        "epochs": epochs,
        "best_epoch": best["epoch"],
        "sha256": sha256,
        "score": best["validation"]["score"],
        **{f"{ERROR}{name}": value for name, value in best["validation"]["errors"].items()},
    }
