"""Where a training's batches are made: on the device or on the host, and by how many processes."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
import torch
import toy_system

from people.training import loop, train_config
from people.training.fabric import launch
from people.training.loader import one_ahead
from people.training.train_config import Loading, resolve_loading

GIB = 2**30
CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A made-up machine: its cores and its GPU's memory."""

    def made(*, cores: int = 17, free: int = 10 * GIB, reserved: int = 0, allocated: int = 0) -> None:
        monkeypatch.setattr(train_config, "available_cores", lambda: cores)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 * GIB))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated)

    made()
    return made


def resolved(nbytes: int, device: torch.device, *, processes: int = 1, **changes: Any) -> Loading:
    config = toy_system.config(**{"loader_workers": "auto", "data_on_device": "auto", **changes})
    return resolve_loading(config, nbytes, device, processes=processes)


@pytest.mark.parametrize(("nbytes", "on_device"), [(5 * GIB, True), (5 * GIB + 1, False)])
def test_data_go_to_a_gpu_if_they_fill_at_most_half_of_its_free_memory(machine: Any, nbytes: int, on_device: bool):
    assert resolved(nbytes, GPU).on_device == on_device


def test_memory_that_pytorch_keeps_of_an_earlier_training_is_free(machine: Any):
    machine(free=GIB, reserved=12 * GIB, allocated=3 * GIB)
    assert resolved(5 * GIB, GPU).on_device
    assert not resolved(5 * GIB + 1, GPU).on_device


def test_a_cpu_keeps_its_data_in_the_store_and_makes_its_batches_itself(machine: Any):
    assert resolved(1, CPU) == Loading(on_device=False, workers=0)
    assert resolved(1, CPU, loader_workers=3) == Loading(on_device=False, workers=3)


@pytest.mark.parametrize("device", [CPU, GPU])
def test_what_is_set_is_done_on_every_device(machine: Any, device: torch.device):
    assert resolved(50 * GIB, device, data_on_device=True, loader_workers=3) == Loading(on_device=True, workers=0)
    assert resolved(1, device, data_on_device=False, loader_workers=3) == Loading(on_device=False, workers=3)


@pytest.mark.parametrize(
    ("cores", "processes", "workers"), [(1, 1, 0), (2, 1, 1), (8, 1, 7), (64, 1, 8), (64, 4, 2), (64, 3, 2), (4, 8, 0)]
)
def test_all_cores_but_one_feed_the_gpus_and_no_more_than_eight(machine: Any, cores: int, processes: int, workers: int):
    machine(cores=cores)
    assert resolved(50 * GIB, GPU, processes=processes) == Loading(on_device=False, workers=workers)


def test_the_cores_are_those_that_this_process_may_use():
    assert train_config.available_cores() >= 1


@pytest.mark.parametrize(
    "batches",
    [{"samples": 32}, {"identities": 4, "samples_each": 25, "per_epoch": 3}],
    ids=["once", "again and again"],
)
def test_data_on_the_device_change_nothing(batches: dict[str, Any]):
    fabric = launch(toy_system.config())

    def curve(**changes: Any) -> pd.DataFrame:
        config = toy_system.config(batches=batches, epochs=2, **changes)
        return list(loop.fit(toy_system.problem(), config, seed=1, fabric=fabric))[-1].history

    pd.testing.assert_frame_equal(curve(data_on_device=True), curve(data_on_device=False), check_exact=True)


def test_a_run_that_was_killed_goes_on_where_another_choice_is_made(machine: Any):
    problem, config = toy_system.problem(), toy_system.config(data_on_device="auto", loader_workers="auto")
    key = loop.run_key(problem, config, 1)
    machine(free=0, cores=1)
    assert loop.run_key(problem, config, 1) == key


def test_one_batch_ahead_keeps_the_order_and_makes_no_more_than_one_too_many() -> None:
    made = []

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        for number in range(5):
            made.append(number)
            yield {"number": torch.tensor(number)}

    assert [int(batch["number"]) for batch in one_ahead(batches())] == [0, 1, 2, 3, 4]
    made.clear()
    some = one_ahead(batches())
    next(some)
    some.close()  # as a training that fails does
    assert len(made) <= 2


def test_one_batch_ahead_raises_what_a_batch_raises_at_its_place() -> None:
    def batches() -> Iterator[dict[str, torch.Tensor]]:
        yield {"number": torch.tensor(0)}
        raise ValueError("the second batch cannot be read")

    ahead = one_ahead(batches())
    assert int(next(ahead)["number"]) == 0
    with pytest.raises(ValueError, match="second batch"):
        next(ahead)
