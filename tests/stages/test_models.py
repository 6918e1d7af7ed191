"""Trained models are fetched by name, checked, and written to where the stages look; or the message says what to do."""

import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torchvision
from scene_stores import DATA_BLOCK, MODEL_BLOCK, TASKS

from people.nn import pretrained
from people.records import ACTIVITIES
from people.storage.trained_weights import cached, of_torchvision, weights_file
from people.systems.multipose import model
from people.video import detectors, mediapipe
from stages import models
from stages.models import MODELS, File, TrainedModel, Wheel

CONTENT = b"trained"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f"toy-{DIGEST[:8]}.tflite"
WHEEL = "toymodels-1.0-py3-none-any.whl"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch cache; the folder of its files is not there yet."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, all that pip knows of."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that a server of this machine serves, and its address."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def write_wheel(folder: Path, **members: bytes) -> None:
    """A wheel with these files in its package; _ in a name stands for the dot."""
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(f"toymodels/{name.replace('_', '.')}", content)
        wheel.writestr("toymodels-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toymodels\nVersion: 1.0\n")
        wheel.writestr("toymodels-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("toymodels-1.0.dist-info/RECORD", "")


def of_wheel(*files: File) -> TrainedModel:
    return TrainedModel(files or (File(NAME, DIGEST, "toymodels/a.tflite"),), "tests", "none", Wheel("toymodels==1.0"))


def of_url(address: str) -> TrainedModel:
    return TrainedModel((File(NAME, DIGEST[:8], f"{address}a.tflite"),), "tests", "none")


def content(folder: Path) -> dict[str, bytes]:
    """All files in a folder; none where there is no folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))}


# --- what can be fetched ---------------------------------------------------------------------------------------------


def test_every_file_is_named_by_the_beginning_of_its_digest_as_the_stages_want_it():
    for trained in MODELS.values():
        for file in trained.files:
            assert Path(file.name).stem.endswith(f"-{file.sha256[:8]}")
            assert len(file.sha256) == (64 if trained.wheel else 8)
            assert trained.purpose
            assert trained.licence


def test_torchvisions_files_are_those_that_it_names(cache: Path):
    for name in ("resnet18", "resnet50"):
        weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
        assert MODELS[name].files[0].location == weights.url
        assert MODELS[name].files[0].name == of_torchvision(weights).name
    for name in ("maskrcnn", "keypointrcnn", "fasterrcnn"):
        with pytest.raises(ValueError, match=rf"{cache / MODELS[name].files[0].name} is no file"):
            detectors.weights_file(name, "")
        assert MODELS[name].files[0].location in {
            weights.url
            for builder in torchvision.models.list_models(torchvision.models.detection)
            for weights in torchvision.models.get_model_weights(builder)
        }


def test_an_unknown_name_is_answered_with_all_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["models", "fetch", "mediapipe", "yolo"])
    with pytest.raises(SystemExit) as ended:
        models.main()
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "'yolo'" in message
    assert all(name in message for name in MODELS)


def test_the_list_says_what_each_is_for_and_whether_it_is_there(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cache.mkdir(parents=True)
    (cache / "resnet18-f37072fd.pth").write_bytes(b"another file")
    monkeypatch.setitem(MODELS, "toy", of_wheel())
    (cache / NAME).write_bytes(CONTENT)
    monkeypatch.setattr(sys, "argv", ["models", "list"])
    models.main()
    printed = capsys.readouterr().out
    blocks = printed.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == list(MODELS)
    for block, (name, trained) in zip(blocks, MODELS.items(), strict=True):
        assert trained.purpose in block
        assert trained.licence in block
        assert block.count(" (not there)") == (0 if name in ("toy", "resnet18") else len(trained.files))
    assert f"{cache / 'resnet18-f37072fd.pth'} (there with a wrong SHA-256)" in printed
    assert f"{cache / NAME} (there)" in printed


# --- out of a wheel --------------------------------------------------------------------------------------------------


def test_a_file_is_taken_out_of_the_wheel_and_the_second_time_it_is_already_there(
    cache: Path, index: Path, capsys: pytest.CaptureFixture[str]
):
    write_wheel(index, a_tflite=CONTENT, b_tflite=b"not wanted")
    assert models.fetch(of_wheel()) == []
    assert content(cache) == {NAME: CONTENT}
    assert capsys.readouterr().out == f"{cache / NAME}: fetched\n"
    (index / WHEEL).unlink()
    assert models.fetch(of_wheel()) == []
    assert capsys.readouterr().out == f"{cache / NAME}: already there\n"
    assert weights_file(mediapipe.DETECTOR.published._replace(name=NAME), "") == cached(NAME)


def test_a_wrong_digest_is_refused_and_nothing_of_it_is_left(cache: Path, index: Path):
    write_wheel(index, a_tflite=b"damaged")
    (failure,) = models.fetch(of_wheel())
    other = hashlib.sha256(b"damaged").hexdigest()[:8]
    assert f"{cache / NAME} is not there" in failure
    assert f"SHA-256 {other}..., expected {DIGEST[:8]}..." in failure
    assert content(cache) == {}


def test_a_wrong_file_that_is_there_is_replaced_and_kept_where_none_can_be_fetched(
    cache: Path, index: Path, capsys: pytest.CaptureFixture[str]
):
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(b"damaged")
    (failure,) = models.fetch(of_wheel())
    assert f"{cache / NAME} is there with a wrong SHA-256, and could not be fetched" in failure
    assert content(cache) == {NAME: b"damaged"}
    write_wheel(index, a_tflite=CONTENT)
    assert models.fetch(of_wheel()) == []
    assert content(cache) == {NAME: CONTENT}
    assert "replaced, its SHA-256 was wrong" in capsys.readouterr().out


def test_one_wrong_file_of_a_wheel_does_not_stop_the_other(cache: Path, index: Path):
    write_wheel(index, a_tflite=CONTENT, b_tflite=b"damaged")
    wrong = File(f"wrong-{DIGEST[:8]}.tflite", DIGEST, "toymodels/b.tflite")
    (failure,) = models.fetch(of_wheel(wrong, File(NAME, DIGEST, "toymodels/a.tflite")))
    assert str(cache / wrong.name) in failure
    assert content(cache) == {NAME: CONTENT}


def test_a_wheel_without_the_file_says_so(cache: Path, index: Path):
    write_wheel(index, b_tflite=CONTENT)
    (failure,) = models.fetch(of_wheel())
    assert f"{WHEEL}: " in failure
    assert "toymodels/a.tflite" in failure
    assert content(cache) == {}


def test_without_an_index_the_message_says_which_file_belongs_where_and_other_names_are_fetched(
    cache: Path,
    index: Path,
    site: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    folder, address = site
    (folder / "a.tflite").write_bytes(CONTENT)
    monkeypatch.setitem(MODELS, "toy", of_url(address))
    monkeypatch.setattr(sys, "argv", ["models", "fetch", "mediapipe", "toy"])
    with pytest.raises(SystemExit) as ended:
        models.main()
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert f"{cache / NAME}: fetched" in printed.out
    lines = [line for line in printed.err.splitlines() if "could not be fetched (pip download mediapipe==0.10.21: " in line]
    for line, file in zip(lines, MODELS["mediapipe"].files, strict=True):
        assert line.startswith(f"{cache / file.name} is not there")
        assert f"{file.location} in the wheel of mediapipe==0.10.21" in line
        assert f"begins with {file.sha256[:8]}" in line
    assert content(cache) == {NAME: CONTENT}


# --- by URL ----------------------------------------------------------------------------------------------------------


def test_a_file_is_downloaded_and_a_damaged_or_missing_one_is_named_with_its_url(
    cache: Path, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
):
    folder, address = site
    (missing,) = models.fetch(of_url(address))
    assert "404" in missing
    (folder / "a.tflite").write_bytes(CONTENT[:-1])
    (damaged,) = models.fetch(of_url(address))
    assert f"expected {DIGEST[:8]}..." in damaged
    (unreachable,) = models.fetch(of_url("http://127.0.0.1:1/"))
    for failure, start in ((missing, address), (damaged, address), (unreachable, "http://127.0.0.1:1/")):
        assert f"take {start}a.tflite, whose SHA-256 begins with {DIGEST[:8]}" in failure
    assert content(cache) == {}
    (folder / "a.tflite").write_bytes(CONTENT)
    assert models.fetch(of_url(address)) == []
    assert content(cache) == {NAME: CONTENT}


def test_a_cache_that_cannot_be_written_is_named(cache: Path, site: tuple[Path, str]):
    folder, address = site
    (folder / "a.tflite").write_bytes(CONTENT)
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder belongs")
    (failure,) = models.fetch(of_url(address))
    assert str(cache / NAME) in failure


# --- the published ones ----------------------------------------------------------------------------------------------


def test_mediapipes_files_are_where_the_stages_look(fetched: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(fetched("mediapipe")))
    for published in (mediapipe.LANDMARK_MODEL.published, mediapipe.DETECTOR.published, mediapipe.SELFIE_MODEL.published):
        assert weights_file(published, "") == cached(published.name)


def test_mobilenets_file_is_a_trunk_of_multipose(fetched: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, root: Path):
    monkeypatch.setenv("TORCH_HOME", str(fetched("mobilenet_v2")))
    file = cached(MODELS["mobilenet_v2"].files[0].name)
    spec = {"tasks": TASKS, "joints": 17, "activities": ACTIVITIES, "aspect": "kept", "grid_hw": DATA_BLOCK["grid_hw"]}
    block = MODEL_BLOCK | {"backbone": "mobilenet_v2", "width": 1, "weights": str(file)}
    network = model.Network(model.Config(**block), spec)
    before = next(iter(network.backbone.parameters())).clone()
    pretrained.load(network)
    assert (next(iter(network.backbone.parameters())) != before).all()
    command = [sys.executable, "-m", "stages.models", "fetch", "mobilenet_v2"]
    again = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert again.stdout == f"{file}: already there\n"
