"""From raw pictures, as a camera gives them, to what a registered model answers: prepared as the stages have prepared its data.

How the stages did it is recorded with the model (`recorded`): the settings that they have written into their stores, and the
network that finds keypoints in silhouettes.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from torch import nn

from people import systems
from people.serving import one_clip
from people.serving.model_input import Forms, Pictures, Raw
from people.storage.store import Store
from people.training.system import Identifying
from people.video import crops, flow, foregrounds, masks, poses, silhouettes
from people.video.tracks import person_boxes_xyxy_px

Arrays = dict[str, np.ndarray]  # the fields of a store
Settings = dict[str, Any]  # plain values
STUDENT = "student"  # the file of the network that finds keypoints

FRAMES = Pictures("the frames of one person's walk before a camera that does not move, in their order", grey=True)
COLOUR_FRAMES = FRAMES._replace(grey=False)
BACKGROUND = Pictures("frames of the empty scene by the same camera", grey=True)
COLOUR_BACKGROUND = BACKGROUND._replace(grey=False)
MASKS = Pictures("where the person is in each frame of a walk: 0 background, 255 or 1 the person", is_mask=True)
PHOTOS = Pictures("photos of people, one in each", one_size=False)
IMAGES = Pictures("photos of any number of people")


class Kind(NamedTuple):
    """What may be asked of a system that reads this kind of stores, and which settings its stage writes into them."""

    names: Mapping[str, Pictures]
    forms: Forms
    settings: tuple[str, ...]


class Recorded(NamedTuple):
    """How a model prepares raw pictures: by slot that it reads the kind, the dataset and the settings; files by their name."""

    slots: dict[str, Settings]
    files: dict[str, Path]


@runtime_checkable
class TakesPhotos(Protocol):
    """What the serving module of a system that reads scenes has beside `Serving`."""

    def of_photos(self, photos_rgb: list[UInt8[np.ndarray, "height width 3"]]) -> Arrays:
        """What `predict` takes, of photos."""
        ...


# --- what is recorded -------------------------------------------------------------------------------------------------


def recorded(system: str, reads: Mapping[str, Path], data_config: Mapping[str, Any]) -> Recorded:
    """How the stages have prepared what a system reads; without slots where raw pictures are not taken."""
    kinds = {slot: path.parent.name for slot, path in reads.items()}
    serving = systems.find(system, "serving")
    takes = isinstance(serving, TakesPhotos) if kinds["frames"] == "scenes" else isinstance(serving, Identifying)
    if kinds["frames"] not in KINDS or not takes:
        return Recorded({}, {})
    slots, files = {"frames": _slot(reads["frames"], kinds["frames"])}, {}
    if kinds.get("poses") == "poses" and data_config.get("keypoints"):
        slots["poses"] = _slot(reads["poses"], "poses")
        student = reads["poses"] / poses.STUDENT_FILE
        files = {STUDENT: student} if student.is_file() else {}
    return Recorded(slots, files)


def _slot(path: Path, kind: str) -> Settings:
    meta, wanted = Store.open(path).meta, KINDS[kind].settings
    if missing := [name for name in wanted if name not in meta]:
        raise ValueError(
            f"{path} does not say with which {', '.join(missing)} it was made: an earlier version has written it; run dvc "
            f"repro {kind}@{meta['dataset']}"
        )
    return {"kind": kind, "dataset": meta["dataset"], **{name: meta[name] for name in wanted}}


# --- what is asked ----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Preparation:
    """What a registered model answers of raw pictures: they are prepared as `slots` say; see `Recorded`."""

    network: nn.Module
    entries: Mapping[str, Any]
    slots: Mapping[str, Settings]
    files: Mapping[str, Path]

    def __post_init__(self) -> None:
        self.student: Any = None
        if STUDENT in self.files:
            self.pose_config = poses.Config(**self.slots["poses"]["student_settings"], weights="")
            self.student = poses.load_student(self.files[STUDENT], self.pose_config)

    @property
    def names(self) -> Mapping[str, Pictures]:
        """What each raw array is."""
        return KINDS[self.slots["frames"]["kind"]].names if self.slots else {}

    @property
    def forms(self) -> Forms:
        """Which raw arrays are asked together."""
        return KINDS[self.slots["frames"]["kind"]].forms if self.slots else ()

    def answers(self, raw: Raw) -> Arrays:
        """What the system's serving answers, of pictures; a `ValueError` says what is wrong with them."""
        kind, settings = self.slots["frames"]["kind"], self.slots["frames"]
        serving = systems.find(self.entries["system"], "serving")
        if isinstance(serving, TakesPhotos):
            return serving.predict(self.network, self.entries["statistics"], serving.of_photos(raw["photos"]))
        stores = {"frames": PREPARED[kind](raw, settings)}
        if "poses" in self.slots:
            stores["poses"] = self._keypoints(stores["frames"])
        with tempfile.TemporaryDirectory() as folder:
            reads = {slot: Path(folder, slot) for slot in stores}
            for slot, arrays in stores.items():
                one_clip.write(reads[slot], kind, settings["dataset"], arrays)
            try:
                return one_clip.predictions(self.network, self.entries, reads)
            except ValueError as error:
                raise ValueError(f"the pictures give no sample: {str(error).replace(folder, 'the request')}") from error

    def _keypoints(self, arrays: Arrays) -> Arrays:
        """The keypoints in silhouettes, as the stage poses finds them."""
        if self.student is None:
            raise ValueError(
                "this version was registered without the network that finds keypoints in silhouettes: send prepared arrays, or "
                "make data/poses again (dvc repro) and register it again"
            )
        found = poses.predict_clip(self.student, arrays["silhouette"], arrays["frame"][:, 0], self.pose_config)
        return {"keypoints": found}


# --- as the stages do it ----------------------------------------------------------------------------------------------


def flow_arrays(raw: Raw, settings: Settings) -> Arrays:
    """Flow and the walking person's boxes, as the stage flow stores them."""
    frames = raw["frames"]
    if len(frames) < 2:
        raise ValueError("optical flow is between two frames, expected at least 2, got 1; send more of the walk")
    height, width = settings["size_hw"]
    stored, grey, _ = flow.clip_flow(frames, flow.Config(settings["method"], settings["compute_size_hw"], (height, width)))
    boxes = person_boxes_xyxy_px(stored, grey)
    if (boxes == np.array([0, 0, width, height])).all():
        raise ValueError(
            f"no person found: nothing moves in the {len(frames)} frames; send successive frames of a walk by a camera that "
            "does not move"
        )
    return {"flow": stored, "box": boxes}


def silhouette_arrays(raw: Raw, settings: Settings) -> Arrays:
    """Normalised silhouettes with box and frame of each, as the stage silhouettes stores them."""
    config = silhouettes.Config(*(settings[name] for name in ("method", "size_hw", "soft", "pretreatment")), weights="")
    if "masks" in raw:
        own = _checked(raw["masks"])
        made = silhouettes.normalise_masks(own, config)
    else:
        if config.method != "background":
            raise ValueError(
                f"the silhouettes of this version's data are by the method {config.method!r}, which is no part of the model: "
                "find the person in each frame with it and send 'masks'"
            )
        found = silhouettes.segment_person(raw["frames"], raw.get("background", ()), config)
        made = silhouettes.normalise_masks([masks.crop(mask) for mask in found], config)
    if not len(made.frame):
        raise ValueError(
            f"no person found in the {len(next(iter(raw.values())))} pictures: nobody is seen, or too small; send pictures "
            "that show the person larger, and beside 'frames' also 'background', frames of the empty scene"
        )
    return made._asdict()


def _checked(own: list[UInt8[np.ndarray, "height width"]]) -> list[masks.Mask]:
    """Masks as grey masks; refused where they show nobody, are full or inverted."""
    try:
        grey = masks.to_grey(own)
        masks.check(grey)
        masks.person_threshold(grey)
    except masks.UnreadableMasksError as error:
        raise ValueError(
            f"no person found in 'masks': expected that {error.fault.rule}, got {error.fault.value}; send 0 for background and "
            "255 for the person"
        ) from error
    return grey


def foreground_arrays(raw: Raw, settings: Settings) -> Arrays:
    """The person on black, as the stage foregrounds stores it."""
    frames = raw["frames"]
    if "masks" in raw and [mask.shape for mask in raw["masks"]] != [frame.shape[:2] for frame in frames]:
        sizes = [f"{len(raw[name])} of {raw[name][0].shape[:2]} px" for name in ("frames", "masks")]
        raise ValueError(f"'masks' must be one for each frame, of its size: got frames {sizes[0]}, masks {sizes[1]}")
    found = silhouette_arrays(raw, {**settings, "size_hw": settings["silhouettes_size_hw"]})
    size_hw, pictures = settings["size_hw"], []
    for silhouette, box, index in zip(found["silhouette"], found["box"], found["frame"][:, 0].tolist(), strict=True):
        shown = foregrounds.region(box, size_hw)
        pictures.append(foregrounds.foreground(frames[index], silhouette, box, shown, size_hw).picture)
    return {"foreground": np.stack(pictures)}


def crop_arrays(raw: Raw, settings: Settings) -> Arrays:
    """Photos at one size, as the stage crops stores them."""
    height, width = settings["size_hw"]
    return {"image": crops.resize(raw["photos"], (height, width))}


PREPARED = {
    "flow": flow_arrays, "silhouettes": silhouette_arrays, "foregrounds": foreground_arrays, "crops": crop_arrays,
}  # fmt: skip
_OF_SILHOUETTES = ("method", "soft", "pretreatment", "size_hw")
KINDS = {
    "flow": Kind({"frames": FRAMES}, (frozenset({"frames"}),), ("method", "compute_size_hw", "size_hw")),
    "silhouettes": Kind(
        {"frames": FRAMES, "background": BACKGROUND, "masks": MASKS},
        (frozenset({"masks"}), frozenset({"frames"}), frozenset({"frames", "background"})),
        _OF_SILHOUETTES,
    ),
    "poses": Kind({}, (), ("student_settings",)),
    "foregrounds": Kind(
        {"frames": COLOUR_FRAMES, "background": COLOUR_BACKGROUND, "masks": MASKS},
        (frozenset({"frames"}), frozenset({"frames", "background"}), frozenset({"frames", "masks"})),
        (*_OF_SILHOUETTES, "silhouettes_size_hw"),
    ),
    "crops": Kind({"photos": PHOTOS}, (frozenset({"photos"}),), ("size_hw",)),
    "scenes": Kind({"photos": IMAGES}, (frozenset({"photos"}),), ()),
}
