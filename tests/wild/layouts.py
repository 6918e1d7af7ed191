"""Small archives of every layout as plain files: three people, written with OpenCV, SciPy and the operating system alone."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import scipy.io

SPLITS = ("train", "validation", "test")
PEOPLE = (1, 2, 3)  # one of each split


class Layout(NamedTuple):
    """An archive and the parts of it that variations change; paths are below the archive's folder.

    `data`: a folder of images or videos, or a file of them. `deep`: a folder within it, or that file. `text`: files of text.
    `clips`: how many are read. `is_packable`: whether zip files of the data are read.
    """

    dataset: str
    files: Callable[[], dict[str, bytes]]
    data: str
    deep: str
    text: tuple[str, ...]
    clips: int
    is_packable: bool = True


def picture(ending: str, seed: int = 0) -> bytes:
    """A small image of noise: three channels as JPEG, a grey one as PNG."""
    shape = (16, 12, 3) if ending == ".jpg" else (16, 12)
    return cv2.imencode(ending, np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))[1].tobytes()


def silhouette() -> bytes:
    """A white box on black."""
    image = np.zeros((16, 12), np.uint8)
    image[3:13, 4:8] = 255
    return cv2.imencode(".png", image)[1].tobytes()


def video(frames: int = 3) -> bytes:
    """A small Motion JPEG AVI."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.avi")
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 24))
        for seed in range(frames):
            writer.write(np.random.default_rng(seed).integers(0, 256, (24, 32, 3)).astype(np.uint8))
        writer.release()
        return path.read_bytes()


def tumgaid() -> dict[str, bytes]:
    lists = ("tumgaidtrainids.lst", "tumgaidvalids.lst", "tumgaidtestids.lst")
    files = {name: f"{person}\n".encode() for name, person in zip(lists, PEOPLE, strict=True)}
    files |= {"allgender.txt": b"1\n2\n1\n", "allage.txt": b"24\n31\nNaN\n"}
    names = [
        f"p{person:03d}/{sequence}/{frame:03d}.jpg" for person in PEOPLE for sequence in ("n01", "b01") for frame in (1, 2)
    ]
    return files | {f"image/{name}": picture(".jpg", seed) for seed, name in enumerate(names)}


def id_lists(digits: int) -> dict[str, bytes]:
    return {f"ids-{split}.txt": f"{person:0{digits}d}\n".encode() for split, person in zip(SPLITS, PEOPLE, strict=True)}


def casiab() -> dict[str, bytes]:
    files, film, mask = id_lists(3), video(), silhouette()
    for clip in (f"{person:03d}-{sequence}-090" for person in PEOPLE for sequence in ("nm-01", "nm-05")):
        subject, sequence = clip[:3], clip[4:9]
        files[f"video/{clip}.avi"] = film
        files |= {f"silhouettes/{subject}/{sequence}/090/{clip}-{frame:03d}.png": mask for frame in (1, 2, 3)}
    return files


def oumvlp() -> dict[str, bytes]:
    mask = silhouette()
    clips = [f"Silhouette_000-{walk}/{person:05d}" for person in PEOPLE for walk in ("00", "01")]
    names = [f"{clip}/{frame:04d}.png" for clip in clips for frame in (1, 2)]
    return id_lists(5) | dict.fromkeys(names, mask)


def fvg() -> dict[str, bytes]:
    clips = [f"session1/{person:03d}_{video}" for person in PEOPLE for video in ("01", "02")]
    names = [f"{clip}/{frame:05d}.png" for clip in clips for frame in (1, 2)]
    return id_lists(3) | {name: picture(".png", seed) for seed, name in enumerate(names)}


def columns() -> list[str]:
    from people.datasets.market1501.labels import COLUMNS

    return list(COLUMNS)


def market_photos(pattern: str, people: tuple[int, ...]) -> dict[str, bytes]:
    return {pattern.format(person, camera): picture(".jpg", 10 * person + camera) for person in people for camera in (1, 2)}


def market1501() -> dict[str, bytes]:
    def part(people: list[str]) -> dict[str, object]:
        return {name: np.ones(len(people)) for name in columns()} | {"image_index": np.array(people, dtype=object)}

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "labels.mat")
        scipy.io.savemat(path, {"market_attribute": {"train": part(["0001", "0002"]), "test": part(["0003"])}})
        labels = path.read_bytes()
    files = {"market_attribute.mat": labels, "validation_ids.txt": b"0002\n"}
    files |= market_photos("bounding_box_train/{:04d}_c{}s1_000451_01.jpg", (1,))
    files |= market_photos("bounding_box_train/more/{:04d}_c{}s1_000451_01.jpg", (2,))
    files |= market_photos("bounding_box_test/{:04d}_c{}s1_000451_01.jpg", (3,))
    return files | market_photos("query/{:04d}_c{}s1_000501_00.jpg", (3,))


def market1501_course() -> dict[str, bytes]:
    rows = [",".join(["id", *columns()]), *(",".join([str(person), *["1"] * len(columns())]) for person in PEOPLE)]
    files = {"annotations_train.csv": "".join(f"{row}\n" for row in rows).encode()}
    files |= market_photos("train/{:04d}_c{}_016620005.jpg", (1, 2))
    return files | market_photos("train/more/{:04d}_c{}_016620005.jpg", (3,))


def usf() -> dict[str, bytes]:
    files = id_lists(3)
    for name in ("gait_gallery_data.mat", "PrbA.mat"):
        background = np.random.default_rng(len(name)).integers(0, 2, (8, 6, 2, len(PEOPLE)), np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            scipy.io.savemat(path, {"fea3D": background, "gnd": np.array(PEOPLE)[:, None]})
            files[name] = path.read_bytes()
    return files


def coco() -> dict[str, bytes]:
    from people.records import COCO_KEYPOINTS

    files = {"validation_ids.txt": b"2\n"}
    for subset, places in {"train2017": {1: "", 2: "", 3: "more/", 4: "more/"}, "val2017": {5: "", 6: ""}}.items():
        images = [{"id": number, "file_name": f"{number:012d}.jpg", "height": 16, "width": 12} for number in places]
        person = {"category_id": 1, "bbox": [2, 3, 8, 10], "area": 50, "iscrowd": 0, "keypoints": [5, 6, 2] * 17}
        people = [{**person, "id": number, "image_id": number} for number in places]
        category = {"id": 1, "name": "person", "keypoints": list(COCO_KEYPOINTS)}
        content = {"images": images, "annotations": people, "categories": [category]}
        files[f"annotations/person_keypoints_{subset}.json"] = json.dumps(content).encode()
        files |= {f"{subset}/{below}{number:012d}.jpg": picture(".jpg", number) for number, below in places.items()}
    return files


def mpii() -> dict[str, bytes]:
    from people.datasets.mpii.labels import JOINTS

    joints = [name.replace("right_", "r ").replace("left_", "l ").replace("_", " ") for name in JOINTS]
    rows = [",".join(["", "NAME", *(f"{name}_{axis}" for name in joints for axis in "XY"), "Scale,Activity,Category"])]
    for number in range(1, 7):
        places = [f"{2 + (joint + number) % 8},{3 + joint % 10}" for joint in range(len(joints))]
        rows.append(",".join(["0", f"{number:09d}.jpg", *places, "0.05,hiking,walking"]))
    files = {f"images/{number:09d}.jpg": picture(".jpg", number) for number in range(1, 7)}
    return files | {"mpii_joints_activities.csv": "".join(f"{row}\n" for row in rows).encode()}


_LISTS = tuple(f"ids-{split}.txt" for split in SPLITS)
_ANNOTATIONS = tuple(f"annotations/person_keypoints_{subset}.json" for subset in ("train2017", "val2017"))
LAYOUTS = {
    "tumgaid": Layout("tumgaid", tumgaid, "image", "image/p002", ("tumgaidtrainids.lst", "allage.txt", "allgender.txt"), 6),
    "casiab": Layout("casiab", casiab, "silhouettes", "silhouettes/002/nm-01", _LISTS, 6),
    "oumvlp": Layout("oumvlp", oumvlp, "Silhouette_000-00", "Silhouette_000-00/00002", _LISTS, 6),
    "fvg": Layout("fvg", fvg, "session1", "session1/002_01", _LISTS, 6),
    "market1501": Layout("market1501", market1501, "bounding_box_train", "bounding_box_train/more", ("validation_ids.txt",), 8),
    "market1501_course": Layout("market1501", market1501_course, "train", "train/more", ("annotations_train.csv",), 6),
    "usf": Layout("usf", usf, "PrbA.mat", "PrbA.mat", _LISTS, 6, is_packable=False),
    "coco": Layout("coco", coco, "train2017", "train2017/more", ("validation_ids.txt", *_ANNOTATIONS), 6),
    "mpii": Layout("mpii", mpii, "images", "images", ("mpii_joints_activities.csv",), 6, is_packable=False),
}
