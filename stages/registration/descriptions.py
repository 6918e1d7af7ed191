"""What a person reads on the page of a registered model in MLflow: Markdown."""

from typing import Any

from mlflow.models import ModelSignature

from people import systems
from people.serving.raw_input import Kind
from people.training.system import Shapes
from stages.tracking import runs

MAX_CHARS = 5000  # of a description in MLflow's tables
EXAMPLE_SIZE = 16  # of the axes that may have any size, in examples
CONSENT = (
    "Gait, faces and photos of people are biometric data. The terms of the data set that the weights were trained on hold for "
    "the weights too, and people who are told apart by them must have consented: see `docs/responsible-use.md`."
)


def of_model(system: str, inputs: Shapes, signature: ModelSignature, raw: Kind | None, experiment_id: str) -> str:
    """Of a system's registered model: what it answers, how it is called, what its aliases mean."""
    serving = systems.find(system, "serving")
    return shortened(
        f"{first_line(serving)}\n\n"
        f"- `{runs.CHAMPION}`: the version to use. Another one takes its place if it scores higher on the validation "
        "people of the same data, by more than the noise of who they are.\n"
        f"- `{runs.CHALLENGER}`: the version that was registered last and is not the champion.\n"
        f"- Runs: [experiment {system}](#/experiments/{experiment_id}/runs)\n\n"
        f"### How to use it\n\n{example_call(system, inputs, signature)}\n\n"
        f"{paragraphs(serving.predict)}\n\n{of_raw(raw) if raw else ''}### Licence and consent\n\n{CONSENT}\n"
    )


def of_raw(raw: Kind) -> str:
    """Which raw arrays may be asked in place of the prepared ones."""
    ways = "; or ".join(" and ".join(f"`{name}`" for name in raw.names if name in form) for form in raw.forms)
    meanings = "".join(f"- `{name}`: {kind}\n" for name, kind in raw.names.items())
    return f"Or raw pictures, which the model prepares itself: {ways}.\n\n{meanings}\n"


def of_inputs(inputs: Shapes, raw: Kind | None) -> dict[str, Any]:
    """Both forms as plain values: by name the shape of each prepared array (-1: any size), and what each raw one is."""
    asked = {"prepared": {name: {"dtype": "float32", "shape": list(shape)} for name, shape in inputs.items()}}
    if raw is None:
        return asked
    return {
        **asked,
        "raw": {name: str(kind) for name, kind in raw.names.items()},
        "forms": [sorted(form) for form in raw.forms],
    }


def example_call(system: str, inputs: Shapes, signature: ModelSignature) -> str:
    """Python that loads the champion and calls it."""
    arrays = "\n".join(f'    "{name}": np.zeros({shape}, np.float32),' for name, shape in example_shapes(inputs).items())
    outputs = ", ".join(str(output.name) for output in signature.outputs)
    return (
        "```python\nimport mlflow\nimport numpy as np\n\n"
        f'model = mlflow.pyfunc.load_model("models:/{system}@{runs.CHAMPION}")  # with MLFLOW_TRACKING_URI set\n'
        f"answers = model.predict({{\n{arrays}\n}})  # {outputs}\n```"
    )


def example_shapes(inputs: Shapes) -> dict[str, tuple[int, ...]]:
    """The shapes of prepared arrays with one sample, and `EXAMPLE_SIZE` where any size goes."""
    return {name: (1, *(EXAMPLE_SIZE if size < 0 else size for size in shape[1:])) for name, shape in inputs.items()}


def first_line(documented: Any) -> str:
    """The first line of a docstring."""
    return (documented.__doc__ or "").strip().partition("\n")[0]


def paragraphs(documented: Any) -> str:
    """A docstring without its indentation."""
    return "\n".join(line.strip() for line in (documented.__doc__ or "").strip().splitlines())


def shortened(text: str) -> str:
    """The text as it fits into MLflow's tables, cut at the end of a line."""
    if len(text) <= MAX_CHARS:
        return text
    note = "\n\n(shortened; the whole is in model_card.md among the files of a version)\n"
    return text[: MAX_CHARS - len(note)].rpartition("\n")[0] + note
