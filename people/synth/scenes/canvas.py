"""One depth buffer for all people, furniture and objects of a picture, and who is visible where."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from people.synth.scene.figures import SUPERSAMPLE

NOBODY, FURNITURE = -1, -2
_TOUCHING_M = 0.03  # surfaces of others that are nearer than a joint by less do not hide it


@dataclass(frozen=True, eq=False)
class Layer:
    """Samples of one person or one piece of furniture in a window of the picture; `owner` is the person's index."""

    owner: int
    top_left: tuple[int, int]  # row, column (pixels)
    rgba: UInt8[np.ndarray, "row column 4"]
    inverse_depth: Float[np.ndarray, "row column"]

    @property
    def sample_window(self) -> tuple[slice, slice]:
        """Where the samples lie in the picture's grid of samples."""
        top, left = (SUPERSAMPLE * coordinate for coordinate in self.top_left)
        return slice(top, top + self.rgba.shape[0]), slice(left, left + self.rgba.shape[1])

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the samples lie in the picture, in pixels."""
        (top, left), (height, width) = self.top_left, (length // SUPERSAMPLE for length in self.rgba.shape[:2])
        return slice(top, top + height), slice(left, left + width)

    def mask(self, size_hw: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
        """The pixels of which the layer covers at least half, hidden ones included."""
        mask = np.zeros(size_hw, bool)
        mask[self.window] = 2 * _samples_per_pixel(self.inverse_depth > 0) >= SUPERSAMPLE**2
        return mask


class Canvas:
    """The nearest sample of all layers drawn so far; objects of the background hide what is behind them."""

    def __init__(self, object_inverse_depth: Float[np.ndarray, "height width"]) -> None:
        self.inverse_depth = object_inverse_depth.repeat(SUPERSAMPLE, axis=0).repeat(SUPERSAMPLE, axis=1)
        self.owner: Int[np.ndarray, "row column"] = np.where(self.inverse_depth > 0, FURNITURE, NOBODY).astype(np.int16)
        self.rgba = np.zeros((*self.inverse_depth.shape, 4), np.uint8)

    def draw(self, layer: Layer) -> None:
        """Draw a layer where it is nearer than what is there."""
        window = layer.sample_window
        is_nearer = layer.inverse_depth > self.inverse_depth[window]
        np.copyto(self.inverse_depth[window], layer.inverse_depth, where=is_nearer)
        np.copyto(self.owner[window], np.int16(layer.owner), where=is_nearer)
        np.copyto(self.rgba[window], layer.rgba, where=is_nearer[..., None])

    def over(self, background_rgb: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 3"]:
        """The picture: what is drawn, over the background."""
        height, width = background_rgb.shape[:2]
        foreground = cv2.resize(self.rgba, (width, height), interpolation=cv2.INTER_AREA)
        transparency = np.float32(1) - foreground[..., 3:].astype(np.float32) * np.float32(1 / 255)
        return background_rgb * transparency + foreground[..., :3]

    def visible_masks(
        self, layers: list[Layer], masks: list[Bool[np.ndarray, "height width"]]
    ) -> list[Bool[np.ndarray, "height width"]]:
        """For each layer of a person, from near to far, the pixels of its mask that are its own.

        A pixel belongs to the one with most samples of those whose mask has it, the nearer of two with as many, or to
        furniture that covers more of it; so visible masks are disjoint.
        """
        size_hw = self.owner.shape[0] // SUPERSAMPLE, self.owner.shape[1] // SUPERSAMPLE
        most, winner = np.zeros(size_hw, np.uint8), np.full(size_hw, NOBODY, np.int16)
        for layer, mask in zip(layers, masks, strict=True):
            samples = _samples_per_pixel(self.owner[layer.sample_window] == layer.owner)
            is_most = mask[layer.window] & (samples > most[layer.window])
            np.copyto(most[layer.window], samples, where=is_most)
            np.copyto(winner[layer.window], np.int16(layer.owner), where=is_most)
        winner[_samples_per_pixel(self.owner == FURNITURE) > most] = FURNITURE
        return [winner == layer.owner for layer in layers]

    def hide(self, keypoints_px: Float[np.ndarray, "17 3"], depth_m: Float[np.ndarray, " 17"], owner: int) -> None:
        """Mark in place as hidden (1) the visible keypoints (2) behind furniture or somebody else."""
        limit = np.array(self.owner.shape) - 1
        row, column = np.clip(np.floor(keypoints_px[:, 1::-1] * SUPERSAMPLE), 0, limit).astype(int).T
        surface_m = 1 / np.maximum(self.inverse_depth[row, column], 1e-6)
        is_covered = (self.owner[row, column] != owner) & (surface_m < depth_m - _TOUCHING_M)
        keypoints_px[(keypoints_px[:, 2] == 2) & is_covered, 2] = 1


def _samples_per_pixel(is_sample: Bool[np.ndarray, "row column"]) -> UInt8[np.ndarray, "height width"]:
    rows, columns = is_sample.shape[0] // SUPERSAMPLE, is_sample.shape[1] // SUPERSAMPLE
    blocks = is_sample.view(np.uint8).reshape(rows, SUPERSAMPLE, columns, SUPERSAMPLE)
    return np.einsum("ribj->rb", blocks)
