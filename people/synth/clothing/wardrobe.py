"""Wardrobe: body, clothes and accessories of a person, at random or with given pedestrian attributes."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from people.records import ATTRIBUTES, Motion, Sex, Take
from people.synth.body.ages import apply_age
from people.synth.body.shape import HAIR_RGB, Shape, draw_shape
from people.synth.clothing.fabric import Fabric, hsv_to_rgb
from people.synth.clothing.outfit import Accessory, Outfit, draw_outfit

# ranges of hue (degrees), saturation and value that are unambiguous for each colour name
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
# pairs that remain distinguishable at low resolution
_PAIRS = (
    ("white", "red"), ("white", "blue"), ("white", "black"), ("white", "green"), ("white", "purple"), ("yellow", "blue"),
    ("yellow", "black"), ("yellow", "purple"), ("red", "blue"), ("red", "green"), ("pink", "blue"), ("pink", "green"),
    ("yellow", "red"), ("pink", "black"),
)  # fmt: skip
_RNG_STREAMS = ("age", "grooming", "top", "bottom", "cut", "hat", "pack", "bag", "handbag")
_HAT_KINDS = ("cap", "brimmed", "woolly")
_BAG_KINDS = ("across", "shoulder")


def build_person(take: Take) -> tuple[Motion, Shape, Outfit]:
    """Motion, body shape and outfit of a take: random clothes, or body and clothes that show `take.appearance`.

    The outfit of a given appearance depends on the identity only and is the same in all its takes.
    """
    if take.appearance is None:
        shape = draw_shape(take.motion, take.identity_seed)
        return take.motion, shape, draw_outfit(shape, take.condition, take.session, take.identity_seed)
    sex = _sex(take.appearance["gender"])
    motion, head_ratio = apply_age(take.motion, take.appearance["age"], sex, _attribute_rng("age", take.identity_seed))
    shape = _apply_hair_and_head(
        draw_shape(motion, take.identity_seed), take.appearance, head_ratio, _attribute_rng("grooming", take.identity_seed)
    )
    return motion, shape, _build_outfit(shape, take.appearance, take.identity_seed)


def _attribute_rng(stream: str, identity_seed: int) -> np.random.Generator:
    """An independent random stream per attribute, so that changing one attribute leaves all others as they are."""
    return np.random.default_rng([identity_seed, 47, _RNG_STREAMS.index(stream)])


def check_appearance(appearance: Mapping[str, str], condition: str) -> None:
    """Raise a ValueError unless exactly the twelve attributes are given, each with one of its classes."""
    if condition != "normal":
        raise ValueError(f"condition must be normal for a take with an appearance, got {condition!r}")
    if set(appearance) != set(ATTRIBUTES):
        raise ValueError(
            f"appearance must give the attributes {', '.join(ATTRIBUTES)}; "
            f"missing: {sorted(set(ATTRIBUTES) - set(appearance))}, unknown: {sorted(set(appearance) - set(ATTRIBUTES))}"
        )
    for name, classes in ATTRIBUTES.items():
        if appearance[name] not in classes:
            raise ValueError(f"appearance[{name!r}] must be one of {', '.join(classes)}, got {appearance[name]!r}")


def _sex(gender: str) -> Sex:
    return "female" if gender == "female" else "male"


def _apply_hair_and_head(shape: Shape, appearance: Mapping[str, str], head_ratio: float, rng: np.random.Generator) -> Shape:
    """Hair of the given length, grey for the old only, and the head size of the age class."""
    is_old, is_male = appearance["age"] == "old", shape.sex == "male"
    baldness, natural_rgb, grey_level = rng.random(), rng.choice(HAIR_RGB) * rng.uniform(0.85, 1.15), rng.uniform(165, 235)
    bald_share = {"adult": 0.12, "old": 0.3}.get(appearance["age"], 0.0) if is_male else 0.0
    hair_style = "flowing" if appearance["hair"] == "long" else ("bald" if baldness < bald_share else "short")
    hair_rgb = grey_level * np.array([1.0, 0.99, 0.97]) if is_old else natural_rgb
    return replace(shape, head=head_ratio, hair_style=hair_style, hair_rgb=hair_rgb.astype(np.float32))


def _build_outfit(shape: Shape, appearance: Mapping[str, str], identity_seed: int) -> Outfit:
    """A random outfit with the garments and accessories that the appearance prescribes."""
    top = coloured_fabric(appearance["upper_colour"], _attribute_rng("top", identity_seed))
    bottom = coloured_fabric(appearance["lower_colour"], _attribute_rng("bottom", identity_seed))
    is_dress, is_short = appearance["clothes"] == "dress", appearance["down"] == "short"
    cut_rng = _attribute_rng("cut", identity_seed)
    side, sleeve_u, trouser_u, hem_u, flare_u = int(cut_rng.choice((-1, 1))), *cut_rng.random(4)
    base_rgb = [top.rgb[0], bottom.rgb[0]]

    def accessory(name: str, kinds: tuple[str, ...], side: int, adjacent_rgb: list[np.ndarray]) -> Accessory | None:
        rng = _attribute_rng(name, identity_seed)
        return Accessory(str(rng.choice(kinds)), side, _contrasting(adjacent_rgb, rng)) if appearance[name] == "yes" else None

    return replace(
        draw_outfit(shape, "normal", 0, identity_seed),
        top=top,
        bottom=bottom,
        backpack=_contrasting(base_rgb, _attribute_rng("pack", identity_seed)) if appearance["backpack"] == "yes" else None,
        hat=accessory("hat", _HAT_KINDS, side, [shape.hair_rgb]),
        bag=accessory("bag", _BAG_KINDS, side, base_rgb),
        handbag=accessory("handbag", ("held",), -side, base_rgb),
        skirt=is_dress,
        sleeve_end=0.4 + 0.35 * float(sleeve_u) if appearance["up"] == "short" else 1.9,
        trouser_end=0.0 if is_dress else (0.62 + 0.28 * float(trouser_u) if is_short else 1.95),
        hem=(0.62 + 0.26 * float(hem_u) if is_short else 1.45 + 0.4 * float(hem_u)) if is_dress else 0.0,
        flare=0.8 + 1.6 * float(flare_u),
    )


def coloured_fabric(colour: str, rng: np.random.Generator) -> Fabric:
    """A fabric of the named colour, plain or with a faint pattern; `other` is a strong pattern of two colours."""
    seed = int(rng.integers(2**31))
    if colour == "other":
        pair = rng.permutation(_PAIRS[int(rng.integers(len(_PAIRS)))])
        pattern = ("stripes_across", "stripes_along", "checks", "blotches")[int(rng.integers(4))]
        return Fabric(pattern, (_draw_rgb(pair[0], rng), _draw_rgb(pair[1], rng)), float(rng.uniform(0.09, 0.16)), 0.2, seed)
    rgb = _draw_rgb(colour, rng)
    pattern = ("plain", "stripes_across", "checks", "blotches")[max(int(rng.integers(-2, 4)), 0)]
    pattern_rgb = rgb * (0.88 if rgb.max() > 90 else 1.4)
    return Fabric(pattern, (rgb, pattern_rgb), float(rng.uniform(0.08, 0.18)), float(rng.uniform(0.15, 0.3)), seed)


def _draw_rgb(colour: str, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    hue_deg, saturation, value = (float(rng.uniform(*span)) for span in COLOURS[colour])
    return hsv_to_rgb(hue_deg / 360, saturation, value)


def _contrasting(adjacent_rgb: list[np.ndarray], rng: np.random.Generator) -> Fabric:
    """The one of four random fabrics whose smallest RGB distance (L1) to the adjacent colours is largest."""
    candidates = [coloured_fabric(colour, rng) for colour in rng.choice(list(COLOURS), 4, replace=False)]
    return max(candidates, key=lambda fabric: min(float(np.abs(fabric.rgb[0] - adjacent).sum()) for adjacent in adjacent_rgb))
