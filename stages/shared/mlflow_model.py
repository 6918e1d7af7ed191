"""A registered checkpoint as an MLflow model. This file and the library travel with the model: it runs without the project."""

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from people import checkpoints, systems


class ServedCheckpoint(PythonModel):
    """Loads the checkpoint once and answers with the arrays that the system's `serving` module names."""

    def load_context(self, context: Any) -> None:
        self.network, self.checkpoint = checkpoints.load(Path(context.artifacts["checkpoint"]))
        self.serving: Any = systems.find(self.checkpoint["system"], "serving")

    def predict(self, context, model_input, params=None):  # a type hint here would be taken for the model's signature
        return self.serving.predict(self.network, self.checkpoint["statistics"], model_input)


set_model(ServedCheckpoint())
