"""The texture of a whole dressed person, painted part by part."""

import cv2
import numpy as np
from jaxtyping import Bool, Float

from people.synth.body.shape import Shape, hair_region
from people.synth.clothing.fabric import Fabric, noise, paint
from people.synth.clothing.outfit import Accessory, Outfit

_PLASTIC = Fabric("blotches", (np.array([225.0, 232, 238]), np.array([168.0, 188, 210])), 0.05, 0.3, 3)  # shoe covers


def skin(shape: Shape, size_hw: tuple[int, int], seed: int) -> Float[np.ndarray, "height width 3"]:
    """Bare skin, slightly blotched."""
    return shape.skin_rgb * (1 + 0.05 * noise(np.random.default_rng(seed), size_hw, 5.0))[..., None]


def texture(
    name: str, shape: Shape, outfit: Outfit, size_hw: tuple[int, int], stations: Float[np.ndarray, " ring"], texel_m: float
) -> Float[np.ndarray, "height width 3"]:
    """What part `name` shows, from its upper end down; `stations` are its rings' places from 0 to 1."""
    way = ((np.arange(size_hw[0]) + 0.5) / size_hw[0])[:, None, None]
    if name == "hair":
        return _hair(shape, size_hw)
    if name == "head":
        return _face(shape, size_hw, stations)
    if name == "torso":
        return _trunk(shape, outfit, way, size_hw, texel_m)
    if name.endswith("arm"):
        sleeve = -0.13 + 3.13 * way < (1.95 if outfit.coat else outfit.sleeve_end)
        return np.where(sleeve, paint(outfit.coat or outfit.top, size_hw, texel_m), skin(shape, size_hw, 5))
    if name.endswith("leg"):
        trousers = -0.06 + 2.10 * way < outfit.trouser_end
        return np.where(trousers, paint(outfit.bottom, size_hw, texel_m), skin(shape, size_hw, 5))
    return paint(_fabric_of(name, outfit), size_hw, texel_m)


def _fabric_of(name: str, outfit: Outfit) -> Fabric:
    """The fabric of a part that is all of one."""
    if name.endswith("foot"):
        return _PLASTIC if outfit.covers else outfit.shoes
    if name == "skirt":
        return outfit.coat or outfit.bottom
    worn = {"hat": outfit.hat, "bag": outfit.bag, "handbag": outfit.handbag}.get(name)
    found = worn.fabric if worn is not None else outfit.pack
    assert found is not None, f"there is no fabric for {name}"
    return found


def _trunk(
    shape: Shape, outfit: Outfit, way: Float[np.ndarray, "height 1 1"], size_hw: tuple[int, int], texel_m: float
) -> Float[np.ndarray, "height width 3"]:
    """The neck, what covers the trunk, and straps over it."""
    share = -0.24 + 1.48 * way
    column = (np.arange(size_hw[1]) + 0.5) / size_hw[1] * 2 * np.pi
    upper, lower = (paint(outfit.coat or part, size_hw, texel_m) for part in (outfit.top, outfit.bottom))
    cloth = np.where(share < (9.0 if outfit.coat else 0.86), upper, lower)
    if outfit.pack is not None:
        # Straps run over the shoulders and down the front.
        strap = (np.abs(np.abs(column - np.pi / 2) - 0.62) < 0.13)[None, :, None] & (share > 0) & (share < 0.42)
        cloth = np.where(strap, outfit.pack.rgb[0], cloth)
    if outfit.bag is not None:
        cloth = np.where(_strap(outfit.bag, column[None, :, None], share), outfit.bag.fabric.rgb[0], cloth)
    if outfit.coat is not None:
        cloth = np.where((np.abs(column - np.pi / 2) < 0.03)[None, :, None], cloth * 0.5, cloth)
    collar = -0.06 + 0.09 * np.exp(-(((column - np.pi / 2) / 0.5) ** 2))[None, :, None] * (outfit.coat is None)
    return np.where(share < collar, skin(shape, size_hw, 5), cloth)


def _strap(
    bag: Accessory, column: Float[np.ndarray, "1 width 1"], share: Float[np.ndarray, "height 1 1"]
) -> Bool[np.ndarray, "height width 1"]:
    """Where a bag's strap lies on the trunk: down to the hip from the shoulder of its side, or from the other one, across."""
    # Measured from the bag's side (0) over the middle of chest or back to the other side (pi).
    aside = np.arccos(np.clip(bag.side * np.cos(column), -1, 1))
    top = {"across": np.pi - 0.7, "shoulder": 0.95}[bag.kind]
    at = np.interp(share, [0.0, 0.95], [top, 0.1])
    return (np.abs(aside - at) < {"across": 0.2, "shoulder": 0.14}[bag.kind]) & (share > -0.03) & (share < 0.98)


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
