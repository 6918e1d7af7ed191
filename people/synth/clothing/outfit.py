"""Outfits: cut and fabrics of one set of clothes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from people.synth.body.shape import Shape
from people.synth.clothing.fabric import Fabric, random_fabric

LUGGAGE = ("backpack", "across", "shoulder", "held")  # which of them a person carries in the condition `carrying`


@dataclass(frozen=True, eq=False)
class Accessory:
    """An accessory: its kind, side (1 left, -1 right) and fabric."""

    kind: str
    side: int
    fabric: Fabric


@dataclass(frozen=True, eq=False)
class Outfit:
    """One set of clothes; eases are distances of cloth from the body in body heights, `hem` in bones from the hip (0: none)."""

    top: Fabric
    bottom: Fabric
    shoes: Fabric
    coat: Fabric | None
    backpack: Fabric | None
    shoe_covers: bool
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
    hat: Accessory | None = None
    bag: Accessory | None = None
    handbag: Accessory | None = None

    @property
    def shoe_scale(self) -> tuple[float, float]:
        """Width and height relative to a shoe without cover."""
        return (1.3, 1.25) if self.shoe_covers else (1.0, 1.0)

    def torso_ease(self, level: Float[np.ndarray, " ring"]) -> Float[np.ndarray, " ring"]:
        """Ease at levels from neck to seat (zero above level -0.08)."""
        max_ease = self.ease_top + (0.013 if self.coat else 0.0)
        return max_ease * np.interp(level, [-0.08, 0.0, 0.06, 0.3, 1.24], [0.0, 0.4, 0.5, 1.0, 1.0])

    def sleeve_ease(self, along: Float[np.ndarray, " ring"]) -> Float[np.ndarray, " ring"]:
        """Ease along the arm, zero beyond the end of the sleeve."""
        ease = self.ease_sleeve + (0.009 if self.coat else 0.0)
        return np.where(along < (1.97 if self.coat else self.sleeve_end), ease, 0.0)

    def leg_ease(self, along: Float[np.ndarray, " ring"]) -> Float[np.ndarray, " ring"]:
        """Ease along the leg, zero beyond the end of the trousers."""
        return np.where(
            along < self.trouser_end, np.interp(along, [0.0, 0.5, 2.0], [0.0, self.ease_thigh, self.ease_cuff]), 0.0
        )


def draw_outfit(shape: Shape, condition: str, session: int, identity_seed: int) -> Outfit:
    """Draw a subject's clothes of one session: equal in all takes of the session except for what the condition changes."""
    rng = np.random.default_rng([identity_seed, 23, session, int(condition == "other_clothes")])
    is_female = shape.sex == "female"
    uniforms, normals = rng.random(10), rng.standard_normal(8)
    has_skirt = bool(is_female and uniforms[0] < 0.3)
    has_shorts = bool(not has_skirt and session % 2 == 1 and uniforms[1] < 0.3)
    top, bottom, coat, backpack = (random_fabric(rng, dark) for dark in (0.0, 0.55, 0.4, 0.3))
    shoes = Fabric("plain", (rng.uniform(25, 120) * np.ones(3), rng.uniform(40, 200, 3)), 0.05, 0.2, int(rng.integers(2**31)))
    width = max(0.5 + 0.6 * normals[0], 0.0)
    has_coat = condition == "coat"
    carried = _draw_luggage(identity_seed) if condition == "carrying" else None
    skirt_length = float(np.clip(0.75 + 0.3 * normals[1], 0.4, 1.4))
    return Outfit(
        top=top,
        bottom=bottom,
        shoes=shoes,
        coat=coat if has_coat else None,
        backpack=backpack if condition == "bag" or (carried and carried.kind == "backpack") else None,
        shoe_covers=condition == "coating_shoes",
        skirt=has_skirt,
        sleeve_end=0.62 if uniforms[2] < (0.5 if session % 2 else 0.3) else 1.9,
        trouser_end=0.0 if has_skirt else (0.9 if has_shorts else 1.95),
        ease_top=0.004 + 0.008 * uniforms[3],
        ease_sleeve=0.003 + 0.005 * uniforms[4],
        ease_thigh=0.002 + (0.003 if is_female else 0.007) * width,
        ease_cuff=0.003 + 0.014 * width * (0.6 if is_female else 1.0),
        hem=max(skirt_length, 0.85) if has_coat else (skirt_length if has_skirt else 0.0),
        flare=0.3 + 1.2 * uniforms[5],
        skirt_ease=0.026 if has_coat else 0.008,
        bag=carried if carried and carried.kind in ("across", "shoulder") else None,
        handbag=carried if carried and carried.kind == "held" else None,
    )


def _draw_luggage(identity_seed: int) -> Accessory:
    """The person's own bag, the same in all sessions; independent of the clothes."""
    rng = np.random.default_rng([identity_seed, 59])
    return Accessory(LUGGAGE[int(rng.integers(len(LUGGAGE)))], int(rng.choice((-1, 1))), random_fabric(rng, 0.3))
