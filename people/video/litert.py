"""Models of LiteRT (TensorFlow Lite) from a file: their outputs for one image, on one thread."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from people.storage.trained_weights import Published


class Model(NamedTuple):
    """A published model: its file, the side of its input (px, RGB), and the shapes of the outputs that are read, by name."""

    published: Published
    side: int
    outputs: Mapping[str, tuple[int, ...]]


def outputs(model: Model, file: Path, image: Float[np.ndarray, "side side 3"]) -> dict[str, np.ndarray]:
    """The model's outputs for an image, without the axis of samples; the same bytes from run to run."""
    interpreter = _interpreter(file)
    details = {each["name"]: each for each in interpreter.get_output_details()}
    shapes = {name: tuple(each["shape"].tolist()) for name, each in details.items()}
    expected = {name: (1, *shape) for name, shape in model.outputs.items()}
    if expected.items() - shapes.items():
        raise ValueError(
            f"{file} should be {model.published.title}, with the outputs {expected}; it has {shapes}; {model.published.remedy}"
        )
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None].astype(np.float32))
    interpreter.invoke()
    return {name: interpreter.get_tensor(details[name]["index"])[0] for name in expected}


@functools.lru_cache(maxsize=4)  # one process looks at many images
def _interpreter(file: Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter  # an extra
    except ImportError as error:
        raise ValueError(f"{file.name} runs on LiteRT, and ai-edge-litert is not installed; pip install '.[mobile]'") from error
    try:
        interpreter = Interpreter(model_path=str(file), num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{file} cannot be read as a model of LiteRT ({error}); replace it") from error
    return interpreter
