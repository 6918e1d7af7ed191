"""The training loop, on a system of eight numbers: it learns, it is told when it fails, and no kill changes what it learns."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import killable
import pandas as pd
import pytest
import torch
import toy_system
from lightning_fabric import Fabric
from torch import nn

from people.storage import write_atomic
from people.storage.serialization import serialize
from people.training import loop, resume, train_config
from people.training.fabric import launch
from people.training.loader import InOrder
from people.training.step import Step
from people.training.system import Phase, Problem, Samples
from people.training.task_weights import METHODS


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return launch(toy_system.config())


@pytest.fixture
def fit(fabric: Fabric) -> Callable[..., list[loop.Epoch]]:
    def run(problem: Problem | None = None, folder: Path | None = None, **changes: Any) -> list[loop.Epoch]:
        problem = problem or toy_system.problem()
        return list(loop.fit(problem, toy_system.config(**changes), seed=1, fabric=fabric, checkpoint_folder=folder))

    return run


def train(dropout: float, devices: int, kill_at: tuple[int, int], weighting: str = "fixed") -> None:
    """In a process of its own: train with the state in ./state, keep the best checkpoint of every rank and the curve."""
    config = toy_system.config(devices=devices, batches={"samples": 30})
    fabric, done_epochs, epoch = launch(config), 0, None

    def on_step(done: int, steps: int) -> None:
        if (done_epochs + 1, done) == kill_at:
            killable.kill_now()

    problem = toy_system.problem(dropout=dropout, weighting=weighting)
    for epoch in loop.fit(problem, config, seed=1, fabric=fabric, checkpoint_folder=Path("state"), on_step=on_step):
        done_epochs = epoch.number
        print("replayed" if epoch.replayed else "trained", epoch.number, flush=True)
    assert epoch is not None
    write_atomic(Path(f"best-{fabric.global_rank}.pt"), serialize(epoch.best))
    if fabric.is_global_zero:
        epoch.history.to_csv("history.csv", index=False)


def test_people_are_told_apart_after_training(fit):
    epochs = fit(epochs=12)
    assert epochs[-1].metrics["train/identity"] < 0.5 * epochs[0].metrics["train/identity"]
    assert epochs[-1].metrics["error/identity"] < 0.3


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(fit, fabric: Fabric):
    one, same = fit()[-1], fit()[-1]
    assert serialize(one.best) == serialize(same.best)
    (*_, other) = loop.fit(toy_system.problem(), toy_system.config(), seed=2, fabric=fabric)
    assert not one.history.equals(other.history)


def test_loader_processes_change_nothing(fit):
    in_process, with_workers = fit()[-1], fit(loader_workers=1)[-1]
    pd.testing.assert_frame_equal(in_process.history, with_workers.history, check_exact=True)


def test_a_run_that_is_killed_in_mid_epoch_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert killable.exit_code(killable.start(train, killed, 0.2, 1, (3, 2))) == killable.KILLED
    assert (killed / "output").read_text().split() == ["trained", "1", "trained", "2"]
    assert killable.exit_code(killable.start(train, killed, 0.2, 1, (0, 0))) == 0
    resumed = (killed / "output").read_text().split()[4:]
    assert resumed == ["replayed", "1", "replayed", "2", "trained", "3", "trained", "4"]
    assert killable.exit_code(killable.start(train, whole, 0.2, 1, (0, 0))) == 0
    for name in ("best-0.pt", "history.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    # the newest weights and momenta too, not those of the best epoch alone
    newest, newest_whole = (folder / "state" / loop.STATE_FILE for folder in (killed, whole))
    assert newest.read_bytes() == newest_whole.read_bytes()


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty", "dynamic_weight_average", "random"])
def test_two_processes_follow_the_curve_of_one_and_have_equal_weights(tmp_path: Path, weighting: str):
    both, port = tmp_path / "both", str(killable.free_port())
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    ranks = [killable.start(train, both, 0.0, 2, (0, 0), weighting, LOCAL_RANK=str(rank), **shared) for rank in (0, 1)]
    alone = killable.start(train, tmp_path / "alone", 0.0, 1, (0, 0), weighting)
    assert [killable.exit_code(process) for process in (*ranks, alone)] == [0, 0, 0], (both / "output").read_text()
    assert (both / "best-0.pt").read_bytes() == (both / "best-1.pt").read_bytes()
    curve, curve_alone = (pd.read_csv(folder / "history.csv") for folder in (both, tmp_path / "alone"))
    pd.testing.assert_frame_equal(curve, curve_alone, rtol=1e-3)


def test_leaving_the_loop_ends_the_training_and_a_later_one_goes_on(fit, fabric: Fabric, tmp_path: Path):
    for epoch in loop.fit(toy_system.problem(), toy_system.config(), seed=1, fabric=fabric, checkpoint_folder=tmp_path):
        if epoch.number == 2:
            break
    later = fit(folder=tmp_path)
    assert [epoch.replayed for epoch in later] == [True, True, False, False]
    assert serialize(later[-1].best) == serialize(fit()[-1].best)


def test_the_kept_checkpoint_is_that_of_the_best_epoch_on_validation_subjects(fit):
    epochs = fit(epochs=8, learning_rate=0.3)
    best = max(epochs, key=lambda epoch: (epoch.metrics["score"], -epoch.number))
    assert epochs[-1].best["epoch"] == best.number
    assert epochs[-1].best["validation"]["score"] == best.metrics["score"]
    assert [epoch.number for epoch in epochs if epoch.is_best][-1] == best.number
    network = toy_system.Network(toy_system.ModelConfig(16, 0.2), {"subjects": toy_system.SUBJECTS}).eval()
    network.load_state_dict(epochs[-1].best["network"])
    problem = toy_system.problem()
    with torch.no_grad():
        batch = problem.validation.batch(range(120), spec=problem.spec, statistics=problem.statistics, augment=None)
        assert toy_system.validate(network(batch), batch)["score"] == pytest.approx(best.metrics["score"], abs=1e-6)


def test_a_checkpoint_is_read_without_running_what_it_brings_along(fit, tmp_path: Path):
    (tmp_path / "checkpoint.pt").write_bytes(serialize(fit()[-1].best))
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert {"system", "config", "spec", "statistics", "network", "objective", "epoch", "validation"} == set(checkpoint)


def test_the_learning_rate_falls_once_the_main_error_has_stuck(fit):
    stuck = toy_system.Samples(shift=3)  # other people than those trained on: the identification cannot improve for long
    rates = [epoch.metrics["learning_rate"] for epoch in fit(toy_system.problem(validation=stuck), epochs=8)]
    assert rates[0] == 0.05
    assert rates[-1] == pytest.approx(0.05 * 0.1 ** round(torch.tensor(0.05 / rates[-1]).log10().item()))
    assert rates[-1] < 0.05


def test_a_stopped_task_weighs_nothing_from_then_on(fit):
    threshold_that_anything_passes = {"window_epochs": 2, "threshold": 1e-9}
    unknown_ages = toy_system.Samples(shift=1)
    unknown_ages.ages = unknown_ages.ages + 40  # the training error falls, the validation error stays far above it
    epochs = fit(toy_system.problem(validation=unknown_ages), epochs=5, task_stopping=threshold_that_anything_passes)
    assert [epoch.metrics["lambda/age"] for epoch in epochs] == [0.1, 0.1, 0.1, 0.0, 0.0]
    assert all(epoch.metrics["lambda/identity"] == 1.0 for epoch in epochs)
    last = epochs[-1].metrics
    assert last["train/total"] == pytest.approx(last["train/identity"])


def test_a_loss_that_is_no_number_names_epoch_step_and_term(fit):
    broken = toy_system.Samples(shift=1)
    broken.ages[7] = torch.inf
    with pytest.raises(loop.Diverged, match=r"epoch 1, step \d: age must be a finite number, got inf; lower"):
        fit(toy_system.problem(train=broken))


def test_nothing_is_kept_of_an_epoch_that_diverged(fit, tmp_path: Path):
    broken = toy_system.Samples(shift=1)
    broken.ages[7] = torch.nan
    with pytest.raises(loop.Diverged):
        fit(toy_system.problem(train=broken), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_named(split: str):
    with pytest.raises(ValueError, match=f"the split '{split}' has no samples"):
        toy_system.problem(**{split: toy_system.Samples(shift=1, subjects=0)})


@pytest.fixture
def state_file(fit, tmp_path: Path) -> Path:
    fit(folder=tmp_path, epochs=2)
    return tmp_path / loop.STATE_FILE


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "half-written or damaged"),
        (lambda content: content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:], "half-written or damaged"),
        (lambda content: b"PK something else", "is not a state file"),
        (lambda content: b"", "is not a state file"),
    ],
)
def test_a_damaged_state_is_refused_and_says_what_to_delete(
    fit, state_file: Path, damage: Callable[[bytes], bytes], reason: str
):
    state_file.write_bytes(damage(state_file.read_bytes()))
    with pytest.raises(ValueError, match=f"{reason}.*delete {state_file.parent}"):
        fit(folder=state_file.parent, epochs=2)


def test_a_state_is_never_taken_for_another_run_s(fit, state_file: Path):
    for changed in ({"epochs": 2, "learning_rate": 0.04}, {"epochs": 3}):
        with pytest.raises(ValueError, match="belongs to run"):
            fit(folder=state_file.parent, **changed)
    with pytest.raises(ValueError, match="belongs to run"):
        fit(toy_system.problem(data_digest="other data"), folder=state_file.parent, epochs=2)


def test_a_kill_while_the_state_is_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "state.pt"
    resume.save(path, {"epoch": 1}, "a run")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        resume.save(path, {"epoch": 2}, "a run")
    assert resume.load(path, "a run") == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_equal_states_are_equal_bytes_however_they_share_their_parts():
    name, weights = "identity", torch.arange(6.0).reshape(2, 3)
    shared = {"first": [name, weights], "second": {name: weights}}
    apart = {"first": ["".join(["iden", "tity"]), weights.clone()], "second": {"identity": weights.t().contiguous().t()}}
    assert serialize(shared) == serialize(apart)


def test_the_shares_of_all_ranks_together_are_every_index_once_and_equally_long():
    for count, batch_size, world in [(7, 4, 1), (7, 4, 2), (8, 4, 3), (2, 4, 3)]:
        shares = [[i for batch in InOrder(count, batch_size, rank=rank, world=world) for i in batch] for rank in range(world)]
        assert len({len(share) for share in shares}) == 1
        interleaved = [share[row] for row in range(len(shares[0])) for share in shares]
        assert interleaved[:count] == list(range(count))


def test_losses_are_computed_in_float32_also_where_the_network_is_not(fit):
    fabric = launch(toy_system.config(precision="bf16-mixed"))
    config = toy_system.config(precision="bf16-mixed", epochs=2)
    (_, last) = loop.fit(toy_system.problem(), config, seed=1, fabric=fabric)  # the tiny objective asserts it
    assert last.metrics["train/identity"] != fit(epochs=2)[-1].metrics["train/identity"]


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": False}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_bf16_is_chosen_where_the_processor_multiplies_matrices_in_it(
    monkeypatch: pytest.MonkeyPatch, capabilities, expected: str
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert train_config.resolve_precision(toy_system.config(precision="auto")) == expected
    assert train_config.resolve_precision(toy_system.config(precision="32-true")) == "32-true"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("learning_rate", -0.1),
        ("weight_decay", -1e-4),
        ("clip_gradient_norm", 0.0),
        ("accelerator", "abacus"),
        ("devices", 0),
        ("precision", "16"),
        ("loader_workers", -1),
        ("loader_workers", "many"),
        ("data_on_device", "sometimes"),
    ],
)
def test_a_number_out_of_range_is_named_with_its_rule(key: str, value: Any):
    with pytest.raises(ValueError, match=rf"training\.{key} must be .*, got .*; correct params\.yaml"):
        toy_system.config(**{key: value})


@pytest.mark.parametrize(
    ("block", "value", "named"),
    [
        ("batches", {"samples": 0}, "batches.samples"),
        ("batches", {"identities": 1, "samples_each": 4, "per_epoch": 5}, "batches.identities"),
        ("batches", {"identities": 4, "samples_each": 1, "per_epoch": 5}, "batches.samples_each"),
        ("batches", {"identities": 4, "samples_each": 4, "per_epoch": 0}, "batches.per_epoch"),
        ("batches", {"pairs": 0, "across": "session", "per_epoch": 3}, "batches.pairs"),
        ("optimizer", {"name": "sgd", "momentum": 1.0}, "optimizer.momentum"),
        ("optimizer", {"name": "lion"}, "optimizer.name"),
        ("schedule", {"name": "plateau", "factor": 1.5, "patience_epochs": 1}, "schedule.factor"),
        ("schedule", {"name": "plateau", "factor": 0.5, "patience_epochs": -1}, "schedule.patience_epochs"),
        ("schedule", {"name": "milestones", "factor": 0.5, "epochs": [4, 2]}, "schedule.epochs"),
        ("schedule", {"factor": 0.5, "epochs": [4]}, "schedule.name"),
        ("task_stopping", {"window_epochs": 0, "threshold": 0.5}, "task_stopping.window_epochs"),
        ("task_stopping", {"window_epochs": 1, "threshold": 0.0}, "task_stopping.threshold"),
    ],
)
def test_a_block_s_number_out_of_range_is_named_with_its_rule(block: str, value: dict, named: str):
    with pytest.raises(ValueError, match=rf"training\.{named} must be .*, got .*; correct params\.yaml"):
        toy_system.config(**{block: value})


def test_adam_takes_the_step_that_it_takes_by_hand():
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = toy_system.config(optimizer={"name": "adam"}).optimizer.build(
        [{"params": [parameter], "weight_decay": 0.0}], 0.1
    )
    (parameter * torch.tensor([3.0, 0.5])).sum().backward()
    optimizer.step()  # the first step of Adam is the learning rate against the gradient's sign
    torch.testing.assert_close(parameter.detach(), torch.tensor([0.9, -2.1]), rtol=0, atol=1e-5)


def test_the_learning_rate_falls_after_its_milestones_whatever_the_error_also_when_the_run_was_killed(fit, tmp_path: Path):
    changes = {"schedule": {"name": "milestones", "factor": 0.5, "epochs": [1, 3]}, "optimizer": {"name": "adam"}}
    whole = fit(**changes)
    assert [epoch.metrics["learning_rate"] for epoch in whole] == pytest.approx([0.05, 0.025, 0.025, 0.0125])
    config, fabric = toy_system.config(**changes), launch(toy_system.config())
    for epoch in loop.fit(toy_system.problem(), config, seed=1, fabric=fabric, checkpoint_folder=tmp_path):
        if epoch.number == 2:
            break
    resumed = fit(folder=tmp_path, **changes)
    assert serialize(resumed[-1].best) == serialize(whole[-1].best)
    pd.testing.assert_frame_equal(resumed[-1].history, whole[-1].history, check_exact=True)


def test_without_task_stopping_every_weight_stays(fit):
    assert [epoch.metrics["lambda/age"] for epoch in fit(task_stopping=None)] == [0.1] * 4


def test_learned_weights_are_trained_without_weight_decay_saved_and_resumed(fit, fabric: Fabric, tmp_path: Path):
    learned, decay = toy_system.problem(weight=1.0, weighting="uncertainty"), {"weight_decay": 0.9, "learning_rate": 0.01}
    whole = fit(learned, task_stopping=None, **decay)
    assert whole[0].metrics["lambda/age"] == 0.5
    assert whole[-1].metrics["lambda/age"] != 0.5
    config = toy_system.config(task_stopping=None, **decay)
    for epoch in loop.fit(learned, config, seed=1, fabric=fabric, checkpoint_folder=tmp_path):
        if epoch.number == 2:
            break
    resumed = fit(learned, tmp_path, task_stopping=None, **decay)
    assert serialize(resumed[-1].best) == serialize(whole[-1].best)
    pd.testing.assert_frame_equal(resumed[-1].history, whole[-1].history, check_exact=True)


@pytest.mark.parametrize("weighting", METHODS)
def test_every_way_of_weighting_learns_and_goes_on_after_a_kill_with_the_same_bytes(
    fit, fabric: Fabric, tmp_path: Path, weighting: str
):
    problem, config = toy_system.problem(weight=1.0, weighting=weighting), toy_system.config(epochs=5)
    whole = fit(problem, epochs=5)
    assert whole[-1].metrics["train/identity"] < 0.9 * whole[0].metrics["train/identity"]
    weights = [(epoch.metrics["lambda/identity"], epoch.metrics["lambda/age"]) for epoch in whole]
    assert (weights[0] == weights[1]) == (weighting in ("fixed", "dynamic_weight_average"))
    assert (weights[1] == weights[2]) == (weighting == "fixed")
    for epoch in loop.fit(problem, config, seed=1, fabric=fabric, checkpoint_folder=tmp_path):
        if epoch.number == 3:
            break
    resumed = fit(problem, tmp_path, epochs=5)
    assert serialize(resumed[-1].best) == serialize(whole[-1].best)
    pd.testing.assert_frame_equal(resumed[-1].history, whole[-1].history, check_exact=True)
    whole_folder = tmp_path / "whole"
    fit(problem, whole_folder, epochs=5)
    assert (tmp_path / loop.STATE_FILE).read_bytes() == (whole_folder / loop.STATE_FILE).read_bytes()


@pytest.mark.parametrize("weighting", METHODS)
def test_only_ways_that_need_gradients_of_single_terms_are_refused_on_several_devices(weighting: str):
    config = toy_system.ObjectiveConfig(1.0, {"name": weighting})
    made = toy_system.Objective(config, {}).weighting
    loop.refuse_several_devices(made, 1)
    if weighting in ("gradnorm", "pcgrad", "imtl_g", "aligned_mtl"):
        with pytest.raises(ValueError, match=r"weighting combines .* 2 devices do not have: set training\.devices: 1"):
            loop.refuse_several_devices(made, 2)
    else:
        loop.refuse_several_devices(made, 2)


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "momentum": 0.9}, {"name": "adam"}])
def test_a_learned_weight_that_the_loss_does_not_move_is_not_moved_by_decay(optimizer: dict):
    config = toy_system.ObjectiveConfig(1.0, {"name": "uncertainty"})
    step = Step(nn.Linear(2, 1), toy_system.Objective(config, {}), ())
    with torch.no_grad():
        step.objective.weighting.s.fill_(1.0)
        step.network.weight.fill_(1.0)
    made = toy_system.config(optimizer=optimizer).optimizer.build(step.parameter_groups(0.5), 0.1)
    for parameter in step.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    assert step.objective.weighting.s.tolist() == [1.0, 1.0]
    assert (step.network.weight < 1).all()


IDENTITIES = {"identities": 4, "samples_each": 5, "per_epoch": 6}


def test_batches_of_people_teach_too_and_loader_processes_change_nothing(fit):
    in_process, with_workers = fit(batches=IDENTITIES, epochs=8)[-1], fit(batches=IDENTITIES, epochs=8, loader_workers=2)[-1]
    pd.testing.assert_frame_equal(in_process.history, with_workers.history, check_exact=True)
    history = in_process.history["train/identity"]
    assert history.iloc[-1] < 0.7 * history.iloc[0]


def test_an_unknown_or_missing_key_fails_by_itself():
    with pytest.raises(TypeError, match="weight_dekay"):
        toy_system.config(weight_dekay=0.9)
    with pytest.raises(ValueError, match="factr"):
        toy_system.config(schedule={"name": "plateau", "factr": 0.1, "patience_epochs": 4})
    with pytest.raises(ValueError, match="momentum"):
        toy_system.config(optimizer={"name": "adam", "momentum": 0.9})
    with pytest.raises(ValueError, match="samples_each"):
        toy_system.config(batches={"identities": 4, "per_epoch": 3})
    with pytest.raises(ValueError, match=r"training\.batches must be .*got the keys people, clips"):
        toy_system.config(batches={"people": 4, "clips": 2})
    with pytest.raises(TypeError, match="epochs"):
        train_config.Config(**{key: value for key, value in toy_system.TRAINING.items() if key != "epochs"})


def test_pairs_of_one_person_in_two_sessions_teach(fit):
    epochs = fit(batches={"pairs": 10, "across": "session", "per_epoch": 6}, epochs=8)
    assert epochs[-1].metrics["train/identity"] < 0.7 * epochs[0].metrics["train/identity"]


def test_pairs_across_a_target_that_the_data_lack_are_refused(fit):
    with pytest.raises(ValueError, match=r"training\.batches\.across must be a target of the data, subject, .*, got 'clothes'"):
        fit(batches={"pairs": 4, "across": "clothes", "per_epoch": 2})


def two_phases(**second: Any) -> list[loop.Training]:
    first = toy_system.training(phase="identity", learns=("trunk", "identity"), weight=0.0, epochs=2)
    return [first, toy_system.training(phase="age", learns=("age",), epochs=3, **second)]


def test_each_phase_starts_from_the_best_of_the_one_before_and_trains_what_it_names(fabric: Fabric):
    epochs = list(loop.fit_phases(two_phases(), seed=1, fabric=fabric))
    assert [(epoch.number, epoch.phase) for epoch in epochs] == [
        (1, "identity"),
        (2, "identity"),
        *((n, "age") for n in (3, 4, 5)),
    ]
    assert epochs[-1].history["phase"].tolist() == ["identity"] * 2 + ["age"] * 3
    assert epochs[-1].history["epoch"].tolist() == [1, 2, 3, 4, 5]
    first, second = epochs[1].best["network"], epochs[-1].best["network"]
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed == {"age.weight", "age.bias"}
    assert "train/age" not in epochs[0].metrics
    assert "train/age" in epochs[-1].metrics


def test_what_does_not_learn_in_a_phase_stands_still_its_dropout_and_statistics_too(fabric: Fabric):
    problem = toy_system.problem(learns=("age",))
    run = loop._Run(problem, toy_system.config(), 1, fabric)
    run.module.train()
    modes = {name: module.training for name, module in run.step.network.named_modules()}
    assert not modes["trunk"]
    assert not modes["trunk.2"]
    assert not modes["identity"]
    assert modes["age"]
    assert {name for name, weights in run.step.network.named_parameters() if weights.requires_grad} == {
        "age.weight",
        "age.bias",
    }


def test_a_killed_training_in_phases_goes_on_in_its_phase(fabric: Fabric, tmp_path: Path):
    *_, uninterrupted = loop.fit_phases(two_phases(), seed=1, fabric=fabric)
    for epoch in loop.fit_phases(two_phases(), seed=1, fabric=fabric, checkpoint_folder=tmp_path):
        if epoch.number == 4:
            break
    resumed = list(loop.fit_phases(two_phases(), seed=1, fabric=fabric, checkpoint_folder=tmp_path))
    assert [epoch.replayed for epoch in resumed] == [True] * 4 + [False]
    assert serialize(resumed[-1].best) == serialize(uninterrupted.best)
    pd.testing.assert_frame_equal(resumed[-1].history, uninterrupted.history, check_exact=True)


def train_in_phases(devices: int) -> None:
    """In a process of its own: two phases, in the first of which the head of age has no gradient; keep the best checkpoint."""
    first, second = two_phases(batches={"samples": 30})
    phases = [loop.Training(replace(first.problem, learns=()), toy_system.config(devices=devices, epochs=2)), second]
    fabric = launch(phases[0].config, in_phases=True)
    *_, epoch = loop.fit_phases(phases, seed=1, fabric=fabric)
    write_atomic(Path(f"best-{fabric.global_rank}.pt"), serialize(epoch.best))


def test_processes_train_in_phases_though_a_head_has_no_gradient(tmp_path: Path):
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(killable.free_port()), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    ranks = [killable.start(train_in_phases, tmp_path, 2, LOCAL_RANK=str(rank), **shared) for rank in (0, 1)]
    assert [killable.exit_code(process) for process in ranks] == [0, 0], (tmp_path / "output").read_text()
    assert (tmp_path / "best-0.pt").read_bytes() == (tmp_path / "best-1.pt").read_bytes()


def test_dropout_before_layers_that_learn_is_at_work_where_another_head_stands_still(fabric: Fabric):
    run = loop._Run(toy_system.problem(learns=("trunk", "age")), toy_system.config(), 1, fabric)
    run.module.train()
    modes = {name: module.training for name, module in run.step.network.named_modules()}
    assert modes["trunk.2"]
    assert not modes["identity"]


@pytest.mark.parametrize(
    ("block", "reason"),
    [({"learns": "trunk"}, "a list of beginnings"), ({"training": {"precision": "32-true"}}, "without devices or precision")],
)
def test_a_phase_that_cannot_be_as_it_is_asked_for_is_refused(block: dict[str, Any], reason: str):
    with pytest.raises(ValueError, match=rf"training\.phases, first: \w+ must be {reason}"):
        Phase(name="first", **block)


def test_the_statistics_are_part_of_what_a_result_follows_from():
    problem, config = toy_system.problem(), toy_system.config()
    other = replace(problem, statistics={"mean": problem.statistics["mean"] + 1})
    assert loop.run_key(problem, config, 1) != loop.run_key(other, config, 1)


def test_the_phase_before_is_part_of_what_a_phase_s_result_follows_from():
    first, second = two_phases()
    key = loop.run_key(second.problem, second.config, 1)
    started = {"network": {"weight": torch.zeros(2)}}
    assert key != loop.run_key(replace(second.problem, start=started), second.config, 1)
    other_first = toy_system.training(phase="identity", learns=("trunk", "identity"), weight=0.0, epochs=3)
    assert loop.phases_key([first, second], 1) != loop.phases_key([other_first, second], 1)


def test_a_name_of_a_parameter_that_is_not_there_is_refused(fit):
    with pytest.raises(ValueError, match="'agee' in `learns` begins no parameter's name; there are trunk"):
        fit(toy_system.problem(learns=("agee",)))


@pytest.mark.parametrize(("sizes", "count", "start"), [([4, 4, 4], 4, 2), ([4, 4, 4], 5, 1), ([4, 4, 3], 100, 0), ([], 3, 0)])
def test_the_training_error_is_that_of_the_last_batches_with_as_many_samples_as_are_validated(sizes, count, start):
    assert loop.tail_start(sizes, count) == start


def test_the_toy_s_samples_keep_the_contract():
    assert isinstance(toy_system.Samples(shift=1), Samples)
