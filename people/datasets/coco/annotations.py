"""The annotation file of COCO person keypoints: as a whole (`load`, `save`), and sorted by image (`label_file`).

The file is one JSON object: info, licenses, categories, images (id, file_name, height, width, license) and annotations (id,
image_id, category_id, bbox, keypoints, ...).
"""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from people.layouts import files, limits
from people.records import COCO_KEYPOINTS

PERSON = "person"
_EXPECTED = "the JSON file of COCO's person keypoints (lists of images, annotations and categories)"
_FETCH = "fetch person_keypoints_train2017.json or person_keypoints_val2017.json again"


class Image(NamedTuple):
    """An image as the file lists it; `license_url` is "" where the file gives none."""

    image_id: int
    file_name: str
    height_px: int
    width_px: int
    license_url: str


class LabelFile(NamedTuple):
    """A file's images by id, and the annotations of people by image; `repeated_ids` are those of more than one annotation.

    `left_out` counts, in words, what the file has beside them.
    """

    path: Path
    images: Mapping[int, Image]
    annotations: Mapping[int, list[dict[str, Any]]]
    repeated_ids: frozenset[int]
    left_out: Mapping[str, int]


# --- the whole file --------------------------------------------------------------------------------------------------


def load(path: Path) -> dict[str, Any]:
    """Everything that the file holds, unknown keys too, as `json` gives it."""
    return _content(path)


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write such a file; equal contents make equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _content(path: Path, **options: Any) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: expected {_EXPECTED}, no such file exists; {_FETCH}")
    limits.check_file_bytes(path.stat().st_size, str(path))
    text = files.read_text(path)
    try:
        content = json.loads(text, **options)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected {_EXPECTED}, but {error}; {_FETCH}") from None
    lists = ("images", "annotations", "categories")
    missing = [name for name in lists if not isinstance(content, dict) or not isinstance(content.get(name), list)]
    if missing:
        raise ValueError(f"{path}: expected {_EXPECTED}, it has no list {', '.join(missing)}; {_FETCH}")
    return content


# --- by image --------------------------------------------------------------------------------------------------------


def label_file(path: Path) -> LabelFile:
    """The file sorted by image; read once in a process, as long as it is the same."""
    if not path.is_file():
        raise ValueError(f"{path}: expected {_EXPECTED}, no such file exists; {_FETCH}")
    status = path.stat()
    return _label_file(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)  # train and val
def _label_file(path: Path, mtime_ns: int, size_bytes: int) -> LabelFile:
    content = _content(path, object_hook=_compacted)
    person_id = _person_id(path, content["categories"])
    left_out: Counter[str] = Counter()
    images = _images(path, content, left_out)
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    ids: Counter[int] = Counter()
    for number, entry in enumerate(content["annotations"]):
        _check_integers(path, "annotation", number, entry, ("id", "image_id", "category_id"))
        if entry["category_id"] != person_id:
            left_out["annotations of other categories than person"] += 1
        elif entry["image_id"] not in images:
            left_out["annotations of images that the file does not list"] += 1
        else:
            ids[entry["id"]] += 1
            by_image[entry["image_id"]].append(entry)
    repeated = frozenset(annotation_id for annotation_id, count in ids.items() if count > 1)
    return LabelFile(path, images, dict(by_image), repeated, left_out)


def _compacted(entry: dict[str, Any]) -> dict[str, Any]:
    """An object of the file with its lists of numbers as arrays, which take a quarter of the memory."""
    for name in entry.keys() & {"keypoints", "counts"}:
        entry[name] = _numbers(entry[name])
    if isinstance(entry.get("segmentation"), list):
        entry["segmentation"] = [_numbers(polygon) for polygon in entry["segmentation"]]
    return entry


def _numbers(value: Any) -> Any:
    if not isinstance(value, list) or any(type(each) not in (int, float) for each in value):
        return value
    try:
        return array("d", value)
    except OverflowError:
        return value


def _person_id(path: Path, categories: list[Any]) -> int:
    people = [category for category in categories if isinstance(category, dict) and category.get("name") == PERSON]
    if len(people) != 1 or type(people[0].get("id")) is not int:
        raise ValueError(f"{path}: expected one category {PERSON!r} with an id, got {len(people)}; {_FETCH}")
    if people[0].get("keypoints") != list(COCO_KEYPOINTS):
        raise ValueError(
            f"{path}: expected the category {PERSON!r} with the keypoints {', '.join(COCO_KEYPOINTS)}, got "
            f"{people[0].get('keypoints')}; {_FETCH}"
        )
    return people[0]["id"]


def _images(path: Path, content: Mapping[str, Any], left_out: Counter[str]) -> dict[int, Image]:
    urls = {
        entry.get("id"): entry.get("url") or ""
        for entry in content.get("licenses") or []
        if isinstance(entry, dict) and isinstance(entry.get("id"), int | str)
    }
    images: dict[int, Image] = {}
    for number, entry in enumerate(content["images"]):
        _check_integers(path, "image", number, entry, ("id", "height", "width"))
        name, key = entry.get("file_name"), entry.get("license")
        if not isinstance(name, str) or not Path(name).stem or min(entry["height"], entry["width"]) < 1:
            raise ValueError(f"{path}: image {entry['id']}: expected a file_name, a height and a width, got {entry}; {_FETCH}")
        if entry["id"] in images:
            raise ValueError(f"{path}: image {entry['id']} is listed twice, expected each id once; {_FETCH}")
        if key is not None and key not in urls:
            left_out["licences of images that the file does not list"] += 1
        images[entry["id"]] = Image(entry["id"], name, entry["height"], entry["width"], str(urls.get(key, "")))
    return images


def _check_integers(path: Path, what: str, number: int, entry: Any, names: tuple[str, ...]) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: expected an object for {what} number {number}, got {str(entry)[:80]}; {_FETCH}")
    if wrong := [name for name in names if type(entry.get(name)) is not int]:
        raise ValueError(
            f"{path}: {what} number {number}: expected a whole number as {wrong[0]}, got {entry.get(wrong[0])!r}; {_FETCH}"
        )
