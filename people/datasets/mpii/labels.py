"""The labels of MPII Human Pose: the official MATLAB file, and a table of one person per image.

Official: the struct RELEASE with annolist (image.name, annorect of people, each with annopoints.point of x, y, id, is_visible,
          and scale, objpos; vididx), act (act_name, cat_name) and img_train
Table:    a row per person with NAME, <joint>_X and <joint>_Y of the 16 joints, Scale, Activity, Category. Its first column is 0
          in every row and not read. -1, -1 is a joint that is missing; other numbers below 0 are joints above the image.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from people.datasets.mpii.activities import activity_of
from people.layouts import files, matlab
from people.records import Activity

JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("pelvis", "thorax", "upper_neck", "head_top"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
)
MAT, CSV = "mpii_human_pose_v1_u12_1.mat", "mpii_joints_activities.csv"
MAT_FOLDER = "mpii_human_pose_v1_u12_2"  # as the official archive unpacks
MAX_ENTRIES = 1 << 23  # of the official file's one variable, which has about 4 million
_COLUMNS = [
    f"{name.replace('right_', 'r ').replace('left_', 'l ').replace('_', ' ')}_{axis}" for name in JOINTS for axis in "XY"
]
_TABLE = f"a table of the columns NAME, {', '.join(_COLUMNS[:2])}, ..., Scale, Activity, Category"
_RELEASE = "the MATLAB struct RELEASE with annolist, act and img_train"
_UNKNOWN_TEXT = "[]"  # an activity or category in the table that is empty in the official file


class Poses(NamedTuple):
    """People with labelled joints: NaN for a missing one, in the order of `JOINTS`.

    `activity` is of `activity_of`, `raw_activity` and `category` are MPII's own text, "" where it has none. `scale` is the
    person's height in 200 pixels, NaN where it is not known. Of `is_hidden` joints others cover the place.
    """

    images: tuple[str, ...]
    joints_px: Float[np.ndarray, "person 16 2"]
    is_hidden: Bool[np.ndarray, "person 16"]
    activity: tuple[Activity | None, ...]
    category: tuple[str, ...]
    raw_activity: tuple[str, ...]
    scale: Float[np.ndarray, " person"]


class Person(NamedTuple):
    """One person of the file; without joints the position (`x`, `y` of the body's middle) is all that there is."""

    image: str
    joints_px: Float[np.ndarray, "16 2"]
    is_hidden: Bool[np.ndarray, " 16"]
    position_px: Float[np.ndarray, " 2"]
    scale: float


class LabelFile(NamedTuple):
    """People by image, in the file's order; the activity and category of every image, and its video ("" not known).

    `left_out` counts, in words, what the file has beside them.
    """

    people: Mapping[str, list[Person]]
    activities: Mapping[str, tuple[str, str]]
    videos: Mapping[str, str]
    left_out: Mapping[str, int]


# --- files -----------------------------------------------------------------------------------------------------------


def find(root: Path) -> Path:
    """The file of labels at a root: the official one, also in its folder, or the table."""
    inside = files.find(root, MAT_FOLDER)
    places = [(root, MAT), *([(inside, MAT)] if inside else []), (root, CSV)]
    for place, name in places:
        if path := files.find(place, name):
            return path
    raise ValueError(
        f"expected MPII Human Pose at {root}: {MAT} (also in the folder {MAT_FOLDER}) or {CSV}, found none; correct the "
        "dataset's archive in params.yaml, or put the labels there"
    )


def label_file(path: Path) -> LabelFile:
    """The labels of a file; read once in a process, as long as it is the same."""
    if not path.is_file():
        raise ValueError(f"{path}: expected the labels of MPII, no such file exists; ingest the dataset again")
    status = path.stat()
    return _label_file(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _label_file(path: Path, mtime_ns: int, size_bytes: int) -> LabelFile:
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_mat(path)


def poses(root: Path) -> Poses:
    """Everybody whose joints are labelled, in the order of the images' names; of one pose listed twice only the first."""
    labels = label_file(find(root))
    people = [
        person for _, listed in sorted(labels.people.items()) for person in listed if not np.isnan(person.joints_px).all()
    ]
    texts = [labels.activities[person.image] for person in people]
    return Poses(
        images=tuple(person.image for person in people),
        joints_px=np.array([person.joints_px for person in people]).reshape(-1, len(JOINTS), 2),
        is_hidden=np.array([person.is_hidden for person in people], dtype=bool).reshape(-1, len(JOINTS)),
        activity=tuple(activity_of(activity, category) for activity, category in texts),
        category=tuple(category for _, category in texts),
        raw_activity=tuple(activity for activity, _ in texts),
        scale=np.array([person.scale for person in people], dtype=float),
    )


def _collect(people: Iterator[Person], left_out: Counter[str]) -> dict[str, list[Person]]:
    """People by image, without those who are listed twice in one."""
    by_image: dict[str, list[Person]] = {}
    seen: set[tuple[str, bytes]] = set()
    for person in people:
        key = (person.image, person.joints_px.tobytes() + person.position_px.tobytes())
        if key in seen:
            left_out["people listed twice in one image"] += 1
            continue
        seen.add(key)
        by_image.setdefault(person.image, []).append(person)
    return by_image


# --- the table -------------------------------------------------------------------------------------------------------


def _read_csv(path: Path) -> LabelFile:
    table = files.read_csv(path.read_bytes(), str(path), _TABLE, keep_default_na=False)
    if missing := [name for name in ("NAME", *_COLUMNS, "Scale", "Activity", "Category") if name not in table]:
        raise ValueError(f"{path}: expected {_TABLE}, {', '.join(missing[:5])} are missing; fetch the file again")
    try:
        numbers = table[[*_COLUMNS, "Scale"]].to_numpy(dtype=float)
    except ValueError as error:
        raise ValueError(f"{path}: expected numbers of joints and scales, but {error}; correct the row") from None
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers).all(axis=1))[0])
        raise ValueError(f"{path}: row {row} of the table has no finite number in every column of joints; correct it")
    joints_px = numbers[:, :-1].reshape(-1, len(JOINTS), 2)
    joints_px[(joints_px == -1).all(axis=2)] = np.nan
    texts = [table[name].astype(str).replace(_UNKNOWN_TEXT, "").tolist() for name in ("NAME", "Activity", "Category")]
    activities: dict[str, tuple[str, str]] = {}
    for image, activity, category in zip(*texts, strict=True):
        if activities.setdefault(image, (activity, category)) != (activity, category):
            raise ValueError(
                f"{path}: expected one activity of the image {image}, got {activities[image][0]!r} and {activity!r}; correct it"
            )
    left_out: Counter[str] = Counter()
    hidden, nowhere = np.zeros(len(JOINTS), dtype=bool), np.full(2, np.nan)  # which the table does not say
    rows = zip(texts[0], joints_px, numbers[:, -1], strict=True)
    people = _collect((Person(name, joints, hidden, nowhere, float(scale)) for name, joints, scale in rows), left_out)
    return LabelFile(people, activities, dict.fromkeys(activities, ""), left_out)


# --- the official file -----------------------------------------------------------------------------------------------


def _read_mat(path: Path) -> LabelFile:
    content = matlab.read(path, _RELEASE, max_entries=MAX_ENTRIES, squeeze_me=True, struct_as_record=False)
    try:
        release = content["RELEASE"]
        images, acts = _structs(release.annolist), _structs(release.act)
        is_train = np.ravel(release.img_train).astype(bool)
        if not len(images) == len(acts) == len(is_train):
            raise ValueError(f"annolist, act and img_train have {len(images)}, {len(acts)} and {len(is_train)} entries")
        names = [_text(image.image.name) for image in images]
        left_out: Counter[str] = Counter({"images of the official test set, which has no labels": int((~is_train).sum())})
        train = [(name, image, act) for name, image, act, used in zip(names, images, acts, is_train, strict=True) if used]
        people = _collect((person for name, image, _ in train for person in _people(name, image)), left_out)
        left_out["images to train in which nobody is labelled"] = len({name for name, *_ in train} - people.keys())
        texts = {name: (_text(act.act_name), _text(act.cat_name)) for name, _, act in train}
        videos = {name: _video(image) for name, image, _ in train}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected {_RELEASE}, but {error}; fetch the file again") from None
    return LabelFile(people, texts, videos, left_out)


def _people(name: str, image: Any) -> Iterator[Person]:
    for person in _structs(image.annorect):
        joints_px, is_hidden = np.full((len(JOINTS), 2), np.nan), np.zeros(len(JOINTS), dtype=bool)
        points = getattr(person, "annopoints", None)
        for point in _structs(getattr(points, "point", None)):
            joint = int(_number(point.id))
            if not 0 <= joint < len(JOINTS):
                raise ValueError(f"a joint of {name} has the id {joint}")
            joints_px[joint] = _number(point.x), _number(point.y)
            is_hidden[joint] = _number(getattr(point, "is_visible", None)) == 0
        position = next(iter(_structs(getattr(person, "objpos", None))), None)
        position_px = np.array([_number(getattr(position, axis, None)) for axis in "xy"])
        scale = _number(getattr(person, "scale", None))
        if np.isinf([*joints_px.ravel(), *position_px, scale]).any():
            raise ValueError(f"somebody in {name} has an infinite coordinate or scale")
        if not np.isnan(joints_px).all() or not np.isnan([*position_px, scale]).any():
            yield Person(name, joints_px, is_hidden, position_px, scale)


def _structs(value: Any) -> list[Any]:
    """The structs of a field: SciPy has one, an array of them, or an empty array."""
    return [each for each in np.atleast_1d(np.asarray(value, dtype=object)).ravel() if hasattr(each, "_fieldnames")]


def _number(value: Any) -> float:
    """A number, also one that is written as text; NaN where the field is empty."""
    values = np.ravel(np.asarray(value, dtype=object))
    return float(values[0]) if len(values) == 1 and values[0] not in (None, "") else float("nan")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _video(image: Any) -> str:
    number = _number(getattr(image, "vididx", None))
    return "" if np.isnan(number) else f"{int(number)}"
