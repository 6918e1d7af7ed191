"""Textures of the tubes of a dressed person."""

import cv2
import numpy as np
from jaxtyping import Bool, Float

from people.synth.body.shape import Shape, hair_region
from people.synth.clothing.fabric import Fabric, paint_fabric, periodic_noise
from people.synth.clothing.outfit import Accessory, Outfit

_PLASTIC = Fabric("blotches", (np.array([225.0, 232, 238]), np.array([168.0, 188, 210])), 0.05, 0.3, 3)  # shoe covers


def skin_texture(shape: Shape, size_hw: tuple[int, int], seed: int) -> Float[np.ndarray, "height width 3"]:
    """Bare skin with slight colour variation."""
    return shape.skin_rgb * (1 + 0.05 * periodic_noise(np.random.default_rng(seed), size_hw, 5.0))[..., None]


def part_texture(
    name: str,
    shape: Shape,
    outfit: Outfit,
    size_hw: tuple[int, int],
    ring_positions: Float[np.ndarray, " ring"],
    texel_m: float,
) -> Float[np.ndarray, "height width 3"]:
    """The texture of tube `name` from its upper end down; `ring_positions` are the rings' distances from it, from 0 to 1."""
    position = ((np.arange(size_hw[0]) + 0.5) / size_hw[0])[:, None, None]
    if name == "hair":
        return _hair_texture(shape, size_hw)
    if name == "head":
        return _head_texture(shape, size_hw, ring_positions)
    if name == "torso":
        return _torso_texture(shape, outfit, position, size_hw, texel_m)
    if name.endswith("arm"):
        sleeve = -0.13 + 3.13 * position < (1.95 if outfit.coat else outfit.sleeve_end)
        return np.where(sleeve, paint_fabric(outfit.coat or outfit.top, size_hw, texel_m), skin_texture(shape, size_hw, 5))
    if name.endswith("leg"):
        trousers = -0.06 + 2.10 * position < outfit.trouser_end
        return np.where(trousers, paint_fabric(outfit.bottom, size_hw, texel_m), skin_texture(shape, size_hw, 5))
    return paint_fabric(_part_fabric(name, outfit), size_hw, texel_m)


def _part_fabric(name: str, outfit: Outfit) -> Fabric:
    """The fabric of a tube that has a single one."""
    if name.endswith("foot"):
        return _PLASTIC if outfit.shoe_covers else outfit.shoes
    if name == "skirt":
        return outfit.coat or outfit.bottom
    accessory = {"hat": outfit.hat, "bag": outfit.bag, "handbag": outfit.handbag}.get(name)
    fabric = accessory.fabric if accessory is not None else outfit.backpack
    assert fabric is not None, f"no fabric for {name}"
    return fabric


def _torso_texture(
    shape: Shape, outfit: Outfit, position: Float[np.ndarray, "height 1 1"], size_hw: tuple[int, int], texel_m: float
) -> Float[np.ndarray, "height width 3"]:
    """Neck, top, bottom or coat, and the straps of bags."""
    level = -0.24 + 1.48 * position
    angle = (np.arange(size_hw[1]) + 0.5) / size_hw[1] * 2 * np.pi
    upper_rgb, lower_rgb = (paint_fabric(outfit.coat or fabric, size_hw, texel_m) for fabric in (outfit.top, outfit.bottom))
    cloth = np.where(level < (9.0 if outfit.coat else 0.86), upper_rgb, lower_rgb)
    if outfit.backpack is not None:
        # Two straps in front, from the shoulders down to the chest.
        strap = (np.abs(np.abs(angle - np.pi / 2) - 0.62) < 0.13)[None, :, None] & (level > 0) & (level < 0.42)
        cloth = np.where(strap, outfit.backpack.rgb[0], cloth)
    if outfit.bag is not None:
        cloth = np.where(_strap_mask(outfit.bag, angle[None, :, None], level), outfit.bag.fabric.rgb[0], cloth)
    if outfit.coat is not None:
        cloth = np.where((np.abs(angle - np.pi / 2) < 0.03)[None, :, None], cloth * 0.5, cloth)
    collar = -0.06 + 0.09 * np.exp(-(((angle - np.pi / 2) / 0.5) ** 2))[None, :, None] * (outfit.coat is None)
    return np.where(level < collar, skin_texture(shape, size_hw, 5), cloth)


def _strap_mask(
    bag: Accessory, angle: Float[np.ndarray, "1 width 1"], level: Float[np.ndarray, "height 1 1"]
) -> Bool[np.ndarray, "height width 1"]:
    """Mask of a bag's strap, which leads to the hip from the shoulder of the same side or, across, of the opposite side."""
    # Angle from the bag's side (0) over the chest or back to the opposite side (pi).
    from_side = np.arccos(np.clip(bag.side * np.cos(angle), -1, 1))
    shoulder_angle = {"across": np.pi - 0.7, "shoulder": 0.95}[bag.kind]
    strap_angle = np.interp(level, [0.0, 0.95], [shoulder_angle, 0.1])
    return (np.abs(from_side - strap_angle) < {"across": 0.2, "shoulder": 0.14}[bag.kind]) & (level > -0.03) & (level < 0.98)


def _hair_texture(shape: Shape, size_hw: tuple[int, int]) -> Float[np.ndarray, "height width 3"]:
    rng = np.random.default_rng(7)
    strands = periodic_noise(rng, (max(size_hw[0] // 4, 1), size_hw[1]), 3.0)
    strands = cv2.resize(strands, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return shape.hair_rgb * (1 + 0.22 * strands)[..., None]


def _head_texture(
    shape: Shape, size_hw: tuple[int, int], ring_positions: Float[np.ndarray, " ring"]
) -> Float[np.ndarray, "height width 3"]:
    """Skin, hair on the skull, eyes, brows and mouth."""
    height, width = size_hw
    row_positions = (np.arange(height) + 0.5) / height
    angle = (np.arange(width) + 0.5) / width * 2 * np.pi
    from_front = np.abs((angle - np.pi / 2 + np.pi) % (2 * np.pi) - np.pi)[None]
    hair_angle = np.interp(row_positions, ring_positions, hair_region(shape.hair_style)[0])[:, None]
    face = skin_texture(shape, size_hw, 6)
    row = row_positions[:, None]
    for centre_row, centre_angle, half_angle, half_height, rgb in (
        (0.515, 0.36, 0.13, 0.025, (50, 40, 40)),
        (0.455, 0.36, 0.2, 0.018, shape.hair_rgb * 0.8),
        (0.80, 0.0, 0.26, 0.022, (165, 90, 85)),
    ):
        is_feature = (np.abs(from_front - centre_angle) < half_angle) & (np.abs(row - centre_row) < half_height)
        face = np.where(is_feature[..., None], np.asarray(rgb), face)
    return np.where((from_front > np.pi - hair_angle)[..., None], _hair_texture(shape, size_hw), face)
