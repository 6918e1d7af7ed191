"""What people wear: cuts and fabrics, and the texture of the whole dressed person painted part by part into one atlas."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from people.synth.body import Shape, hair_region

PATTERNS = ("plain", "stripes_across", "stripes_along", "checks", "blotches", "dots")


@dataclass(frozen=True, eq=False)
class Fabric:
    """A pattern in two colours; `scale_m` is the pattern's period, `mottle` the strength of folds and wear."""

    pattern: str
    rgb: tuple[np.ndarray, np.ndarray]
    scale_m: float
    mottle: float
    seed: int


@dataclass(frozen=True, eq=False)
class Outfit:
    """One set of clothes; eases are what cloth stands off the body in body heights, `hem` is in bones from the hip, 0: none."""

    top: Fabric
    bottom: Fabric
    shoes: Fabric
    coat: Fabric | None
    pack: Fabric | None
    covers: bool
    skirt: bool
    sleeve_end: float
    trouser_end: float
    ease_top: float
    ease_sleeve: float
    ease_thigh: float
    ease_cuff: float
    hem: float
    flare: float
    skirt_ease: float

    @property
    def shoe_scale(self) -> tuple[float, float]:
        """How much wider and higher than a plain shoe."""
        return (1.3, 1.25) if self.covers else (1.0, 1.0)

    def torso_ease(self, share: Float[np.ndarray, " ring"]) -> Float[np.ndarray, " ring"]:
        """Between neck (no cloth above share -0.07) and seat."""
        ease = self.ease_top + (0.013 if self.coat else 0.0)
        return ease * np.interp(share, [-0.08, 0.0, 0.06, 0.3, 1.24], [0.0, 0.4, 0.5, 1.0, 1.0])

    def sleeve_ease(self, along: Float[np.ndarray, " ring"]) -> Float[np.ndarray, " ring"]:
        """Along the arm: to the sleeve's end."""
        ease = self.ease_sleeve + (0.009 if self.coat else 0.0)
        return np.where(along < (1.97 if self.coat else self.sleeve_end), ease, 0.0)

    def leg_ease(self, along: Float[np.ndarray, " ring"]) -> Float[np.ndarray, " ring"]:
        """Along the leg: from thigh to cuff."""
        return np.where(
            along < self.trouser_end, np.interp(along, [0.0, 0.5, 2.0], [0.0, self.ease_thigh, self.ease_cuff]), 0.0
        )


def draw_outfit(shape: Shape, condition: str, session: int, identity_seed: int) -> Outfit:
    """A subject's clothes of one day: the same in all takes of the day but for what the condition adds or changes."""
    rng = np.random.default_rng([identity_seed, 23, session, int(condition == "other_clothes")])
    woman = shape.sex == "female"
    chance, normal = rng.random(10), rng.standard_normal(8)
    skirt = bool(woman and chance[0] < 0.3)
    shorts = bool(not skirt and session % 2 == 1 and chance[1] < 0.3)
    top, bottom, coat, pack = (_fabric(rng, dark) for dark in (0.0, 0.55, 0.4, 0.3))
    shoes = Fabric("plain", (rng.uniform(25, 120) * np.ones(3), rng.uniform(40, 200, 3)), 0.05, 0.2, int(rng.integers(2**31)))
    wide = max(0.5 + 0.6 * normal[0], 0.0)
    coated = condition == "coat"
    length = float(np.clip(0.75 + 0.3 * normal[1], 0.4, 1.4))
    return Outfit(
        top=top,
        bottom=bottom,
        shoes=shoes,
        coat=coat if coated else None,
        pack=pack if condition == "bag" else None,
        covers=condition == "coating_shoes",
        skirt=skirt,
        sleeve_end=0.62 if chance[2] < (0.5 if session % 2 else 0.3) else 1.9,
        trouser_end=0.0 if skirt else (0.9 if shorts else 1.95),
        ease_top=0.004 + 0.008 * chance[3],
        ease_sleeve=0.003 + 0.005 * chance[4],
        ease_thigh=0.002 + (0.003 if woman else 0.007) * wide,
        ease_cuff=0.003 + 0.014 * wide * (0.6 if woman else 1.0),
        hem=max(length, 0.85) if coated else (length if skirt else 0.0),
        flare=0.3 + 1.2 * chance[5],
        skirt_ease=0.026 if coated else 0.008,
    )


def _fabric(rng: np.random.Generator, dark: float) -> Fabric:
    """A random fabric; a share `dark` of them is dark and quiet."""
    hue, saturation, value = rng.random(), rng.beta(1.5, 2.5), rng.uniform(0.25, 0.95)
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
    if rng.random() < dark:
        pattern = "plain"
    contrast = rng.uniform(0.12, 0.4)
    if rng.random() < dark:
        value, saturation, contrast = rng.uniform(0.15, 0.4), saturation * 0.6, contrast * 0.6
    colour = _rgb(hue, saturation, value)
    other = _rgb(hue + rng.normal(0, 0.15), saturation * rng.random(), value + contrast if value < 0.55 else value - contrast)
    return Fabric(
        pattern, (colour, other), float(rng.uniform(0.06, 0.16)), float(rng.uniform(0.25, 0.45)), int(rng.integers(2**31))
    )


def _rgb(hue: float, saturation: float, value: float) -> Float[np.ndarray, " 3"]:
    value = np.clip(value, 0.08, 0.97)
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return 255 * value * (1 - np.clip(saturation, 0, 0.8) * (1 - wheel))


def noise(rng: np.random.Generator, size_hw: tuple[int, int], period: float) -> Float[np.ndarray, "height width"]:
    """Smooth noise of about unit size and the given period in texels, closed round the width."""
    height, width = size_hw
    rows, columns = max(int(np.ceil(height / period)), 1) + 1, max(round(width / period), 2)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    coarse = np.concatenate([coarse, coarse[:, :1]], axis=1)
    fine = cv2.resize(coarse, (int(np.ceil(width * (columns + 1) / columns)), height), interpolation=cv2.INTER_LINEAR)
    shift = fine.shape[1] // (2 * (columns + 1))
    return fine[:, shift : shift + width]


def paint(fabric: Fabric, size_hw: tuple[int, int], texel_m: float) -> Float[np.ndarray, "height width 3"]:
    """A piece of fabric: pattern mixing its two colours, times folds and wear at 4 to 12 cm that every cloth has."""
    rng = np.random.default_rng(fabric.seed)
    height, width = size_hw
    period = fabric.scale_m / texel_m
    y = np.arange(height, dtype=np.float32)[:, None] / period
    # A whole number of periods goes round, so that the pattern closes.
    x = np.arange(width, dtype=np.float32)[None] / width * max(round(width / period), 2)
    wave_x, wave_y = np.cos(2 * np.pi * x), np.cos(2 * np.pi * y)
    mix = {
        "plain": np.zeros((1, 1)),
        "stripes_across": wave_y * 4,
        "stripes_along": wave_x * 4,
        "checks": 3 * wave_x * wave_y + wave_x,
        "blotches": 2.5 * noise(rng, size_hw, period),
        "dots": 5 * (wave_x + wave_y) - 3,
    }[fabric.pattern]
    share = (0.5 + 0.5 * np.tanh(mix))[..., None] if fabric.pattern != "plain" else np.zeros((1, 1, 1))
    colour = fabric.rgb[0] + share * (fabric.rgb[1] - fabric.rgb[0])
    wear = noise(rng, size_hw, 0.11 / texel_m) * 0.6 + noise(rng, size_hw, 0.045 / texel_m) * 0.5
    return (colour + 14 * fabric.mottle * wear[..., None]) * (1 + 0.5 * fabric.mottle * wear[..., None])


def skin(shape: Shape, size_hw: tuple[int, int], seed: int) -> Float[np.ndarray, "height width 3"]:
    """Bare skin, slightly blotched."""
    return shape.skin_rgb * (1 + 0.05 * noise(np.random.default_rng(seed), size_hw, 5.0))[..., None]


def texture(
    name: str, shape: Shape, outfit: Outfit, size_hw: tuple[int, int], stations: Float[np.ndarray, " ring"], texel_m: float
) -> Float[np.ndarray, "height width 3"]:
    """What part `name` shows, from its upper end down; `stations` are its rings' places from 0 to 1."""
    height, width = size_hw
    way = ((np.arange(height) + 0.5) / height)[:, None, None]
    if name == "skirt":
        return paint(outfit.coat or outfit.bottom, size_hw, texel_m)
    if name == "pack":
        assert outfit.pack is not None
        return paint(outfit.pack, size_hw, texel_m)
    if name == "hair":
        return _hair(shape, size_hw)
    if name == "head":
        return _face(shape, size_hw, stations)
    bare = skin(shape, size_hw, 5)
    if name.endswith("foot"):
        if not outfit.covers:
            return paint(outfit.shoes, size_hw, texel_m)
        plastic = Fabric("blotches", (np.array([225.0, 232, 238]), np.array([168.0, 188, 210])), 0.05, 0.3, 3)
        return paint(plastic, size_hw, texel_m)
    if name.endswith("arm"):
        along = -0.13 + 3.13 * way
        return np.where(
            along < (1.95 if outfit.coat else outfit.sleeve_end), paint(outfit.coat or outfit.top, size_hw, texel_m), bare
        )
    if name.endswith("leg"):
        along = -0.06 + 2.10 * way
        return np.where(along < outfit.trouser_end, paint(outfit.bottom, size_hw, texel_m), bare)
    share = -0.24 + 1.48 * way
    column = (np.arange(width) + 0.5) / width * 2 * np.pi
    lower = paint(outfit.coat or outfit.bottom, size_hw, texel_m)
    cloth = np.where(share < (9.0 if outfit.coat else 0.86), paint(outfit.coat or outfit.top, size_hw, texel_m), lower)
    if outfit.pack is not None:
        # Straps run over the shoulders and down the front.
        strap = (np.abs(np.abs(column - np.pi / 2) - 0.62) < 0.13)[None, :, None] & (share > 0) & (share < 0.42)
        cloth = np.where(strap, outfit.pack.rgb[0], cloth)
    if outfit.coat is not None:
        cloth = np.where((np.abs(column - np.pi / 2) < 0.03)[None, :, None], cloth * 0.5, cloth)
    collar = -0.06 + 0.09 * np.exp(-(((column - np.pi / 2) / 0.5) ** 2))[None, :, None] * (outfit.coat is None)
    return np.where(share < collar, bare, cloth)


def _hair(shape: Shape, size_hw: tuple[int, int]) -> Float[np.ndarray, "height width 3"]:
    rng = np.random.default_rng(7)
    strands = noise(rng, (max(size_hw[0] // 4, 1), size_hw[1]), 3.0)
    strands = cv2.resize(strands, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return shape.hair_rgb * (1 + 0.22 * strands)[..., None]


def _face(shape: Shape, size_hw: tuple[int, int], stations: Float[np.ndarray, " ring"]) -> Float[np.ndarray, "height width 3"]:
    """Skin, hair on the skull, eyes, brows and mouth."""
    height, width = size_hw
    way = (np.arange(height) + 0.5) / height
    column = (np.arange(width) + 0.5) / width * 2 * np.pi
    aside = np.abs((column - np.pi / 2 + np.pi) % (2 * np.pi) - np.pi)[None]
    reach = np.interp(way, stations, hair_region(shape.hair_style)[0])[:, None]
    face = skin(shape, size_hw, 6)
    row = way[:, None]
    for up, at, half, tall, rgb in (
        (0.515, 0.36, 0.13, 0.025, (50, 40, 40)),
        (0.455, 0.36, 0.2, 0.018, shape.hair_rgb * 0.8),
        (0.80, 0.0, 0.26, 0.022, (165, 90, 85)),
    ):
        spot = (np.abs(aside - at) < half) & (np.abs(row - up) < tall)
        face = np.where(spot[..., None], np.asarray(rgb), face)
    return np.where((aside > np.pi - reach)[..., None], _hair(shape, size_hw), face)
