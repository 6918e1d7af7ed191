"""What every system and every dataset keeps, whoever writes it: a new one is tested here before it has a test of its own."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from people import datasets, systems
from people.protocols import PhotoSet
from people.synth.motion import parametric
from people.synth.render import render

WIDTHS = {"size_hw": (60, 80)}


class Built:
    """One system, built from its block in params.yaml on the samples of the small run."""

    def __init__(self, system: str, workspace: Path):
        block = YAML(typ="safe").load(workspace / "params.yaml")["systems"][system]
        self.data, self.model, self.objective = (systems.find(system, part) for part in ("data", "model", "objective"))
        reads = {slot: workspace / path for slot, path in block["reads"].items()}
        self.samples = self.data.open_samples(reads, self.data.Config(**block["data"]), "train")
        self.spec = self.data.spec(self.samples)
        self.statistics = self.data.statistics(self.samples)
        self.model_config = self.model.Config(**block["model"])
        self.terms = self.objective.Objective(self.objective.Config(**block["objective"]), self.spec)

    def network(self, seed: int = 0) -> torch.nn.Module:
        torch.manual_seed(seed)
        return self.model.Network(self.model_config, self.spec)

    def batch(self, indices: list[int]) -> dict[str, torch.Tensor]:
        return self.samples.batch(indices, spec=self.spec, statistics=self.statistics, augment=None)

    def spread(self, count: int) -> list[int]:
        return [int(i) for i in np.linspace(0, len(self.samples) - 1, count)]

    def four(self) -> list[int]:
        """The first and the last sample of each of two people: the least from which a person can be known again."""
        subject = self.samples.targets(self.spec)["subject"].tolist()
        of_two = [[index for index, one in enumerate(subject) if one == person] for person in (0, 1)]
        return [index for mine in of_two for index in (mine[0], mine[-1])]


@pytest.fixture(scope="module", params=systems.names())
def built(request: pytest.FixtureRequest, small_run: Path) -> Built:
    return Built(request.param, small_run)


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
    first = built.terms(network(batch), batch)[main].item()
    for _ in range(120):
        optimizer.zero_grad()
        loss = built.terms(network(batch), batch)[main]
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert built.terms(network.eval()(batch), batch)[main].item() < 0.1 * first


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


FRAME_DATASETS = [name for name in datasets.names() if hasattr(datasets.find(name), "protocol")]
PLANS = {
    "tumgaid": {"subjects": {"train": 4, "validation": 3, "test": 5, "elapsed": 2}, "frames_per_sequence": 30},
    "casiab": {"subjects": {"train": 2, "validation": 1, "test": 2}, "frames_per_sequence": 20, "views_deg": [0, 90]},
    "oumvlp": {"subjects": {"train": 2, "validation": 1, "test": 2}, "frames_per_sequence": 20, "views_deg": [0, 90]},
    "market1501": {
        "subjects": {"train": 2, "validation": 2, "test": 2},
        "cameras": 2,
        "photos_per_camera": [2, 3],
        "frames_per_sequence": 11,
        "distractors": 2,
        "junk": 6,
    },
}


@pytest.fixture(scope="module", params=FRAME_DATASETS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list, Path]:
    """A dataset's module, the takes that it planned, and the folder into which it wrote them."""
    module = datasets.find(request.param)
    motions = parametric.motions(12, walks=5, frames=240, frame_rate_hz=30.0, seed=5)
    takes = module.plan(motions, **PLANS[request.param], seed=5)
    folder = tmp_path_factory.mktemp("written") / request.param
    with ThreadPoolExecutor(2) as executor:
        module.write(folder, takes, partial(render, **WIDTHS), jpeg_quality=90, executor=executor)
    return module, takes, folder


def test_what_a_dataset_writes_it_reads(written: tuple[Any, list, Path]):
    module, takes, folder = written
    clips = module.read(folder)
    recorded = [len(take.motion) for take in takes]
    photos = "kind" in clips  # each a clip of one frame
    assert sorted(clips["frame_count"]) == ([1] * sum(recorded) if photos else sorted(recorded))
    first = clips.iloc[0]
    frames = list(module.frames(folder, first["frames"]))
    assert len(frames) == first["frame_count"]
    assert frames[0].shape == (first["height_px"], first["width_px"], 3)


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
        else:
            assert probe_set.probes
            assert not set(probe_set.gallery) & set(probe_set.probes)


def test_no_frame_of_motion_is_in_two_sequences(written: tuple[Any, list, Path]):
    _, takes, _ = written
    one_view = {(take.subject_id, take.sequence): take.motion for take in takes}
    assert all(np.array_equal(take.motion.joints_m, one_view[take.subject_id, take.sequence].joints_m) for take in takes)
    frames = pd.Series([joints.tobytes() for motion in one_view.values() for joints in motion.joints_m])
    assert not frames.duplicated().any()
