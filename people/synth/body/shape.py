"""Bodies with volume: every part is a tube of elliptic rings strung along the bones, so that joints bend without seams."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from people.records import JOINTS, Motion, Sex

COLUMNS = 16  # vertices round a ring; the first is repeated as the last one, where the texture's two ends meet
HAIR_RGB = np.array([[35, 28, 25], [70, 48, 32], [110, 78, 48], [175, 140, 90], [120, 60, 35]], np.float32)  # before it greys
_THICK = {"short": 0.07, "bob": 0.16, "long": 0.14, "tail": 0.08, "flowing": 0.2}  # against the skull's half width
_ANGLE = np.linspace(0, 2 * np.pi, COLUMNS + 1, dtype=np.float32)
# Round a ring: 0 is the person's left side (the upper side's left for feet), a quarter turn the front (the top for feet).
LEFT, FRONT = np.cos(_ANGLE), np.sin(_ANGLE)

# height above the skull's middle, half width, half depth, shift forward
HEAD = np.array([
    (0.070, 0.003, 0.004, -0.006), (0.062, 0.021, 0.028, -0.006), (0.047, 0.034, 0.045, -0.004), (0.026, 0.041, 0.053, 0.0),
    (0.006, 0.043, 0.054, 0.0), (-0.014, 0.042, 0.052, 0.001), (-0.032, 0.038, 0.049, 0.003), (-0.048, 0.031, 0.044, 0.007),
    (-0.060, 0.022, 0.034, 0.011), (-0.068, 0.005, 0.008, 0.012),
])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Shape:
    """What is a person's own in volume, skin and hair; girths are relative to an average person's."""

    sex: Sex
    age_years: float
    height_m: float
    bmi: float
    girth: Float[np.ndarray, " 5"]  # own variation of chest, waist, hips, legs, arms
    skin_rgb: Float[np.ndarray, " 3"]
    hair_rgb: Float[np.ndarray, " 3"]
    hair_style: str  # bald, or one that `hair_region` knows
    head: float = 1.0  # the head's size against an adult's of the same height

    @property
    def head_m(self) -> float:
        """The body height to which an average adult has a head of this size."""
        return self.height_m * self.head * (0.97 if self.sex == "female" else 1.0)


def draw_shape(motion: Motion, identity_seed: int) -> Shape:
    """A person's body: sex, age, height and weight as recorded, what is not recorded and what nobody records at random.

    Body mass index rises with age; women wear their hair long more often, men get bald, everybody gets grey.
    """
    rng = np.random.default_rng([identity_seed, 11])
    chance, normal = rng.random(8), rng.standard_normal(8)
    sex: Sex = motion.sex or ("female" if chance[0] < 0.5 else "male")
    woman = sex == "female"
    age = motion.age_years if motion.age_years is not None else 18 + 57 * chance[1]
    height = motion.height_m or height_of(motion)
    drawn = (23.6 + 0.055 * (age - 40) + 3.2 * normal[0]) if woman else (25.2 + 0.035 * (age - 40) + 2.8 * normal[0])
    bmi = motion.weight_kg / height**2 if motion.weight_kg else drawn
    grey = np.clip((age - 38) / 30 + 0.25 * normal[1], 0, 0.9)
    hair = HAIR_RGB[int(chance[2] * 4.99)]
    light = np.array([228, 188, 162], np.float32)
    styles = ("short", "bob", "long", "tail") if woman else ("bald", "short", "bob")
    odds = (0.15 + 0.004 * max(age - 30, 0), 0.25, 0.35) if woman else (0.05 + 0.006 * max(age - 30, 0), 0.95)
    return Shape(
        sex=sex,
        age_years=float(age),
        height_m=float(height),
        bmi=float(np.clip(bmi, 16, 42)),
        girth=(1 + 0.035 * normal[2:7]).astype(np.float32),
        skin_rgb=(light * (1 - 0.55 * chance[3] ** 2) * np.array([1, 1 - 0.06 * chance[3], 1 - 0.1 * chance[3]])).astype(
            np.float32
        ),
        hair_rgb=(hair * (1 - grey) + np.array([185, 183, 180]) * grey).astype(np.float32),
        hair_style=styles[int(np.searchsorted(np.cumsum(odds), chance[4]))],
    )


def height_of(motion: Motion) -> float:
    """Body height from the joints, where the record has none: the head's middle is at about 0.93 of it."""
    above = motion.joints_m[:, JOINTS.index("head"), 2] - motion.joints_m[..., 2].min(axis=1)
    return float(np.clip(np.median(above) / 0.915, 1.2, 2.2))


def hair_region(style: str) -> tuple[Float[np.ndarray, " ring"], float]:
    """How far round from the back the hair reaches on each ring of the head (radians), and how thick it is."""
    above = HEAD[:, 0]
    if style == "bald":
        return np.where((above < 0.03) & (above > -0.04), 1.75, 0.0), 0.03
    ends = {"short": -0.03, "bob": -0.058, "long": -0.058, "tail": -0.035, "flowing": -0.058}[style]
    reach = np.interp(above, [-0.03, 0.0, 0.03, 0.05], [1.7, 1.95, 2.2, 3.2])
    return np.where(above >= ends, reach, 0.0), _THICK[style]


@dataclass(frozen=True, eq=False)
class Rings:
    """A tube's rings in some frames: middles, half axes to the side and to the front (side x front points along the tube)."""

    middle: Float[np.ndarray, "frame ring 3"]
    side: Float[np.ndarray, "frame ring 3"]
    front: Float[np.ndarray, "frame ring 3"]

    def __len__(self) -> int:
        return self.middle.shape[1]


def unit(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Vectors of length one (noisy recordings have joints in one place: such a vector stays near zero)."""
    return vectors / np.maximum(np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None], 1e-6)


def cross(a: Float[np.ndarray, "*batch 3"], b: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """a x b, quicker than numpy's for many small vectors."""
    x, y, z = (a[..., i] for i in range(3))
    u, v, w = (b[..., i] for i in range(3))
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints by name and the axes (left, up, forward) of pelvis, chest and head in some frames."""

    joint: dict[str, Float[np.ndarray, "frame 3"]]
    pelvis: tuple[np.ndarray, np.ndarray, np.ndarray]
    chest: tuple[np.ndarray, np.ndarray, np.ndarray]
    head: tuple[np.ndarray, np.ndarray, np.ndarray]


def skeleton(joints_m: Float[np.ndarray, "frame joint 3"], shape: Shape) -> Skeleton:
    """The frame of axes of each part of the trunk, steadied against noisy hips and shoulders by the walking direction."""
    joint = {name: joints_m[:, i] for i, name in enumerate(JOINTS)}
    left = np.array([0, 1, 0], np.float32)
    up = np.array([0, 0, 1], np.float32)
    hips = (joint["left_hip"] + joint["right_hip"]) / 2
    trunk = unit(joint["neck"] - hips)
    pelvis = _axes(unit(joint["left_hip"] - joint["right_hip"]) + 0.5 * left, unit(trunk + up))
    chest = _axes(unit(joint["left_shoulder"] - joint["right_shoulder"]) + 0.3 * left, trunk)
    above = unit(unit(joint["head"] - joint["neck"]) + 0.35 * unit(trunk + up))
    head = _axes(chest[0] + left, unit(above + 1.5 * up + 0.35 * chest[2]) - 0.25 * chest[2])
    joint["hips"] = hips
    joint["skull"] = joint["neck"] + above * np.clip(
        np.linalg.norm(joint["head"] - joint["neck"], axis=1, keepdims=True) * np.float32(shape.head),
        0.1 * shape.height_m * shape.head,
        0.135 * shape.height_m * shape.head,
    )
    return Skeleton(joint, pelvis, chest, head)


def _axes(
    left: Float[np.ndarray, "frame 3"], up: Float[np.ndarray, "frame 3"]
) -> tuple[Float[np.ndarray, "frame 3"], Float[np.ndarray, "frame 3"], Float[np.ndarray, "frame 3"]]:
    """Orthogonal unit vectors (left, up, forward), up as given, left as near as can be."""
    up = unit(up)
    forward = unit(cross(left, up))
    return cross(up, forward), up, forward


def limb(
    points: list[Float[np.ndarray, "frame 3"]],
    left: Float[np.ndarray, "frame 3"],
    along: Float[np.ndarray, " ring"],
    half_side_m: Float[np.ndarray, " ring"],
    half_front_m: Float[np.ndarray, " ring"],
    forward_m: Float[np.ndarray, " ring"],
) -> Rings:
    """Rings along the bones between `points`; `along` counts bones (1.5: middle of the second), bending over at joints."""
    joints = np.stack(points, axis=1)
    bones = np.diff(joints, axis=1)
    index = np.clip(np.floor(along).astype(int), 0, len(points) - 2)
    share = (along - index).astype(np.float32)[:, None]
    middle = joints[:, index] + share * bones[:, index]
    tangent = unit(bones)
    # Within a sixth of a bone of a joint the ring leans towards the next bone's direction.
    other = np.clip(np.where(share[:, 0] > 0.5, index + 1, index - 1), 0, len(points) - 2)
    lean = np.clip(0.5 - 3 * np.minimum(share, 1 - share), 0, 0.5)
    direction = unit(tangent[:, index] * (1 - lean) + tangent[:, other] * lean)
    across = left[:, None] - np.einsum("fri,fi->fr", direction, left)[..., None] * direction
    side = unit(across)
    front = cross(direction, side)
    return Rings(
        middle + forward_m.astype(np.float32)[:, None] * front,
        side * half_side_m.astype(np.float32)[:, None],
        front * half_front_m.astype(np.float32)[:, None],
    )


def trunk(
    frame: Skeleton,
    share: Float[np.ndarray, " ring"],
    half_side_m: Float[np.ndarray, " ring"],
    half_front_m: Float[np.ndarray, " ring"],
    forward_m: Float[np.ndarray, " ring"],
) -> Rings:
    """Level rings between the neck (share 0) and the hips (share 1), and on beyond both, turning from chest to pelvis."""
    share32 = share.astype(np.float32)[:, None]
    turn = np.clip(share32, 0, 1)
    neck, hips = frame.joint["neck"][:, None], frame.joint["hips"][:, None]
    # The spine's joint bows the line from neck to hips; its height differs too much between recordings to be one of its points.
    bow = frame.joint["spine"][:, None] - neck
    line = hips - neck
    at = np.einsum("fri,fri->fr", bow, line) / np.maximum(np.einsum("fri,fri->fr", line, line), 1e-6)
    off = (bow - at[..., None] * line) / np.maximum(4 * at * (1 - at), 0.5)[..., None]
    middle = neck + np.maximum(share32, 0) * line + np.clip(4 * share32 * (1 - share32), 0, 1) * np.clip(off, -0.06, 0.06)
    # Above the shoulders the neck leads to the skull: recorded heads do not stay on the trunk's line.
    middle = middle + np.minimum(share32, 0) * np.float32(2.3) * (neck - frame.joint["skull"][:, None])
    side = unit(frame.chest[0][:, None] * (1 - turn) + frame.pelvis[0][:, None] * turn)
    front = unit(frame.chest[2][:, None] * (1 - turn) + frame.pelvis[2][:, None] * turn)
    return Rings(
        middle + forward_m.astype(np.float32)[:, None] * front,
        side * half_side_m.astype(np.float32)[:, None],
        front * half_front_m.astype(np.float32)[:, None],
    )


@lru_cache(maxsize=64)
def faces(rings: tuple[int, ...]) -> Int[np.ndarray, "face 3"]:
    """Triangles between the rings of every tube, outsides turning counter-clockwise."""
    found, first = [], 0
    column = np.arange(COLUMNS)
    for count in rings:
        for ring in range(count - 1):
            here = first + ring * (COLUMNS + 1) + column
            below = here + COLUMNS + 1
            found += [np.stack([here, here + 1, below], axis=1), np.stack([here + 1, below + 1, below], axis=1)]
        first += count * (COLUMNS + 1)
    triangles = np.concatenate(found)
    triangles.setflags(write=False)
    return triangles


def surface(rings: Rings, swell: Float[np.ndarray, "ring column"]) -> Float[np.ndarray, "frame ring column 3"]:
    """Vertices: middle + swell (cos side + sin front)."""
    return (
        rings.middle[:, :, None]
        + (swell * LEFT)[:, :, None] * rings.side[:, :, None]
        + (swell * FRONT)[:, :, None] * rings.front[:, :, None]
    )


def normals(
    vertices: Float[np.ndarray, "frame ring column 3"], before: Int[np.ndarray, " ring"], after: Int[np.ndarray, " ring"]
) -> Float[np.ndarray, "frame ring column 3"]:
    """Outward unit normals from the neighbours on the ring and on the rings `before` and `after`."""
    closed = vertices[:, :, :-1]
    round_ring = np.roll(closed, -1, axis=2) - np.roll(closed, 1, axis=2)
    round_ring = np.concatenate([round_ring, round_ring[:, :, :1]], axis=2)
    return unit(cross(round_ring, vertices[:, after] - vertices[:, before]))
