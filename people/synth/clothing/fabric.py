"""Fabrics: a pattern of two colours with folds and wear."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

PATTERNS = ("plain", "stripes_across", "stripes_along", "checks", "blotches", "dots")


@dataclass(frozen=True, eq=False)
class Fabric:
    """A pattern in two colours; `scale_m` is the pattern's period, `mottle` the strength of folds and wear."""

    pattern: str
    rgb: tuple[np.ndarray, np.ndarray]
    scale_m: float
    mottle: float
    seed: int


def random_fabric(rng: np.random.Generator, dark_share: float) -> Fabric:
    """Draw a fabric; the fraction `dark_share` is plain, and independently the same fraction is dark with low contrast."""
    hue, saturation, value = rng.random(), rng.beta(1.5, 2.5), rng.uniform(0.25, 0.95)
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
    if rng.random() < dark_share:
        pattern = "plain"
    contrast = rng.uniform(0.12, 0.4)
    if rng.random() < dark_share:
        value, saturation, contrast = rng.uniform(0.15, 0.4), saturation * 0.6, contrast * 0.6
    first_rgb = hsv_to_rgb(hue, saturation, value)
    second_rgb = hsv_to_rgb(
        hue + rng.normal(0, 0.15), saturation * rng.random(), value + contrast if value < 0.55 else value - contrast
    )
    return Fabric(
        pattern,
        (first_rgb, second_rgb),
        float(rng.uniform(0.06, 0.16)),
        float(rng.uniform(0.25, 0.45)),
        int(rng.integers(2**31)),
    )


def hsv_to_rgb(hue: float, saturation: float, value: float) -> Float[np.ndarray, " 3"]:
    """RGB (0 to 255) of a hue in turns; saturation is limited to 0.8 and value to 0.08 to 0.97, the range of cloth."""
    value = np.clip(value, 0.08, 0.97)
    pure_rgb = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return 255 * value * (1 - np.clip(saturation, 0, 0.8) * (1 - pure_rgb))


def periodic_noise(rng: np.random.Generator, size_hw: tuple[int, int], period: float) -> Float[np.ndarray, "height width"]:
    """Smooth noise of about unit variance and the given period in texels, periodic along the width."""
    height, width = size_hw
    rows, columns = max(int(np.ceil(height / period)), 1) + 1, max(round(width / period), 2)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    coarse = np.concatenate([coarse, coarse[:, :1]], axis=1)
    upsampled = cv2.resize(coarse, (int(np.ceil(width * (columns + 1) / columns)), height), interpolation=cv2.INTER_LINEAR)
    shift = upsampled.shape[1] // (2 * (columns + 1))
    return upsampled[:, shift : shift + width]


def paint_fabric(fabric: Fabric, size_hw: tuple[int, int], texel_m: float) -> Float[np.ndarray, "height width 3"]:
    """Texture of a fabric: its pattern mixes two colours, modulated by folds and wear of 4 to 12 cm."""
    rng = np.random.default_rng(fabric.seed)
    height, width = size_hw
    period = fabric.scale_m / texel_m
    y = np.arange(height, dtype=np.float32)[:, None] / period
    # A whole number of periods fits the width, so that the pattern closes round the tube.
    x = np.arange(width, dtype=np.float32)[None] / width * max(round(width / period), 2)
    wave_x, wave_y = np.cos(2 * np.pi * x), np.cos(2 * np.pi * y)
    mix = {
        "plain": np.zeros((1, 1)),
        "stripes_across": wave_y * 4,
        "stripes_along": wave_x * 4,
        "checks": 3 * wave_x * wave_y + wave_x,
        "blotches": 2.5 * periodic_noise(rng, size_hw, period),
        "dots": 5 * (wave_x + wave_y) - 3,
    }[fabric.pattern]
    second_share = (0.5 + 0.5 * np.tanh(mix))[..., None] if fabric.pattern != "plain" else np.zeros((1, 1, 1))
    rgb = fabric.rgb[0] + second_share * (fabric.rgb[1] - fabric.rgb[0])
    wear = periodic_noise(rng, size_hw, 0.11 / texel_m) * 0.6 + periodic_noise(rng, size_hw, 0.045 / texel_m) * 0.5
    return (rgb + 14 * fabric.mottle * wear[..., None]) * (1 + 0.5 * fabric.mottle * wear[..., None])
