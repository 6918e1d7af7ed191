"""Raw pictures asked of a registered model, through `mlflow.pyfunc`: what is answered, and what is refused and why."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import raw_requests
import small_checkpoints
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations

from people import checkpoints, systems
from people.serving import model_input, raw_input
from people.storage import file_digest
from stages.registration import versions

BOUND = 1e-5


class Logged:
    """A model as `register` logs it, loaded by MLflow, and the library's own network."""

    def __init__(self, system: str, folder: Path) -> None:
        self.system = system
        checkpoint = small_checkpoints.write(system, folder / "checkpoint.pt")
        self.served = raw_requests.served(system, checkpoint, folder)
        _, uri = versions.log_model(system, checkpoint, file_digest(checkpoint), {}, self.served)
        self.model = mlflow.pyfunc.load_model(uri)
        self.network, self.entries = checkpoints.load(checkpoint)
        how = self.served.recorded
        self.preparation = raw_input.Preparation(self.network, self.entries, how.slots, how.files)

    def refused(self, arrays: dict[str, Any]) -> str:
        """The words of a refusal, which has status 400."""
        with pytest.raises(MlflowException) as refusal:
            self.model.predict(arrays)
        assert refusal.value.get_http_status_code() == 400
        return refusal.value.message

    def asked(self, inputs: Any) -> Any:
        """What a request is answered, as the scoring server parses it."""
        body = json.dumps({"inputs": inputs})
        schema = self.model.metadata.get_input_schema()
        return json.loads(invocations(body, "application/json", self.model, schema).response)["predictions"]


@pytest.fixture(scope="module", params=sorted(small_checkpoints.SPECS))
def logged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder, system = tmp_path_factory.mktemp(request.param), request.param
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    try:
        experiment = mlflow.MlflowClient().create_experiment(system, artifact_location=(folder / "mlruns").as_uri())
        with mlflow.start_run(experiment_id=experiment):
            yield Logged(system, folder)
    finally:
        mlflow.set_tracking_uri(before)
        os.environ.pop("MLFLOW_TRACKING_URI", None)


def of(*names: str) -> pytest.MarkDecorator:
    """A test of these systems alone."""
    return pytest.mark.parametrize("logged", names, indirect=True)


def assert_near(computed: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(computed) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(computed[name], values, rtol=BOUND, atol=BOUND, err_msg=name)


def test_raw_pictures_prepared_arrays_and_a_request_in_json_are_answered_alike(logged: Logged):
    raw = raw_requests.request(logged.system)
    answers = logged.model.predict(raw)
    for name, spec in zip(answers, logged.model.metadata.get_output_schema().inputs, strict=True):
        assert answers[name].shape[1:] == spec.shape[1:]
    assert_near(logged.asked({name: values.tolist() for name, values in raw.items()}), answers)
    prepared = prepared_arrays(logged, raw)
    assert_near(logged.model.predict(prepared), answers)
    assert_near(logged.asked({name: values.tolist() for name, values in prepared.items()}), answers)


def prepared_arrays(logged: Logged, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the network read of these pictures, as `serving.predict` takes it: before the mean is subtracted."""
    seen: list[dict[str, Any]] = []
    handle = logged.network.register_forward_pre_hook(lambda _, batch: seen.append(batch[0]))
    logged.preparation.answers(model_input.pictures(raw, logged.preparation.names))
    handle.remove()
    names, statistics = logged.served.inputs, logged.entries["statistics"]
    if logged.system == "multipose":
        return {"image": raw["photos"].astype(np.float32) / 255}
    arrays = {}
    for name in names:
        values = np.concatenate([batch[name].numpy() for batch in seen])
        if "std" in statistics:
            values = values * statistics["std"].numpy()
        arrays[name] = values + statistics["mean"].numpy() if "mean" in statistics else values
    return arrays


def test_the_signature_and_the_metadata_name_both_forms(logged: Logged):
    named = set(logged.model.metadata.get_input_schema().input_names())
    assert named == set(logged.served.inputs) | set(logged.preparation.names)
    described = logged.model.metadata.metadata["inputs"]
    assert set(described["prepared"]) == set(logged.served.inputs)
    assert set(described["raw"]) == set(logged.preparation.names)
    assert "opencv-python-headless==" in "\n".join(versions_requirements(logged))


def versions_requirements(logged: Logged) -> list[str]:
    file = mlflow.pyfunc.get_model_dependencies(f"models:/{logged.model.metadata.model_id}")
    return Path(file).read_text().splitlines()


def test_a_mixture_and_an_unknown_name_are_refused_by_the_names_of_both_forms(logged: Logged):
    raw = raw_requests.request(logged.system)
    prepared = {name: np.zeros((1, *(8 if size < 0 else size for size in shape[1:])), np.float32)
                for name, shape in logged.served.inputs.items()}  # fmt: skip
    for arrays in (raw | prepared, {"something": np.zeros(3)}, {}):
        words = logged.refused(arrays)
        for name in (*prepared, *raw):
            assert repr(name) in words


def test_raw_input_that_is_none_is_refused_with_the_reason(logged: Logged):
    raw = raw_requests.request(logged.system)
    name, values = next(iter(raw.items()))
    with_nan = values.astype(np.float32)
    with_nan[0, 0, 0] = np.nan
    larger = [*values[:-1], np.zeros((90, 100, *values.shape[3:]), np.uint8)]
    cases = {
        "an empty list": ([], "an empty list"),
        "numbers between": (values / 255, "must have whole numbers from 0 to 255, got float64"),
        "NaN": (with_nan, "NaN or infinite"),
        "above 255": (values.astype(np.int64) + 200, "must have whole numbers from 0 to 255, got"),
        "text": (["seven"], "no pictures"),
        "one axis": ([[1, 2, 3]], "must have the axes"),
        "rows of unequal length": ([[[1, 2], [3]]], "rows of one length"),
        "tiny": (values[:, :4, :4], "sides of at least 8 px"),
        "too many": (np.zeros((model_input.MAX_PICTURES + 1, 8, 8), np.uint8), "at most 500 pictures, got 501"),
    }
    if logged.preparation.names[name].one_size:
        cases["another size"] = (larger, f"the pictures of '{name}' must have one size, picture 0 has (60, 80) and picture")
    for what, (bad, words) in cases.items():
        assert words in logged.refused(raw | {name: bad}), what


def test_the_memory_of_a_request_is_bounded(logged: Logged, monkeypatch: pytest.MonkeyPatch):
    raw = raw_requests.request(logged.system)
    monkeypatch.setattr(model_input, "MAX_RAW_BYTES", sum(values.nbytes for values in raw.values()) - 1)
    with pytest.raises(ValueError, match="must have at most 0 MiB, as uint8 with three channels; send fewer"):
        model_input.pictures(raw, logged.preparation.names)


@of("dmt", "gaittake", "gaitnet")
def test_pictures_without_a_person_or_too_few_of_them_are_refused(logged: Logged):
    empty = np.repeat(raw_requests.scene()[None], 30, axis=0)
    frames, masks = raw_requests.walk()
    cases: dict[str, list[tuple[dict[str, np.ndarray], str]]] = {
        "dmt": [
            ({"frames": empty}, "no person found: nothing moves in the 30 frames"),
            ({"frames": frames[:1]}, "expected at least 2, got 1"),
            ({"frames": frames[:20]}, "must have a window of 25 flow maps around a person, got 1 clips, the longest of 19"),
        ],
        "gaittake": [
            ({"frames": empty}, "no person found in the 30 pictures"),
            ({"masks": np.zeros_like(masks)}, "no person found in 'masks'"),
            ({"masks": 255 - masks}, "no person found in 'masks'"),
        ],
        "gaitnet": [
            ({"frames": empty}, "no person found in the 30 pictures"),
            ({"frames": frames, "masks": masks[:10]}, "'masks' must be one for each frame"),
            ({"frames": frames, "background": empty[:, :40]}, "expected one camera and one size"),
        ],
    }  # fmt: skip
    for arrays, words in cases[logged.system]:
        assert words in logged.refused(arrays)


@of("dmt", "gaittake")
def test_grey_frames_are_answered_as_rgb_frames_with_equal_channels(logged: Logged):
    grey = raw_requests.walk()[0][..., 0]
    rgb = np.repeat(grey[..., None], 3, axis=3)
    assert_near(logged.model.predict({"frames": grey}), logged.model.predict({"frames": rgb}))


@of("gaitnet")
def test_masks_of_the_model_s_own_method_are_answered_as_the_frames(logged: Logged):
    frames, _ = raw_requests.walk()
    settings = logged.served.recorded.slots["frames"]
    config = raw_input.silhouettes.Config(settings["method"], (64, 32), settings["soft"], settings["pretreatment"], "")
    background = np.repeat(raw_requests.scene()[None], 3, axis=0)
    masks = np.stack(list(raw_input.silhouettes.segment_person(frames, background, config)))
    by_frames = logged.model.predict({"frames": frames, "background": background})
    assert_near(logged.model.predict({"frames": frames, "masks": masks}), by_frames)


@of("reid")
def test_photos_of_several_sizes_go_into_one_request(logged: Logged):
    photos = [raw_requests.scene(size) for size in ((60, 80), (128, 64), (33, 21))]
    answers = logged.model.predict({"photos": photos})
    for index, photo in enumerate(photos):
        assert_near(
            {name: values[index : index + 1] for name, values in answers.items()}, logged.model.predict({"photos": photo[None]})
        )


@of("gaitnet")
def test_frames_are_refused_where_another_method_has_found_the_silhouettes(logged: Logged):
    slots = {"frames": logged.served.recorded.slots["frames"] | {"method": "maskrcnn"}}
    other = raw_input.Preparation(logged.network, logged.entries, slots, {})
    with pytest.raises(ValueError, match=r"by the method 'maskrcnn', which is no part of the model: .* send 'masks'"):
        other.answers(model_input.pictures(raw_requests.request("gaitnet"), other.names))


@of("gaittake")
def test_a_version_without_the_network_of_keypoints_says_so(logged: Logged):
    other = raw_input.Preparation(logged.network, logged.entries, logged.served.recorded.slots, {})
    with pytest.raises(ValueError, match="without the network that finds keypoints in silhouettes: send prepared arrays"):
        other.answers(model_input.pictures(raw_requests.request("gaittake"), other.names))


@of("dmt", "reid")
def test_a_table_with_a_row_for_each_sample_is_answered_as_before(logged: Logged):
    draw = np.random.default_rng(0)
    arrays = {name: draw.random((2, *shape[1:]), np.float32) for name, shape in logged.served.inputs.items()}
    rows = {name: values.reshape(2, -1).tolist() for name, values in arrays.items()}
    table = {"columns": list(rows), "data": [list(cells) for cells in zip(*rows.values(), strict=True)]}
    body = json.dumps({"dataframe_split": table})
    answer = invocations(body, "application/json", logged.model, logged.model.metadata.get_input_schema()).response
    assert_near(json.loads(answer)["predictions"], logged.model.predict(arrays))


def test_a_store_that_does_not_say_how_it_was_made_is_refused(tmp_path: Path):
    from people.serving import one_clip

    path = tmp_path / "foregrounds" / "fvg"
    one_clip.write(path, "foregrounds", "fvg", {"foreground": np.zeros((2, 8, 8, 3), np.uint8)})
    with pytest.raises(ValueError, match=r"does not say with which .*pretreatment.*run dvc repro foregrounds@fvg"):
        raw_input.recorded("gaitnet", {"frames": path, "poses": path}, {})


def test_systems_of_other_stores_take_prepared_arrays_alone(tmp_path: Path):
    assert raw_input.recorded("dmt", {"frames": tmp_path / "store"}, {}) == raw_input.Recorded({}, {})
    assert isinstance(systems.find("multipose", "serving"), raw_input.TakesPhotos)
