"""The baseline of re-identification: colour histograms of the upper and the lower half of a photo's middle columns.

The cameras differ in light and tint: with raw colours, and the background beside the person, the nearest photo is by the
query's own camera. So only the middle half of the columns is used, after a grey-world correction.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

BINS = np.array([12, 4, 4])  # of hue, saturation and value
LEVELS = np.array([180, 256, 256])  # of hue, saturation and value in OpenCV
HALVES = 2
GREY = 110.0  # level to which the mean of each channel is brought


def histograms(images_rgb: UInt8[np.ndarray, "photo height width 3"]) -> Float[np.ndarray, "photo bin"]:
    """The square root of the shares of pixels in each bin of hue, saturation and value, of the upper half, then the lower,
    after the grey-world correction (Buchsbaum, 1980) of the middle columns.

    The Euclidean distance of two of them is, but for a factor, the Hellinger distance of the histograms.
    """
    margin = images_rgb.shape[2] // 4
    middles = (_grey_world(image[:, margin : image.shape[1] - margin]) for image in images_rgb)
    return np.stack([np.concatenate([_histogram(half) for half in np.array_split(middle, HALVES)]) for middle in middles])


def _grey_world(image_rgb: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Each channel scaled to the mean `GREY`: the mean of a scene is assumed to be grey."""
    mean = image_rgb.mean(axis=(0, 1)).clip(min=1.0)
    return (image_rgb * (GREY / mean)).clip(0, 255).astype(np.uint8)


def _histogram(image_rgb: UInt8[np.ndarray, "_ _ 3"]) -> Float[np.ndarray, " bin"]:
    pixels = cv2.cvtColor(np.ascontiguousarray(image_rgb), cv2.COLOR_RGB2HSV).reshape(-1, 3)
    bins = np.ravel_multi_index((pixels * BINS // LEVELS).T, BINS)
    return np.sqrt(np.bincount(bins, minlength=BINS.prod()) / len(pixels)).astype(np.float32)
