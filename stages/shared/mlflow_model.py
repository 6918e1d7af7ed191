"""A registered checkpoint as an MLflow model. This file and the library travel with the model: it runs without the project."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from people import checkpoints, systems
from people.serving.model_input import is_raw, named, pictures, prepared
from people.serving.raw_input import Preparation
from people.storage import file_digest


class ServedCheckpoint(PythonModel):
    """Loads the checkpoint once, if it is the one that was registered, and answers with the arrays that the system's `serving`
    module names.

    It is asked either the prepared arrays that this module names, or raw pictures, which are prepared as the stages have
    prepared the data that it was trained on (`people.serving.raw_input`). NaN or infinity in what is asked has no answer: most
    layers would turn it into numbers that look like any other.
    """

    def load_context(self, context: Any) -> None:
        config = context.model_config
        digests = {"checkpoint": config["checkpoint_sha256"], **config.get("files_sha256", {})}
        files = {name: registered_file(Path(context.artifacts[name]), digest) for name, digest in digests.items()}
        self.network, self.checkpoint = checkpoints.load(files.pop("checkpoint"))
        self.serving: Any = systems.find(self.checkpoint["system"], "serving")
        self.shapes, _ = self.serving.shapes(self.network, self.checkpoint["spec"])
        self.preparation = Preparation(self.network, self.checkpoint, config.get("prepared_by", {}), files)

    def predict(self, context, model_input, params=None):  # a type hint here would be taken for the model's signature
        try:
            outputs = self.answers(model_input)
        except (ValueError, cv2.error) as error:  # what the library refuses is the asker's mistake: status 400 with its words
            raise MlflowException.invalid_parameter_value(str(error)) from error
        refuse_not_finite("output", outputs)
        return outputs

    def answers(self, asked: Any) -> Any:
        """What the library answers of prepared or raw arrays."""
        arrays = named(asked)
        if is_raw(set(arrays), set(self.shapes), self.preparation.forms):
            return self.preparation.answers(pictures(arrays, self.preparation.names))
        inputs = prepared(arrays, self.shapes)
        refuse_not_finite("input", inputs)
        return self.serving.predict(self.network, self.checkpoint["statistics"], inputs)


def registered_file(path: Path, registered: str) -> Path:
    """The file, if it is the one that was registered; an MLflow error (HTTP status 400) if not."""
    if (digest := file_digest(path)) != registered:
        raise MlflowException.invalid_parameter_value(
            f"{path} must have the SHA-256 that was registered, {registered}, got {digest}: it was damaged or replaced; "
            "restore the files of this version, or register another one"
        )
    return path


def refuse_not_finite(kind: str, arrays: Mapping[str, Any]) -> None:
    """An MLflow error (HTTP status 400) that names the array and counts the positions that are NaN or infinite in float32."""
    for name, values in arrays.items():
        with np.errstate(over="ignore"):
            positions = np.argwhere(~np.isfinite(np.asarray(values, np.float32)))
        if len(positions):
            raise MlflowException.invalid_parameter_value(
                f"the {kind} {name!r} must be finite float32 numbers, {len(positions)} of {np.size(values)} positions are NaN "
                f"or infinite, the first at {tuple(positions[0].tolist())}; correct what was asked"
            )


set_model(ServedCheckpoint())
