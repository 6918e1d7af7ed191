"""A checkpoint as ONNX files, compared with the library as they are written, and the library running through them.

A folder has one file a graph, <graph>.onnx, and export.json: what they take and give, and how far they are from the library.
Their inputs and outputs are those of the system's `serving`, its normalisation is inside, and the number of samples, of frames
and the sizes of pictures are free where `serving` has them free.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import config
from torch import Tensor, nn

from people import checkpoints, systems
from people.graphs import Exportable, Graph, Run
from people.storage import file_digest

OPSET = 20
REFUSED = 1e-3  # a difference from the library that no rounding explains
SUMMARY = "export.json"
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class OnnxExport:
    """The files of an export.

    `path`: their folder. `graphs`: by name the inputs with their axes, the outputs, the file's SHA-256, and the differences
    from the library on random inputs, by the sizes of the free axes. `difference`: the largest of all. A difference is the
    largest |ONNX Runtime - library| of an output, divided by the largest |library| of that output where this is above 1.
    """

    path: Path
    system: str
    checkpoint_sha256: str
    opset: int
    difference: float
    graphs: dict[str, Any]
    packages: dict[str, str]

    def summary(self) -> dict[str, Any]:
        """Everything but the place, as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "path"}


def export(checkpoint: Path, folder: Path) -> OnnxExport | None:
    """Write the graphs of a checkpoint's network to a folder, and compare them with the library as they are run; None of a
    system whose serving names no graphs.

    A graph that differs from the library by more than `REFUSED` is refused with a `ValueError`.
    """
    network, entries = checkpoints.load(checkpoint)
    serving = systems.find(entries["system"], "serving")
    if not isinstance(serving, Exportable):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, graph in serving.graphs(network, entries["statistics"], entries["spec"]).items():
        file = folder / f"{name}.onnx"
        outputs = write_graph(graph, file)
        differences = compare(graph, session_run(file))
        written[name] = {
            "inputs": {key: list(axes) for key, axes in graph.inputs.items()},
            "outputs": outputs,
            "sha256": file_digest(file),
            "differences": differences,
        }
    difference = max(case["difference"] for graph in written.values() for case in graph["differences"])
    if not difference <= REFUSED:
        raise ValueError(
            f"the ONNX graphs of {checkpoint} differ from the library by {difference:.2g}, expected less than {REFUSED}: torch "
            f"{installed('torch')} or onnxruntime {installed('onnxruntime')} computes an operator otherwise; try other versions"
        )
    versions = {package: installed(package) for package in PACKAGES}
    done = OnnxExport(folder, entries["system"], file_digest(checkpoint), OPSET, difference, written, versions)
    (folder / SUMMARY).write_text(json.dumps(done.summary(), indent=2) + "\n")
    return done


class _Traced(nn.Module):
    """A graph as a module of its inputs by position."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.network, self.compute = graph.network, graph.compute

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        return self.compute(*inputs)


def write_graph(graph: Graph, file: Path) -> list[str]:
    """Write one graph, traced at the first of its sizes; the names of its outputs, in order."""
    example = tuple(graph.example(graph.sizes[0], torch.Generator().manual_seed(0)).values())
    free = tuple({i: axis for i, axis in enumerate(axes) if isinstance(axis, str)} for axes in graph.inputs.values())
    module = _Traced(graph).eval()
    with torch.no_grad(), tracing():
        outputs = list(module(*example))
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=outputs,
            dynamic_shapes={"inputs": free},
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    without_places(program.model)
    program.save(str(file), external_data=False)
    return outputs


def without_places(model: Any) -> None:
    """Drop from an ONNX model the lines of source code that each operator came from: they name paths of this machine."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        for node in graph:
            node.metadata_props.clear()


@contextmanager
def tracing() -> Iterator[None]:
    """Without shape checks, which a process may have switched on and which take symbolic sizes for none, and without the
    exporter's warnings about torch's own code.
    """
    checked = config.jaxtyping_disable
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        config.update("jaxtyping_disable", True)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.update("jaxtyping_disable", checked)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def session_run(file: Path) -> Run:
    """The function of an ONNX file, computed by ONNX Runtime on the CPU, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    taken, given = ([value.name for value in values] for values in (session.get_inputs(), session.get_outputs()))

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: np.ascontiguousarray(inputs[name].detach().numpy(), np.float32) for name in taken}
        return {name: torch.from_numpy(value) for name, value in zip(given, session.run(None, arrays), strict=True)}

    return run


def compare(graph: Graph, run: Run) -> list[dict[str, Any]]:
    """The difference of a graph from the library on random inputs of each of its sizes."""
    generator, cases = torch.Generator().manual_seed(1), []
    for sizes in graph.sizes:
        inputs = graph.example(sizes, generator)
        with torch.no_grad():
            expected = graph.compute(*inputs.values())
        computed = run(inputs)
        differences = [difference(computed[name], values) for name, values in expected.items()]
        cases.append({"sizes": dict(sizes), "difference": max(differences)})
    return cases


def difference(computed: Tensor, expected: Tensor) -> float:
    """The largest difference of two tensors, relative to the largest expected value where that is above 1."""
    if computed.shape != expected.shape:
        raise ValueError(f"a graph gives an output of shape {tuple(computed.shape)}, the library {tuple(expected.shape)}")
    return float((computed - expected).abs().max() / expected.abs().max().clamp(min=1))


class OnnxModel:
    """The ONNX files of a checkpoint, run by ONNX Runtime: `predict` as the system's serving, and a network for its metrics.

    What is no graph, such as the choice of boxes among anchors, is done by the library as ever.
    """

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        described = json.loads((folder / SUMMARY).read_text())
        if (digest := file_digest(checkpoint)) != described["checkpoint_sha256"]:
            raise ValueError(
                f"{folder} was exported from a checkpoint with SHA-256 {described['checkpoint_sha256']}, but {checkpoint} has "
                f"{digest}; export it again"
            )
        network, entries = checkpoints.load(checkpoint)
        for name, graph in described["graphs"].items():
            if (digest := file_digest(folder / f"{name}.onnx")) != graph["sha256"]:
                raise ValueError(f"{folder}/{name}.onnx has SHA-256 {digest}, but {graph['sha256']} was exported; restore it")
        self.runs: dict[str, Run] = {name: session_run(folder / f"{name}.onnx") for name in described["graphs"]}
        self.statistics, self._serving = entries["statistics"], systems.find(entries["system"], "serving")
        assert isinstance(self._serving, Exportable)
        self.network: nn.Module = self._serving.through(network, self.statistics, self.runs)

    def predict(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the system's `serving.predict` answers."""
        return self._serving.predict(self.network, self.statistics, arrays)
