"""What every system and every dataset keeps, whoever writes it: a new one is tested here before it has a test of its own."""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from ruamel.yaml import YAML
from same_batches import assert_same

from people import datasets, systems
from people.evaluation import ImageSet, PhotoSet
from people.records import Scene
from people.serving.raw_input import Preparation
from people.synth.motion import parametric
from people.synth.render import render
from people.synth.scenes import render_scene
from people.training import loop
from people.training.fabric import launch
from people.training.system import PROTOCOLS, Identifying, Samples
from people.training.task_weights import METHODS
from stages.ingest import RENDERING_KEYS
from stages.training.problem import Trainings

ROOT = Path(__file__).parent.parent
FRAME_HW = (60, 80)
WHERE_FREE = 32  # the frames, height or width of arrays of which any are served


class Built:
    """One system, built from its block in params.yaml on the samples of the small run."""

    def __init__(self, system: str, workspace: Path):
        self.name = system
        block = YAML(typ="safe").load(workspace / "params.yaml")["systems"][system]
        self.is_drawn_again = "samples" not in block["training"]["batches"]
        self.data, self.model, self.objective = (systems.find(system, part) for part in ("data", "model", "objective"))
        self.reads = {slot: workspace / path for slot, path in block["reads"].items()}
        objective_config = self.objective.Config(**block["objective"])
        self.data_config, self.tasks = self.data.Config(**block["data"]), objective_config.tasks
        self.samples = self.opened("train")
        self.spec = self.data.spec(self.samples) | {"tasks": list(self.tasks)}
        self.statistics = self.data.statistics(self.samples)
        self.model_config = self.model.Config(**block["model"])
        self.terms = self.objective.Objective(objective_config, self.spec)

    def opened(self, split: str) -> Any:
        return self.data.open_samples(self.reads, self.data_config, split, self.tasks)

    def network(self, seed: int = 0) -> torch.nn.Module:
        torch.manual_seed(seed)
        return self.model.Network(self.model_config, self.spec)

    def batch(self, indices: list[int], samples: Any = None, seed: int | None = None) -> dict[str, torch.Tensor]:
        """A batch of the training samples or of others, varied where there is a seed."""
        augment = None if seed is None else np.random.default_rng(seed)
        return (samples or self.samples).batch(indices, spec=self.spec, statistics=self.statistics, augment=augment)

    def spread(self, count: int) -> list[int]:
        return [int(i) for i in np.linspace(0, len(self.samples) - 1, count)]

    def four(self) -> list[int]:
        """The first and the last sample of each of two people: the least from which a person can be known again."""
        subject = self.samples.targets(self.spec)["subject"].tolist()
        of_two = [[index for index, label in enumerate(subject) if label == person] for person in (0, 1)]
        return [index for samples in of_two for index in (samples[0], samples[-1])]


@pytest.fixture(scope="module", params=systems.names())
def built(request: pytest.FixtureRequest, small_run: Path) -> Built:
    return Built(request.param, small_run)


@pytest.mark.parametrize("system", systems.names())
def test_a_system_has_every_part_of_the_contract_and_a_readme(system: str):
    for part, protocol in PROTOCOLS.items():
        assert isinstance(systems.find(system, part), protocol), part
    readme = (ROOT / "people/systems" / system / "README.md").read_text()
    assert len(readme.splitlines()) >= 15


def test_the_type_checker_finds_the_contract_kept(tmp_path: Path):
    lines = ["from people.training import system as contract"]
    for system in systems.names():
        for part, protocol in PROTOCOLS.items():
            lines.append(f"import people.systems.{system}.{part}")
            lines.append(f"{system}_{part}: contract.{protocol.__name__} = people.systems.{system}.{part}")
        lines.append(f"def {system}_network(made: people.systems.{system}.model.Network) -> contract.Network: return made")
        lines.append(f"def {system}_terms(made: people.systems.{system}.objective.Objective) -> contract.Terms: return made")
        lines.append(f"def {system}_samples(made: people.systems.{system}.data.Samples) -> contract.Samples: return made")
    program = tmp_path / "contract.py"
    program.write_text("\n".join(lines) + "\n")
    settings = {"extraPaths": [str(ROOT)], "pythonVersion": "3.11", "typeCheckingMode": "standard"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--project", str(tmp_path), "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_samples_and_their_targets_are_a_table(built: Built):
    assert isinstance(built.samples, Samples)
    targets = built.samples.targets(built.spec)
    assert "subject" in targets
    assert {len(values) for values in targets.values()} == {len(built.samples)}
    batch = built.batch(built.spread(5))
    for name, values in targets.items():
        for row, index in enumerate(built.spread(5)):
            torch.testing.assert_close(batch[name][row], values[index], rtol=0, atol=0, equal_nan=True)


def test_a_task_is_there_if_its_weight_is_not_0_and_then_only(built: Built, small_run: Path):
    block = YAML(typ="safe").load(small_run / "params.yaml")["systems"][built.name]["objective"]
    for task in [task for task, weight in block["lambda"].items() if weight and task in built.tasks]:
        config = built.objective.Config(**{**block, "lambda": {**block["lambda"], task: 0.0}})
        assert set(config.tasks) == set(built.tasks) - {task}
        spec = built.spec | {"tasks": list(config.tasks)}
        network, objective = built.model.Network(built.model_config, spec).train(), built.objective.Objective(config, spec)
        batch = built.batch(built.spread(12))
        outputs = network(batch)
        terms = objective(outputs, batch)
        assert set(terms) == set(objective.weighting.lambdas()) == set(config.tasks)
        objective.weighting.total(terms).backward()
        unused = [name for name, weights in network.named_parameters() if weights.grad is None]
        assert unused == [], f"without {task} the network keeps parameters that nothing trains"


def test_validation_gives_the_main_error_and_a_score(built: Built):
    samples = built.opened("validation")
    monitor = built.objective.monitor(tuple(samples.targets(built.spec)))
    for rows in np.array_split(np.arange(len(samples)), 3):
        batch = samples.batch(rows.tolist(), spec=built.spec, statistics=built.statistics, augment=None)
        with torch.no_grad():
            monitor.add(built.network().eval()(batch), batch)
    validation = monitor.result(dict)
    assert built.objective.MAIN_ERROR in validation["errors"]
    assert set(validation["errors"]) <= set(built.objective.ERRORS)
    assert np.isfinite(validation["score"])


def test_what_is_served_has_the_shapes_that_are_promised(built: Built):
    serving, network = systems.find(built.name, "serving"), built.network().eval()
    inputs, outputs = serving.shapes(network, built.spec)
    arrays = {name: np.zeros([3 if size < 0 else size for size in shape], np.float32) for name, shape in inputs.items()}
    predictions = serving.predict(network, built.statistics, arrays)
    assert set(predictions) == set(outputs)
    for name, shape in outputs.items():
        assert predictions[name].shape == (3, *shape[1:]), name


@pytest.fixture
def served(built: Built, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The system as MLflow serves it, and arrays that it may be asked."""
    monkeypatch.setattr(mlflow.models, "set_model", lambda _: None)  # what the module's import would set in this process
    served = importlib.import_module("stages.shared.mlflow_model").ServedCheckpoint()
    served.network, served.serving = built.network().eval(), systems.find(built.name, "serving")
    served.checkpoint = {"system": built.name, "statistics": built.statistics}
    inputs, _ = served.serving.shapes(served.network, built.spec)
    served.shapes, served.preparation = inputs, Preparation(served.network, served.checkpoint, {}, {})
    draw = np.random.default_rng(0)
    shapes = {name: (3, *(WHERE_FREE if size < 0 else size for size in shape[1:])) for name, shape in inputs.items()}
    return served, {name: draw.random(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_asked_of_a_served_system_is_refused_by_its_name_if_it_is_not_finite(served: Any, value: float):
    model, arrays = served
    assert all(np.isfinite(values).all() for values in model.predict(None, arrays).values())
    for name, values in arrays.items():
        changed = values.astype(np.float64)
        changed[(1, *(0,) * (values.ndim - 1))] = value
        with pytest.raises(
            MlflowException, match=rf"the input '{name}' must be finite float32 numbers, 1 of .*\(1, 0"
        ) as refused:
            model.predict(None, arrays | {name: changed})
        assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_served_network_that_has_diverged_is_refused_whatever_it_answers(served: Any, value: float):
    model, arrays = served
    with torch.no_grad():
        for weights in model.network.parameters():
            weights.fill_(value)
    with pytest.raises(MlflowException, match=r"must be finite float32 numbers|expected finite numbers"):
        model.predict(None, arrays)


def test_a_system_that_tells_people_apart_compares_what_it_predicts(built: Built):
    serving: Any = systems.find(built.name, "serving")
    if not hasattr(serving, "EMBEDDING"):
        pytest.skip(f"{built.name} tells nobody apart")
    assert isinstance(serving, Identifying)
    batch = built.batch(built.spread(4))
    with torch.no_grad():
        predicted = serving.predictions(built.network().eval()(batch))
    embedding = predicted[serving.EMBEDDING]
    distance = serving.distances(embedding[:3], embedding)
    assert distance.shape == (3, 4)
    np.testing.assert_allclose(distance[:, :3], distance[:, :3].T, atol=1e-5)
    np.testing.assert_allclose(np.diagonal(distance), 0, atol=1e-3)
    assert (distance >= -1e-6).all()
    samples = built.opened("validation")
    recording, labels = serving.recordings(samples, built.spec), samples.targets(built.spec)
    assert recording.shape == (len(samples),)
    for number in set(recording[recording >= 0].tolist()):
        assert len(set(labels["subject"].numpy()[recording == number].tolist())) == 1
    for each in serving.attributes(predicted, built.spec):
        assert each.name
        assert each.value
        assert each.probability is None or 0 <= each.probability <= 1 + 1e-6


def test_every_named_loss_term_is_finite_and_reaches_some_parameter(built: Built):
    network = built.network().train()
    batch = built.batch(built.spread(12))
    names = built.terms(network(batch), batch)
    assert set(built.terms.weighting.lambdas()) == set(names)
    for name in names:
        network.zero_grad()
        term = built.terms(network(batch), batch)[name]
        assert torch.isfinite(term), name
        term.backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters()), name


def test_every_parameter_gets_a_gradient_from_the_sum_of_the_terms(built: Built):
    network = built.network().train()
    batch = built.batch(built.spread(12))
    sum(built.terms(network(batch), batch).values()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_output_for_a_sample_does_not_depend_on_its_batch_mates(built: Built):
    network = built.network().eval()
    with torch.no_grad():
        together = network(built.batch(built.spread(5)))
        alone = [network(built.batch([index])) for index in built.spread(5)]
    for name, value in together.items():
        torch.testing.assert_close(value, torch.cat([one[name] for one in alone]), rtol=1e-4, atol=1e-5)


def test_the_network_overfits_four_samples(built: Built):
    network = built.network().train()
    batch = built.batch(built.four())
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    main = built.objective.MAIN
    first = last = built.terms(network(batch), batch)[main].item()
    for step in range(1, 481):
        optimizer.zero_grad()
        loss = built.terms(network.train()(batch), batch)[main]
        loss.backward()
        optimizer.step()
        if step % 120 == 0:  # a head with normalised logits takes longer than one without
            with torch.no_grad():
                last = built.terms(network.eval()(batch), batch)[main].item()
            if last < 0.1 * first:
                break
    assert last < 0.1 * first


def test_a_saved_network_gives_equal_outputs(built: Built, tmp_path: Path):
    network, other = built.network(seed=1).eval(), built.network(seed=2).eval()
    torch.save(network.state_dict(), tmp_path / "network.pt")
    other.load_state_dict(torch.load(tmp_path / "network.pt", weights_only=True))
    batch = built.batch(built.spread(3))
    with torch.no_grad():
        for name, value in network(batch).items():
            assert torch.equal(value, other(batch)[name]), name


def test_an_augmented_sample_is_the_same_for_the_same_seed(built: Built):
    def augmented() -> dict[str, torch.Tensor]:
        generator = np.random.default_rng(7)
        return built.samples.batch(built.spread(6), spec=built.spec, statistics=built.statistics, augment=generator)

    for name, value in augmented().items():
        torch.testing.assert_close(value, augmented()[name], rtol=0, atol=0, equal_nan=True)


def test_a_system_refuses_a_parameter_that_it_does_not_know(built: Built):
    with pytest.raises((TypeError, ValueError), match="no_such_parameter"):
        built.model.Config(**asdict(built.model_config), no_such_parameter=1)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_batches_are_the_same_where_the_data_lie_on_a_device(built: Built, split: str, device: str):
    samples = built.opened(split)
    moved, count = samples.to(device), len(samples)
    assert isinstance(moved, Samples)
    assert (len(moved), moved.nbytes) == (count, samples.nbytes)
    assert samples.nbytes > 0
    assert_same(samples.targets(built.spec), moved.targets(built.spec))
    again = [count, 1 + 2 * count, count - 1 + count] if built.is_drawn_again else []
    for indices in ([0], [count - 1, 1, 1, 0], [*range(0, count, max(1, count // 7)), *again]):
        for seed in (None, 3):
            batch = built.batch(indices, moved, seed)
            assert all(value.device.type == device for value in batch.values() if isinstance(value, torch.Tensor))
            tolerance = 0 if device == "cpu" else 1e-4  # a GPU adds and interpolates in another order
            assert_same(built.batch(indices, samples, seed), batch, tolerance=tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_host_does_not_wait_for_the_device_on_which_it_makes_batches(built: Built):
    moved = built.samples.to("cuda")
    statistics = {name: value.to("cuda") for name, value in built.statistics.items()}
    if any(isinstance(values, list) for values in moved.targets(built.spec).values()):
        pytest.skip("shapes that differ from sample to sample must be known to the host")
    try:
        for mode in ("default", "error"):  # the second time with what the first has kept
            torch.cuda.set_sync_debug_mode(mode)  # "error": an operation that waits raises
            batch = moved.batch(built.spread(6), spec=built.spec, statistics=statistics, augment=np.random.default_rng(3))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(value.is_cuda for value in batch.values())


def test_a_training_is_the_same_where_its_data_lie_on_the_device(
    built: Built, small_run: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(small_run)
    trainings = Trainings(built.name)

    def curve(data_on_device: bool) -> pd.DataFrame:
        phases = trainings.phases(epochs=1, accelerator="cpu", data_on_device=data_on_device)
        *_, last = loop.fit_phases(phases, seed=1, fabric=launch(phases[0].config))
        return last.history

    pd.testing.assert_frame_equal(curve(True), curve(False), check_exact=True)


@pytest.mark.parametrize("weighting", METHODS)
def test_every_way_of_weighting_trains_the_system(
    built: Built, small_run: Path, monkeypatch: pytest.MonkeyPatch, weighting: str
):
    monkeypatch.chdir(small_run)
    phases = Trainings(built.name).phases({"objective": {"weighting": {"name": weighting}}}, accelerator="cpu", devices=1)
    fabric = launch(phases[0].config)
    for phase in phases:
        run = loop._Run(phase.problem, phase.config, 1, fabric)
        run.module.train()
        before = [parameter.clone() for parameter in run.step.network.parameters()]
        for batch in islice(run.training.epoch(1), 3):
            if weighting == "gradnorm" and built.name == "paired":  # whose terms reach no weight together
                with pytest.raises(ValueError, match="choose another weighting"):
                    run.optimise(batch)
                return
            result, norm = run.optimise(batch)
            assert all(torch.isfinite(term) for term in (*result.terms.values(), result.loss, norm))
        run.step.objective.weighting.epoch_end({name: term.item() for name, term in result.terms.items()})
        assert all(torch.isfinite(parameter).all() for parameter in run.step.parameters())
        assert any(not torch.equal(*pair) for pair in zip(before, run.step.network.parameters(), strict=True))
        assert all(np.isfinite(weight) for weight in run.step.objective.weighting.lambdas().values())


def test_headline_figures_are_the_metrics_that_a_system_names(built: Built, small_run: Path):
    folder = small_run / "data/metrics" / built.name
    metrics = json.loads((folder / "all.json").read_text())
    figures = systems.find(built.name, "score").headline_figures(metrics)
    assert 2 <= len(figures) <= 6
    assert len({figure["name"] for figure in figures}) == len({figure["title"] for figure in figures}) == len(figures)
    for figure in figures:
        assert re.fullmatch("[a-z][a-z0-9_]*", figure["name"])
        assert figure["value"] in metrics.values()
        assert figure["unit"] in ("%", "years", "")
        assert figure["better"] in ("higher", "lower")
        assert (figure["baseline"] is None) == (figure["baseline_title"] is None)
        assert (figure["low"] is None) == (figure["high"] is None)
        if figure["low"] is not None and figure["high"] is not None:
            assert figure["low"] <= figure["high"]
    assert json.loads((folder / "headline.json").read_text()) == figures


def test_dvc_is_shown_the_headline_figures_alone(built: Built, small_run: Path):
    figures = json.loads((small_run / f"data/metrics/{built.name}/headline.json").read_text())
    shown = json.loads((small_run / f"data/metrics/{built.name}.json").read_text())
    assert list(shown) == [figure["name"] for figure in figures]
    assert {name: numbers["value"] for name, numbers in shown.items()} == {each["name"]: each["value"] for each in figures}
    assert 1 <= sum(len(numbers) for numbers in shown.values()) <= 12


RENDERED_DATASETS = [name for name in datasets.names() if hasattr(datasets.find(name), "plan")]


def plan_of(dataset: str) -> dict[str, Any]:
    """The dataset's plan in params.yaml, or in the profile that adds the dataset, with few people, frames and views."""
    yaml = YAML(typ="safe")
    added = [yaml.load(path).get("add", {}).get("datasets", {}) for path in sorted((ROOT / "stages/profiles").glob("*.yaml"))]
    blocks = [
        block for every in (yaml.load(ROOT / "params.yaml")["datasets"], *added) for block in [every.get(dataset)] if block
    ]
    assert blocks, f"neither params.yaml nor a profile has a block datasets.{dataset}"
    plan = {name: value for name, value in blocks[0].items() if name not in RENDERING_KEYS}
    fewer = {
        "views_deg": lambda views: views[:2],
        "frames_per_sequence": lambda frames: min(frames, 12),
        "people_per_scene": lambda people: [min(count, 3) for count in people],
    }
    small = {name: fewer.get(name, least)(value) for name, value in plan.items()}
    return {**small, "subjects": {"train": 3, "validation": 3, "test": 3, **least(small["subjects"])}}


def least(value: Any) -> Any:
    """A setting with every number above 3 made 3; of a list of numbers none."""
    if isinstance(value, dict):
        return {name: least(part) for name, part in value.items()}
    return min(value, 3) if isinstance(value, int) else value


@pytest.fixture(scope="module", params=RENDERED_DATASETS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list, Path]:
    """A dataset's module, the takes that it planned, and the folder into which it wrote them."""
    module = datasets.find(request.param)
    motions = parametric.motions(12, walks=5, frames=240, frame_rate_hz=30.0, seed=5)
    takes = module.plan(motions, **plan_of(request.param), seed=5)
    folder = tmp_path_factory.mktemp("written") / request.param
    renderer = render_scene if isinstance(takes[0], Scene) else render
    with ThreadPoolExecutor(2) as executor:
        module.write(folder, takes, partial(renderer, size_hw=FRAME_HW), jpeg_quality=90, executor=executor)
    return module, takes, folder


@pytest.mark.parametrize("dataset", datasets.names())
def test_a_dataset_reads_its_archive_and_has_a_protocol(dataset: str):
    module = datasets.find(dataset)
    assert [name for name in ("read", "frames", "protocol") if not callable(getattr(module, name, None))] == []
    assert hasattr(module, "plan") == hasattr(module, "write") == hasattr(module, "SEQUENCES")


@pytest.mark.parametrize("dataset", [name for name in datasets.names() if hasattr(datasets.find(name), "people")])
def test_a_dataset_of_scenes_gives_the_people_of_an_image_with_masks_or_without(dataset: str):
    parameters = inspect.signature(datasets.find(dataset).people).parameters
    assert list(parameters) == ["root", "location", "masks"]
    assert parameters["masks"].default is False


def test_what_a_dataset_writes_it_reads(written: tuple[Any, list, Path]):
    module, takes, folder = written
    clips = module.read(folder)
    recorded = [1 if isinstance(take, Scene) else len(take.motion) for take in takes]
    photos = "kind" in clips  # each a clip of one frame
    assert sorted(clips["frame_count"]) == ([1] * sum(recorded) if photos else sorted(recorded))
    first = clips.iloc[0]
    frames = list(module.frames(folder, first["frames"]))
    assert len(frames) == first["frame_count"]
    assert frames[0].shape == (first["height_px"], first["width_px"], 3)
    if "people" in clips:
        found = [len(module.people(folder, location)) for location in clips["people"]]
        assert sum(found) >= clips["person_count"].sum() > 0


def test_the_subjects_of_the_splits_are_disjoint(written: tuple[Any, list, Path]):
    module, _, folder = written
    by_split = module.read(folder).groupby("split")["subject_id"].agg(set)
    assert sum(map(len, by_split)) == len(set.union(*by_split)) > 0


def test_no_probe_is_in_its_own_gallery(written: tuple[Any, list, Path]):
    module, _, folder = written
    probe_sets = module.protocol(module.read(folder), "test")
    assert probe_sets
    for probe_set in probe_sets:
        if isinstance(probe_set, PhotoSet):  # the photo itself is left out where its ranking is made
            assert probe_set.queries
            assert probe_set.same_camera_removed or set(probe_set.gallery) == set(probe_set.queries)
        elif isinstance(probe_set, ImageSet):  # nobody is looked for in other images
            assert probe_set.images
        else:
            assert probe_set.probes
            assert not set(probe_set.gallery) & set(probe_set.probes)


def test_no_frame_of_motion_is_in_two_sequences(written: tuple[Any, list, Path]):
    _, takes, _ = written
    if isinstance(takes[0], Scene):  # in pictures of one split somebody may be in the same pose twice
        by_split: dict[str, set[bytes]] = {}
        for scene in takes:
            by_split.setdefault(scene.split, set()).update(person.motion.joints_m.tobytes() for person in scene.people)
        assert sum(map(len, by_split.values())) == len(set.union(*by_split.values())) > 0
        return
    one_view = {(take.subject_id, take.sequence): take.motion for take in takes}
    assert all(np.array_equal(take.motion.joints_m, one_view[take.subject_id, take.sequence].joints_m) for take in takes)
    frames = pd.Series([joints.tobytes() for motion in one_view.values() for joints in motion.joints_m])
    assert not frames.duplicated().any()


@pytest.mark.parametrize("system", systems.names())
def test_a_system_is_trained_and_judged_on_another_device_as_on_the_cpu(small_run: Path, root: Path, system: str):
    """On a simulated device: an operation between it and the CPU, or an array of what lies there, is an error as on a GPU."""
    script = root / "tests/support/simulated_device.py"
    environment = {**os.environ, "PYTHONPATH": str(small_run)}
    done = subprocess.run([sys.executable, script, system], cwd=small_run, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    numbers = json.loads(done.stdout.splitlines()[-1])
    for on_cpu, on_device in zip(numbers["cpu"], numbers["device"], strict=True):
        assert on_cpu.keys() == on_device.keys()
        if system == "gaitnet":  # no ranking: untrained embeddings differ by less than its LSTM is rounded
            on_cpu, on_device = ({name: of[name] for name in of if name.startswith("train/")} for of in (on_cpu, on_device))
        assert on_device == pytest.approx(on_cpu, rel=5e-3, abs=1e-4, nan_ok=True)
