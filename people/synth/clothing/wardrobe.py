"""A pedestrian dressed to order: body, clothes and things carried that show given attributes."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from people.records import ATTRIBUTES, Motion, Sex, Take
from people.synth.body.ages import aged
from people.synth.body.shape import HAIR_RGB, Shape, draw_shape
from people.synth.clothing.fabric import Fabric, rgb_of
from people.synth.clothing.outfit import Accessory, Outfit, draw_outfit

# spans of hue (degrees), saturation and value that nobody would call by another family's name
COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "black": ((0, 360), (0.0, 0.25), (0.08, 0.14)),
    "white": ((0, 360), (0.0, 0.04), (0.93, 0.97)),
    "red": ((-8, 6), (0.72, 0.80), (0.60, 0.85)),
    "purple": ((268, 288), (0.45, 0.70), (0.38, 0.62)),
    "yellow": ((47, 57), (0.62, 0.80), (0.82, 0.97)),
    "gray": ((0, 360), (0.0, 0.06), (0.42, 0.58)),
    "blue": ((208, 232), (0.60, 0.80), (0.40, 0.80)),
    "green": ((95, 150), (0.45, 0.75), (0.35, 0.65)),
    "pink": ((328, 345), (0.36, 0.52), (0.88, 0.97)),
    "brown": ((20, 32), (0.50, 0.68), (0.30, 0.44)),
}
# pairs that stay two colours from afar
_PAIRS = (
    ("white", "red"), ("white", "blue"), ("white", "black"), ("white", "green"), ("white", "purple"), ("yellow", "blue"),
    ("yellow", "black"), ("yellow", "purple"), ("red", "blue"), ("red", "green"), ("pink", "blue"), ("pink", "green"),
    ("yellow", "red"), ("pink", "black"),
)  # fmt: skip
_DRAWN = ("age", "grooming", "top", "bottom", "cut", "hat", "pack", "bag", "handbag")
_HAT_KINDS = ("cap", "brimmed", "woolly")
_BAG_KINDS = ("across", "shoulder")


def dressed(take: Take) -> tuple[Motion, Shape, Outfit]:
    """Who walks and in what: clothes at random, or with `take.appearance` those (and the body) that show its attributes.

    Clothes of a given appearance are the identity's own, the same in all its takes.
    """
    if take.appearance is None:
        shape = draw_shape(take.motion, take.identity_seed)
        return take.motion, shape, draw_outfit(shape, take.condition, take.session, take.identity_seed)
    motion, head = aged(
        take.motion, take.appearance["age"], _sex(take.appearance["gender"]), _drawing("age", take.identity_seed)
    )
    shape = _groomed(draw_shape(motion, take.identity_seed), take.appearance, head, _drawing("grooming", take.identity_seed))
    return motion, shape, _outfit(shape, take.appearance, take.identity_seed)


def _drawing(what: str, identity_seed: int) -> np.random.Generator:
    """Every piece is drawn by itself: another class of one attribute changes nothing else about the person."""
    return np.random.default_rng([identity_seed, 47, _DRAWN.index(what)])


def check_appearance(appearance: Mapping[str, str], condition: str) -> None:
    """Raises a ValueError unless exactly the twelve attributes are given, each with one of its classes."""
    if condition != "normal":
        raise ValueError(f"an appearance says all of a person's clothes: condition must be normal then, came {condition!r}")
    if set(appearance) != set(ATTRIBUTES):
        raise ValueError(
            f"appearance must give the attributes {', '.join(ATTRIBUTES)}; "
            f"missing: {sorted(set(ATTRIBUTES) - set(appearance))}, unknown: {sorted(set(appearance) - set(ATTRIBUTES))}"
        )
    for name, classes in ATTRIBUTES.items():
        if appearance[name] not in classes:
            raise ValueError(f"appearance[{name!r}] must be one of {', '.join(classes)}, came {appearance[name]!r}")


def _sex(gender: str) -> Sex:
    return "female" if gender == "female" else "male"


def _groomed(shape: Shape, appearance: Mapping[str, str], head: float, rng: np.random.Generator) -> Shape:
    """Hair as long as said, grey or white on the old only; the head as large as the age has it."""
    old, man = appearance["age"] == "old", shape.sex == "male"
    bald, tint, grey = rng.random(), rng.choice(HAIR_RGB) * rng.uniform(0.85, 1.15), rng.uniform(165, 235)
    odds = {"adult": 0.12, "old": 0.3}.get(appearance["age"], 0.0) if man else 0.0
    style = "flowing" if appearance["hair"] == "long" else ("bald" if bald < odds else "short")
    hair_rgb = grey * np.array([1.0, 0.99, 0.97]) if old else tint
    return replace(shape, head=head, hair_style=style, hair_rgb=hair_rgb.astype(np.float32))


def _outfit(shape: Shape, appearance: Mapping[str, str], identity_seed: int) -> Outfit:
    """A random outfit's cut, with all that the appearance fixes."""
    top = fabric_of(appearance["upper_colour"], _drawing("top", identity_seed))
    bottom = fabric_of(appearance["lower_colour"], _drawing("bottom", identity_seed))
    skirt, short = appearance["clothes"] == "dress", appearance["down"] == "short"
    cut = _drawing("cut", identity_seed)
    side, sleeve, trouser, hem, flare = int(cut.choice((-1, 1))), *cut.random(4)
    worn = [top.rgb[0], bottom.rgb[0]]

    def accessory(name: str, kinds: tuple[str, ...], side: int, beside: list[np.ndarray]) -> Accessory | None:
        rng = _drawing(name, identity_seed)
        return Accessory(str(rng.choice(kinds)), side, _unlike(beside, rng)) if appearance[name] == "yes" else None

    return replace(
        draw_outfit(shape, "normal", 0, identity_seed),
        top=top,
        bottom=bottom,
        pack=_unlike(worn, _drawing("pack", identity_seed)) if appearance["backpack"] == "yes" else None,
        hat=accessory("hat", _HAT_KINDS, side, [shape.hair_rgb]),
        bag=accessory("bag", _BAG_KINDS, side, worn),
        handbag=accessory("handbag", ("held",), -side, worn),
        skirt=skirt,
        sleeve_end=0.4 + 0.35 * float(sleeve) if appearance["up"] == "short" else 1.9,
        trouser_end=0.0 if skirt else (0.62 + 0.28 * float(trouser) if short else 1.95),
        hem=(0.62 + 0.26 * float(hem) if short else 1.45 + 0.4 * float(hem)) if skirt else 0.0,
        flare=0.8 + 1.6 * float(flare),
    )


def fabric_of(colour: str, rng: np.random.Generator) -> Fabric:
    """A fabric that people call by that colour: plain or with a faint pattern; `other` is a strong pattern of two colours."""
    seed = int(rng.integers(2**31))
    if colour == "other":
        pair = rng.permutation(_PAIRS[int(rng.integers(len(_PAIRS)))])
        pattern = ("stripes_across", "stripes_along", "checks", "blotches")[int(rng.integers(4))]
        return Fabric(pattern, (_shade(pair[0], rng), _shade(pair[1], rng)), float(rng.uniform(0.09, 0.16)), 0.2, seed)
    rgb = _shade(colour, rng)
    pattern = ("plain", "stripes_across", "checks", "blotches")[max(int(rng.integers(-2, 4)), 0)]
    faint = rgb * (0.88 if rgb.max() > 90 else 1.4)
    return Fabric(pattern, (rgb, faint), float(rng.uniform(0.08, 0.18)), float(rng.uniform(0.15, 0.3)), seed)


def _shade(colour: str, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    hue_deg, saturation, value = (float(rng.uniform(*span)) for span in COLOURS[colour])
    return rgb_of(hue_deg / 360, saturation, value)


def _unlike(rgb: list[np.ndarray], rng: np.random.Generator) -> Fabric:
    """A fabric that stands out against colours that are worn beside it: the most distant one of four drawn at random."""
    drawn = [fabric_of(colour, rng) for colour in rng.choice(list(COLOURS), 4, replace=False)]
    return max(drawn, key=lambda fabric: min(float(np.abs(fabric.rgb[0] - beside).sum()) for beside in rgb))
