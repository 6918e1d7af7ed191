"""One sample of DMT: 25 maps of optical flow, cropped around the person in the middle one, minus the training mean."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor

from people.nn import losses
from people.nn.device_frames import DeviceFrames, frame_bytes, on_device
from people.records import GENDERS
from people.storage.store import Store


@dataclass(frozen=True)
class Config:
    """How windows are cut from a clip's flow maps, cropped, and varied in training.

    `shifts_px`: the shifts of a training crop, drawn for x and y separately; 0 occurs only if it is listed.
    """

    window_frames: int
    step_frames: int
    crop_px: int
    mirror: bool
    shifts_px: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shifts_px", tuple(self.shifts_px))
        for name in ("window_frames", "step_frames", "crop_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"dmt.data.{name} must be at least 1, got {getattr(self, name)}")
        if not self.shifts_px or max(map(abs, self.shifts_px)) >= self.crop_px:
            raise ValueError(
                f"dmt.data.shifts_px must name shifts below the crop's {self.crop_px} px ([0] for none), got {self.shifts_px}"
            )


class Samples:
    """The windows of one split. `clips` are the split's clips with a window, in the store's order; `clip` indexes its rows.

    A window starts every `step_frames` flow maps and ends within its clip; a clip that is shorter than one window gives none,
    and no window is cut around a middle map without a person (`without_person` counts those). `nbytes` is the size of the
    clips' flow maps, which `to` copies.
    """

    def __init__(self, store: Store, clips: pd.DataFrame, config: Config) -> None:
        self.config, self.scale = config, float(store.meta["flow_scale"])
        self._store, self._flow = store, store.field("flow")
        lengths = clips["length"].to_numpy()
        counts = np.maximum(0, (lengths - config.window_frames) // config.step_frames + 1)
        clip_rows = np.repeat(np.arange(len(clips)), counts)
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = clips["start"].to_numpy()[clip_rows] + steps * config.step_frames
        boxes_xyxy_px = np.asarray(store.field("box")[starts + config.window_frames // 2], np.float64).reshape(-1, 4)
        has_person = np.isfinite(boxes_xyxy_px).all(1) & (boxes_xyxy_px[:, 2] > boxes_xyxy_px[:, 0])
        self.without_person = int((~has_person).sum())
        kept_rows, self.clip = np.unique(clip_rows[has_person], return_inverse=True)
        self.clips = clips.iloc[kept_rows].reset_index(drop=True)
        self.starts = starts[has_person]
        centres_px = (boxes_xyxy_px[has_person, 0] + boxes_xyxy_px[has_person, 2]) / 2
        self.left_px = np.floor(centres_px - config.crop_px / 2 + 0.5).astype(int)
        self.nbytes = int(self.clips["length"].sum()) * frame_bytes(self._flow)
        self._device = torch.device("cpu")
        self._device_flow: DeviceFrames | None = None
        self._targets: tuple[tuple[str, ...], dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def to(self, device: torch.device | str) -> "Samples":
        """The same windows with their flow maps and targets on a device, where batches are then cut; equal values."""
        moved = copy.copy(self)
        moved._device, moved._targets = torch.device(device), None
        starts, lengths = (self.clips[name].to_numpy() for name in ("start", "length"))
        moved._device_flow = DeviceFrames(self._flow, starts, lengths, moved._device)
        return moved

    def targets(self, spec: dict[str, Any]) -> dict[str, Tensor]:
        """The labels of every window; `spec["subjects"]` are the people who have an identity.

        "identity" their index or -1, "subject" the person's own number within this split, "gender" (0 female, 1 male,
        -1 unknown), "age_years" (NaN unknown), "clip" the row of `clips`.
        """
        subjects = tuple(spec["subjects"])
        if self._targets is None or self._targets[0] != subjects:
            clip_labels = {
                "identity": torch.from_numpy(pd.Index(subjects).get_indexer(self.clips["subject_id"]).astype(np.int64)),
                "subject": torch.from_numpy(pd.factorize(self.clips["subject_id"], sort=True)[0].astype(np.int64)),
                "gender": torch.from_numpy(pd.Index(GENDERS).get_indexer(self.clips["gender"]).astype(np.int64)),
                "age_years": torch.from_numpy(self.clips["age_years"].to_numpy(np.float32).copy()),
                "clip": torch.arange(len(self.clips)),
            }
            windows = torch.from_numpy(self.clip)
            self._targets = subjects, {name: values[windows].to(self._device) for name, values in clip_labels.items()}
        return self._targets[1]

    def crop(self, index: int, *, shift_x_px: int = 0, shift_y_px: int = 0) -> Int16[np.ndarray, "map 2 crop crop"]:
        """One window as stored, cropped; 0 outside the map. A positive shift moves the image right and down."""
        height, width = self._flow.shape[2:]
        side = self.config.crop_px
        top = (height - side) // 2 - shift_y_px  # the same rows of every map: no vertical centring on the person
        left = int(self.left_px[index]) - shift_x_px
        rows, crop_rows = _overlap(top, side, height)
        columns, crop_columns = _overlap(left, side, width)
        window = self._flow[self.starts[index] : self.starts[index] + self.config.window_frames]
        cropped = np.zeros((self.config.window_frames, 2, side, side), np.int16)
        cropped[:, :, crop_rows, crop_columns] = window[:, :, rows, columns]
        return cropped

    def batch(
        self,
        indices: Sequence[int],
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment: np.random.Generator | None,
    ) -> dict[str, Tensor]:
        """The targets of these windows and their "flow" (sample, 2·map, crop, crop), x and y interleaved, minus the mean.

        With `augment` each window is mirrored half of the time and shifted. Its augmentation depends only on the state of the
        generator and the window's index: with one made for (seed, epoch), neither the batch size nor the number of workers
        changes a sample.
        """
        draws, mean = self._draws(indices, augment), statistics["mean"]
        if self._device_flow is None:
            flow = self._cut_on_host(indices, draws, mean)
        else:
            flow = self._cut_on_device(self._device_flow, np.asarray(indices), draws, mean.to(self._device))
        rows = on_device(np.asarray(indices, np.int64), self._device)
        return {"flow": flow, **{name: values[rows] for name, values in self.targets(spec).items()}}

    def _draws(self, indices: Sequence[int], augment: np.random.Generator | None) -> Int[np.ndarray, "sample 3"]:
        """Of each window its shifts in x and y in px, and 1 if it is mirrored; all 0 without `augment`."""
        draws = np.zeros((len(indices), 3), np.int64)
        if augment is None:
            return draws
        key, shifts_px = int(augment.integers(2**63)), np.array(self.config.shifts_px)
        for draw, index in zip(draws, indices, strict=True):
            generator = np.random.default_rng([key, int(index)])
            draw[:2] = shifts_px[generator.integers(len(shifts_px), size=2)]
            draw[2] = self.config.mirror and generator.random() < 0.5
        return draws

    def _cut_on_host(
        self, indices: Sequence[int], draws: Int[np.ndarray, "sample 3"], mean: Float[Tensor, "channel crop crop"]
    ) -> Float[Tensor, "sample channel crop crop"]:
        side = self.config.crop_px
        flow = torch.empty(len(indices), 2 * self.config.window_frames, side, side)
        for sample, index, (shift_x_px, shift_y_px, is_mirrored) in zip(flow, indices, draws.tolist(), strict=True):
            cropped = self.crop(index, shift_x_px=shift_x_px, shift_y_px=shift_y_px)
            cropped = mirror_flow(cropped) if is_mirrored else cropped
            # one at a time: a sample fits the processor's cache
            torch.mul(torch.from_numpy(cropped).view_as(sample), 1 / self.scale, out=sample)
            sample -= mean
        return flow

    def _cut_on_device(
        self,
        stored: DeviceFrames,
        indices: Int[np.ndarray, " sample"],
        draws: Int[np.ndarray, "sample 3"],
        mean: Float[Tensor, "channel crop crop"],
    ) -> Float[Tensor, "sample channel crop crop"]:
        """The same, all windows at once: the rows of every map that a crop shows, and of these its columns."""
        height, width = self._flow.shape[2:]
        side = self.config.crop_px
        shift_x_px, shift_y_px, is_mirrored = draws.T
        first = 2 * stored.places(self.starts[indices])  # x and y of a map lie one behind the other
        top, left = (height - side) // 2 - shift_y_px, self.left_px[indices] - shift_x_px
        numbers = on_device(np.stack([first, top, left, is_mirrored]), self._device)
        first, top, left, is_mirrored = (of_samples[:, None] for of_samples in numbers)
        steps = torch.arange(side, device=self._device)
        rows, columns = top + steps, left + torch.where(is_mirrored == 1, side - 1 - steps, steps)  # (sample, crop)
        planes = first + torch.arange(2 * self.config.window_frames, device=self._device)  # (sample, channel)
        inner_rows, inner_columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        lines = planes[:, :, None] * height + inner_rows[:, None]  # (sample, channel, crop): rows of all maps end to end
        crops = stored.values.flatten(0, 2)[lines].gather(3, inner_columns[:, None, None].expand(*lines.shape, side))
        is_outside = (rows != inner_rows)[:, :, None] | (columns != inner_columns)[:, None]  # (sample, crop, crop)
        crops.masked_fill_(is_outside[:, None], 0)
        crops[:, ::2] *= (1 - 2 * is_mirrored).to(crops.dtype)[:, :, None, None]  # the x components
        return crops.mul(1 / self.scale).sub_(mean)


def mirror_flow(flow: Int16[np.ndarray, "map 2 height width"]) -> Int16[np.ndarray, "map 2 height width"]:
    """The flow of the mirrored scene: every map flipped left to right, and the x components negated."""
    flipped = flow[..., ::-1].copy()
    np.negative(flipped[:, 0], out=flipped[:, 0])
    return flipped


def open_samples(reads: dict[str, Path], config: Config, split: str, tasks: Collection[str]) -> Samples:
    """The windows of one split of the flow store at `reads["frames"]`, the same for all tasks."""
    path = Path(reads["frames"])
    store = Store.open(path)
    clips = store.clips.query("split == @split").reset_index(drop=True)
    samples = Samples(store, clips, config)
    if len(samples) == 0:
        longest = max(clips["length"], default=0)
        raise ValueError(
            f"the split {split!r} of {path} must have a window of {config.window_frames} flow maps around a person, "
            f"got {len(clips)} clips, the longest of {longest} maps, {samples.without_person} windows without a person: "
            "provide longer clips of this split or lower dmt.data.window_frames"
        )
    return samples


def statistics(train: Samples) -> dict[str, Tensor]:
    """The mean of all training windows, per element, of crops as they are: whole numbers are summed, so no order matters."""
    total = np.zeros((train.config.window_frames, 2, train.config.crop_px, train.config.crop_px), np.int64)
    for index in range(len(train)):
        total += train.crop(index)
    mean = total / (len(train) * train.scale)
    return {"mean": torch.from_numpy(mean.astype(np.float32).reshape(-1, *mean.shape[2:]))}


def spec(train: Samples) -> dict[str, Any]:
    """What the network must know of the training data: subjects, sizes, and the distribution of ages (each person counts once).

    Centre and spread of the ages are robust, as the age loss is: the median and 1.4826 MAD. A few old people among many
    young ones would otherwise bias the initial predictions of the age head.
    """
    ages_years = train.clips.groupby("subject_id")["age_years"].first().dropna()
    has_ages = len(ages_years) > 0
    centre_years = float(ages_years.median()) if has_ages else 0.0
    mad_years = float((ages_years - centre_years).abs().median()) if has_ages else 0.0
    spread_years = float(ages_years.std(ddof=0)) if has_ages else 0.0
    side = train.config.crop_px
    return {
        "subjects": sorted(train.clips["subject_id"].unique().tolist()),
        "channels": 2 * train.config.window_frames,
        "size_hw": [side, side],
        "age_centre_years": centre_years,
        "age_scale_years": losses.MAD_TO_STANDARD_DEVIATION * mad_years or spread_years or 1.0,
    }


def _overlap(first: int, size: int, limit: int) -> tuple[slice, slice]:
    """The intersection of [first, first + size) and [0, limit): as a slice of the map, and as a slice of the crop."""
    begin, end = max(first, 0), min(first + size, limit)
    end = max(begin, end)
    return slice(begin, end), slice(begin - first, end - first)
