"""Find the people in pictures with a trained system that answers for single pictures.

    people predict multipose photo.jpg folder/ --out predictions

writes for every picture 000001-<name>.png, with boxes, skeletons and activities drawn in, and people.json, in COCO's format:
the images, and each person's box, keypoints, score and activity. Folders are searched with all that is below them. A picture
that cannot be read is named at the end, and the exit code is then 1.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from people import checkpoints, systems
from people.datasets.coco.rendering import CATEGORY
from people.evaluation import plots
from people.layouts import image_files
from people.records import COCO_KEYPOINTS
from people.storage import write_atomic
from stages.shared.project import argument_parser

SELECTED = "data/metrics/{system}/selected.json"


class Prediction(NamedTuple):
    """What is found in pictures: entries of COCO's format, and why pictures were not read."""

    images: list[dict[str, Any]]
    people: list[dict[str, Any]]
    unread: list[str]


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "system", choices=systems.names(), help="one of the systems in params.yaml that answers for pictures, such as multipose"
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="pictures, or folders of them")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="the folder to write to (predictions)")
    parser.add_argument("--checkpoint", type=Path, help="the one that was judged best, if left out")
    parser.add_argument("--least-score", type=float, default=0.4, help="of people who are drawn (0.4); people.json has all")
    arguments = parser.parse_args()
    pictures = found_pictures(arguments.paths)
    checkpoint = arguments.checkpoint or selected(arguments.system)
    prediction = predict(checkpoint, pictures, arguments.out, arguments.least_score)
    print(f"{arguments.out}: {len(prediction.people)} people in {len(prediction.images)} pictures, by {checkpoint}")
    for reason in prediction.unread:
        print(f"not read: {reason}", file=sys.stderr)
    sys.exit(1 if prediction.unread else 0)


def selected(system: str) -> Path:
    """The checkpoint that was judged, as evaluate chose it."""
    file = Path(SELECTED.format(system=system))
    if not file.is_file():
        raise ValueError(
            f"no checkpoint of {system} was judged yet, there is no {file}: run dvc repro evaluate@{system}, or name "
            "one with --checkpoint"
        )
    return Path(json.loads(file.read_text())["checkpoint"])


def found_pictures(paths: Sequence[Path]) -> list[Path]:
    """The pictures at these paths, and in all folders at or below them; ValueError where there is none."""
    found: list[Path] = []
    for path in paths:
        below = (each for each in path.rglob("*") if each.suffix.lower() in image_files.IMAGES and each.is_file())
        found += sorted(below) if path.is_dir() else [path]
    if not found:
        raise ValueError(f"no picture ({', '.join(image_files.IMAGES)}) in {', '.join(map(str, paths))}")
    return found


def predict(checkpoint: Path, pictures: Sequence[Path], out: Path, least_score: float) -> Prediction:
    """Write what a trained network finds in these pictures to `out`."""
    network, entries = checkpoints.load(checkpoint)
    serving = systems.find(entries["system"], "serving")
    people_of = getattr(serving, "people", None)
    if people_of is None:
        raise ValueError(f"{entries['system']} does not answer for single pictures; multipose does")
    prediction = Prediction([], [], [])
    for path in tqdm(pictures, desc=entries["system"], unit="picture", mininterval=1.0):
        try:
            image_rgb = image_files.decode(path.read_bytes(), str(path))
        except (ValueError, OSError) as error:
            prediction.unread.append(str(error))
            continue
        number, (height, width) = len(prediction.images) + 1, image_rgb.shape[:2]
        found = people_of(network, entries["statistics"], image_rgb)
        prediction.images.append({"id": number, "file_name": path.as_posix(), "height": height, "width": width})
        first = len(prediction.people) + 1
        prediction.people.extend({"id": first + index, "image_id": number, **person} for index, person in enumerate(found))
        _, png = cv2.imencode(".png", cv2.cvtColor(drawn(image_rgb, found, least_score), cv2.COLOR_RGB2BGR))
        write_atomic(out / f"{number:06d}-{path.stem}.png", png.tobytes())
    content = {"images": prediction.images, "annotations": prediction.people, "categories": [CATEGORY]}
    write_atomic(out / "people.json", (json.dumps(content) + "\n").encode())
    return prediction


def drawn(image_rgb: np.ndarray, people: Sequence[Mapping[str, Any]], least_score: float) -> np.ndarray:
    """The picture with everybody of at least this score drawn in."""
    shown = [person for person in people if person["score"] >= least_score]
    boxes = np.array([person["bbox"] for person in shown], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    keypoints = np.array([person["keypoints"] for person in shown], np.float32).reshape(-1, len(COCO_KEYPOINTS), 3)
    labels = [f"{person.get('activity', '')} {100 * person['score']:.0f}".strip() for person in shown]
    return plots.with_people(image_rgb, boxes, keypoints, labels)


if __name__ == "__main__":
    main()
