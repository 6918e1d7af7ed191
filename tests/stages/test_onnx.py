"""Exported graphs compute what the library computes, for any number of people, frames and pixels, also under the protocol."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import small_checkpoints
import torch
from torch import nn

from people import checkpoints, systems
from people.graphs import by_length, with_forward
from people.training.system import Shapes
from stages.registration import onnx_export
from stages.registration.onnx_export import OnnxExport, OnnxModel

BOUND = 1e-5
SIZES = ((1, 1), (1, 17), (3, 2), (3, 40), (2, 70))  # samples; frames, or the sides of pictures


class Exported:
    """A system's small checkpoint and its graphs."""

    def __init__(self, system: str, folder: Path, **changes: Any) -> None:
        self.checkpoint = small_checkpoints.write(system, folder / "checkpoint.pt", **changes)
        self.network, self.entries = checkpoints.load(self.checkpoint)
        self.serving: Any = systems.find(system, "serving")
        done = onnx_export.export(self.checkpoint, folder / "onnx")
        assert done is not None
        self.done: OnnxExport = done
        self.model = OnnxModel(done.path, self.checkpoint)

    @property
    def inputs(self) -> Shapes:
        return self.serving.shapes(self.network, self.entries["spec"])[0]

    def random(self, samples: int, free: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Arrays that the system may be asked."""
        draw = np.random.default_rng(seed)
        shapes = {name: (samples, *(free if size < 0 else size for size in shape[1:])) for name, shape in self.inputs.items()}
        return {name: draw.random(shape, np.float32) for name, shape in shapes.items()}

    def expected(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.serving.predict(self.network, self.entries["statistics"], arrays)


@pytest.fixture(scope="module", params=sorted(small_checkpoints.SPECS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(request.param, tmp_path_factory.mktemp(request.param))


def assert_near(computed: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(computed) == list(expected)
    for name, values in expected.items():
        assert computed[name].shape == values.shape, name
        scale = max(1.0, float(np.abs(values).max(initial=0)))
        assert float(np.abs(computed[name] - values).max(initial=0)) / scale < BOUND, name


def test_every_system_is_exported_within_the_bound(exported: Exported):
    assert exported.done.difference < BOUND
    assert json.loads((exported.done.path / onnx_export.SUMMARY).read_text()) == exported.done.summary()
    for name, graph in exported.done.graphs.items():
        model = onnx.load(str(exported.done.path / f"{name}.onnx"))
        onnx.checker.check_model(model)
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [exported.done.opset]
        assert [output.name for output in model.graph.output] == graph["outputs"]
        assert len({tuple(case["sizes"].values()) for case in graph["differences"]}) >= 3


def test_a_graph_names_no_folder_of_the_machine_on_which_it_was_exported(exported: Exported):
    for name in exported.done.graphs:
        content = (exported.done.path / f"{name}.onnx").read_bytes()
        assert str(small_checkpoints.ROOT).encode() not in content
        assert b"site-packages" not in content


@pytest.mark.parametrize(("samples", "free"), SIZES)
def test_the_exported_model_answers_as_the_library(exported: Exported, samples: int, free: int):
    arrays = exported.random(samples, free, seed=free)
    assert_near(exported.model.predict(arrays), exported.expected(arrays))


def test_people_are_found_in_the_pictures_of_these_tests(exported: Exported):
    if "boxes" not in exported.expected(exported.random(1, 32)):
        pytest.skip("it finds nobody in pictures")
    found = exported.expected(exported.random(2, 70, seed=70))
    assert (found["scores"] > 0).any(axis=1).all()
    assert (found["keypoints"][..., 2] > 0).any()
    assert found["activities"].max() > 0


def test_onnx_runtime_alone_gives_the_served_answers_by_name(exported: Exported):
    if list(exported.done.graphs) != ["network"]:
        pytest.skip("several graphs are joined by the library")
    session = onnxruntime.InferenceSession(str(exported.done.path / "network.onnx"), providers=["CPUExecutionProvider"])
    arrays = exported.random(2, 9)
    assert {value.name for value in session.get_inputs()} == set(exported.inputs)
    answers = dict(zip([value.name for value in session.get_outputs()], session.run(None, arrays), strict=True))
    expected = exported.expected(arrays)
    assert_near({name: np.asarray(answers[name]) for name in expected}, expected)


VARIANTS = {
    "dmt of type A without gender and age": ("dmt", {"model": {"type": "A"}, "tasks": ["identity", "verification"]}),
    "gaittake as GaitGL": ("gaittake", {
        "model": {"temporal_aggregation": True, "attention": False, "gem": False}, "spec": {"keypoints": False},
        "tasks": ["batch_all", "cross_entropy"],
    }),
    "gaittake without GLConv": ("gaittake", {"model": {"glconv": False, "batch_norm": False}}),
    "reid with attention": ("reid", {"model": {"type": "self_attention"}, "tasks": ["identity", "attributes", "junk"]}),
    "reid with a plain ResNet": ("reid", {"model": {"type": "resnet"}}),
    "gaitnet without a decoder": ("gaitnet", {
        "model": {"split": False, "feature": "mean"}, "tasks": ["identity"],
    }),
    "gaitnet without an LSTM": ("gaitnet", {"tasks": ["cross_reconstruction", "gait_similarity"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_other_configurations_are_exported_too(name: str, tmp_path: Path):
    system, changes = VARIANTS[name]
    exported = Exported(system, tmp_path, **changes)
    assert exported.done.difference < BOUND
    for samples, free in SIZES[1:4]:
        arrays = exported.random(samples, free)
        assert_near(exported.model.predict(arrays), exported.expected(arrays))


@pytest.mark.parametrize("system", ["gaittake", "gaitnet"])
def test_padded_clips_of_several_lengths_give_what_each_gives_alone(system: str, tmp_path: Path):
    exported = Exported(system, tmp_path)
    arrays = {name: torch.from_numpy(value) for name, value in exported.random(4, 9).items()}
    batch = arrays | {"length": torch.tensor([9, 4, 1, 4])}
    if system == "gaitnet":
        batch["appearance_frame"] = torch.tensor([3, 2, 0, 1])
    with torch.no_grad():
        expected, computed = exported.network(batch), exported.model.network(batch)
    assert {"embedding"} < {"embedding", "gait"} & set(computed) or system == "gaittake"
    for name, values in computed.items():
        torch.testing.assert_close(values, expected[name], rtol=0, atol=BOUND, msg=lambda text, name=name: f"{name}: {text}")


def test_outputs_by_frame_have_zeros_in_the_padding_and_others_none():
    def run(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"frames": inputs["x"] + 1, "sum": inputs["x"].sum(1)}

    outputs = by_length(run, {"x": torch.ones(3, 4, 2)}, torch.tensor([2, 4, 2]), by_frame=("frames",))
    assert outputs["sum"].tolist() == [[2, 2], [4, 4], [2, 2]]
    assert outputs["frames"][:, :, 0].tolist() == [[2, 2, 0, 0], [2, 2, 2, 2], [2, 2, 0, 0]]


def test_the_network_that_is_exported_stays_as_it_is():
    network = nn.Linear(2, 2).train()
    replaced = with_forward(network, lambda batch: batch)
    assert replaced({"x": torch.ones(1)}) == {"x": torch.ones(1)}
    assert network.training
    assert not replaced.training
    assert network(torch.zeros(1, 2)).shape == (1, 2)


def test_graphs_of_another_checkpoint_and_changed_files_are_refused(tmp_path: Path):
    exported = Exported("reid", tmp_path)
    other = small_checkpoints.write("reid", tmp_path / "other.pt", seed=1)
    with pytest.raises(ValueError, match="was exported from a checkpoint with SHA-256"):
        OnnxModel(exported.done.path, other)
    with (exported.done.path / "network.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match=r"network\.onnx has SHA-256 \w+, but \w+ was exported"):
        OnnxModel(exported.done.path, exported.checkpoint)


def test_a_graph_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoint = small_checkpoints.write("reid", tmp_path / "checkpoint.pt")
    run = onnx_export.session_run
    monkeypatch.setattr(
        onnx_export, "session_run", lambda file: lambda inputs: {k: v + 0.1 for k, v in run(file)(inputs).items()}
    )
    with pytest.raises(ValueError, match=r"differ from the library by 0\.\d+, expected less than 0.001"):
        onnx_export.export(checkpoint, tmp_path / "onnx")
