"""What people wear: the cut of a set of clothes and the fabrics that it is made of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from people.synth.body.shape import Shape
from people.synth.clothing.fabric import Fabric, random_fabric


@dataclass(frozen=True, eq=False)
class Accessory:
    """Something worn or carried: its kind, on which side it is (1 left, -1 right), and what it is made of."""

    kind: str
    side: int
    fabric: Fabric


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
    hat: Accessory | None = None
    bag: Accessory | None = None
    handbag: Accessory | None = None

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
    top, bottom, coat, pack = (random_fabric(rng, dark) for dark in (0.0, 0.55, 0.4, 0.3))
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
