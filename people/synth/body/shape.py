"""Body shape: every body part is a tube of elliptic rings placed along the bones, so that joints bend without seams."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from people.records import JOINTS, Motion, Sex

COLUMNS = 16  # vertices round a ring; the first one is repeated at the end, where both edges of the texture meet
HAIR_RGB = np.array([[35, 28, 25], [70, 48, 32], [110, 78, 48], [175, 140, 90], [120, 60, 35]], np.float32)  # before greying
_HAIR_THICKNESS = {"short": 0.07, "bob": 0.16, "long": 0.14, "tail": 0.08, "flowing": 0.2}  # relative to the skull's half width
_RING_ANGLES = np.linspace(0, 2 * np.pi, COLUMNS + 1, dtype=np.float32)
# Round a ring: 0 is the person's left side (the upper side's left for feet), a quarter turn the front (the top for feet).
LEFT, FRONT = np.cos(_RING_ANGLES), np.sin(_RING_ANGLES)

# height above the skull's middle, half width, half depth, shift forward
HEAD_PROFILE = np.array([
    (0.070, 0.003, 0.004, -0.006), (0.062, 0.021, 0.028, -0.006), (0.047, 0.034, 0.045, -0.004), (0.026, 0.041, 0.053, 0.0),
    (0.006, 0.043, 0.054, 0.0), (-0.014, 0.042, 0.052, 0.001), (-0.032, 0.038, 0.049, 0.003), (-0.048, 0.031, 0.044, 0.007),
    (-0.060, 0.022, 0.034, 0.011), (-0.068, 0.005, 0.008, 0.012),
])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Shape:
    """A person's body proportions, skin and hair; girths are relative to an average person's."""

    sex: Sex
    age_years: float
    height_m: float
    bmi: float
    girth: Float[np.ndarray, " 5"]  # relative girth of chest, waist, hips, legs, arms
    skin_rgb: Float[np.ndarray, " 3"]
    hair_rgb: Float[np.ndarray, " 3"]
    hair_style: str  # bald or a key of `_HAIR_THICKNESS`
    head: float = 1.0  # head size relative to an adult of the same height

    @property
    def head_m(self) -> float:
        """The body height to which an average adult has a head of this size."""
        return self.height_m * self.head * (0.97 if self.sex == "female" else 1.0)


def draw_shape(motion: Motion, identity_seed: int) -> Shape:
    """Draw a person's body; sex, age, height and weight are taken from the recording where it has them.

    Body mass index rises with age; long hair is more frequent in women, baldness occurs in men, hair greys with age.
    """
    rng = np.random.default_rng([identity_seed, 11])
    uniforms, normals = rng.random(8), rng.standard_normal(8)
    sex: Sex = motion.sex or ("female" if uniforms[0] < 0.5 else "male")
    is_female = sex == "female"
    age_years = motion.age_years if motion.age_years is not None else 18 + 57 * uniforms[1]
    height_m = motion.height_m or estimate_height_m(motion)
    random_bmi = (
        (23.6 + 0.055 * (age_years - 40) + 3.2 * normals[0])
        if is_female
        else (25.2 + 0.035 * (age_years - 40) + 2.8 * normals[0])
    )
    bmi = motion.weight_kg / height_m**2 if motion.weight_kg else random_bmi
    grey = np.clip((age_years - 38) / 30 + 0.25 * normals[1], 0, 0.9)
    natural_rgb = HAIR_RGB[int(uniforms[2] * 4.99)]
    lightest_rgb = np.array([228, 188, 162], np.float32)
    styles = ("short", "bob", "long", "tail") if is_female else ("bald", "short", "bob")
    style_shares = (
        (0.15 + 0.004 * max(age_years - 30, 0), 0.25, 0.35) if is_female else (0.05 + 0.006 * max(age_years - 30, 0), 0.95)
    )
    return Shape(
        sex=sex,
        age_years=float(age_years),
        height_m=float(height_m),
        bmi=float(np.clip(bmi, 16, 42)),
        girth=(1 + 0.035 * normals[2:7]).astype(np.float32),
        skin_rgb=(
            lightest_rgb * (1 - 0.55 * uniforms[3] ** 2) * np.array([1, 1 - 0.06 * uniforms[3], 1 - 0.1 * uniforms[3]])
        ).astype(np.float32),
        hair_rgb=(natural_rgb * (1 - grey) + np.array([185, 183, 180]) * grey).astype(np.float32),
        hair_style=styles[int(np.searchsorted(np.cumsum(style_shares), uniforms[4]))],
    )


def estimate_height_m(motion: Motion) -> float:
    """Body height from the joints: the middle of the head lies at about 0.93 of it above the ground."""
    head_middle_m = motion.joints_m[:, JOINTS.index("head"), 2] - motion.joints_m[..., 2].min(axis=1)
    return float(np.clip(np.median(head_middle_m) / 0.915, 1.2, 2.2))


def hair_region(style: str) -> tuple[Float[np.ndarray, " ring"], float]:
    """The angle from the back that hair covers on each ring of the head (radians), and the hair's relative thickness."""
    heights = HEAD_PROFILE[:, 0]
    if style == "bald":
        return np.where((heights < 0.03) & (heights > -0.04), 1.75, 0.0), 0.03
    lowest = {"short": -0.03, "bob": -0.058, "long": -0.058, "tail": -0.035, "flowing": -0.058}[style]
    reach = np.interp(heights, [-0.03, 0.0, 0.03, 0.05], [1.7, 1.95, 2.2, 3.2])
    return np.where(heights >= lowest, reach, 0.0), _HAIR_THICKNESS[style]


@dataclass(frozen=True, eq=False)
class Rings:
    """The rings of a tube per frame: middle and half axes to the side and front (side x front points along the tube)."""

    middle: Float[np.ndarray, "frame ring 3"]
    side: Float[np.ndarray, "frame ring 3"]
    front: Float[np.ndarray, "frame ring 3"]

    def __len__(self) -> int:
        return self.middle.shape[1]


def unit_vectors(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Vectors scaled to length one; zero vectors, from joints that coincide in noisy recordings, stay near zero."""
    return vectors / np.maximum(np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None], 1e-6)


def cross(a: Float[np.ndarray, "*batch 3"], b: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """The cross product a x b, faster than `numpy.cross` for many vectors."""
    x, y, z = (a[..., i] for i in range(3))
    u, v, w = (b[..., i] for i in range(3))
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joint positions by name and the axes (left, up, forward) of pelvis, chest and head per frame."""

    joint: dict[str, Float[np.ndarray, "frame 3"]]
    pelvis: tuple[np.ndarray, np.ndarray, np.ndarray]
    chest: tuple[np.ndarray, np.ndarray, np.ndarray]
    head: tuple[np.ndarray, np.ndarray, np.ndarray]


def build_skeleton(joints_m: Float[np.ndarray, "frame joint 3"], shape: Shape) -> Skeleton:
    """Joints by name, and axes of pelvis, chest and head blended with the walking direction against noise in the joints."""
    joint = {name: joints_m[:, i] for i, name in enumerate(JOINTS)}
    left = np.array([0, 1, 0], np.float32)
    up = np.array([0, 0, 1], np.float32)
    hip_middle = (joint["left_hip"] + joint["right_hip"]) / 2
    trunk_axis = unit_vectors(joint["neck"] - hip_middle)
    pelvis = _orthonormal_axes(unit_vectors(joint["left_hip"] - joint["right_hip"]) + 0.5 * left, unit_vectors(trunk_axis + up))
    chest = _orthonormal_axes(unit_vectors(joint["left_shoulder"] - joint["right_shoulder"]) + 0.3 * left, trunk_axis)
    neck_to_head = unit_vectors(unit_vectors(joint["head"] - joint["neck"]) + 0.35 * unit_vectors(trunk_axis + up))
    head = _orthonormal_axes(chest[0] + left, unit_vectors(neck_to_head + 1.5 * up + 0.35 * chest[2]) - 0.25 * chest[2])
    joint["hips"] = hip_middle
    joint["skull"] = joint["neck"] + neck_to_head * np.clip(
        np.linalg.norm(joint["head"] - joint["neck"], axis=1, keepdims=True) * np.float32(shape.head),
        0.1 * shape.height_m * shape.head,
        0.135 * shape.height_m * shape.head,
    )
    return Skeleton(joint, pelvis, chest, head)


def _orthonormal_axes(
    left: Float[np.ndarray, "frame 3"], up: Float[np.ndarray, "frame 3"]
) -> tuple[Float[np.ndarray, "frame 3"], Float[np.ndarray, "frame 3"], Float[np.ndarray, "frame 3"]]:
    """Orthogonal unit vectors (left, up, forward) with up as given and left as close as possible to the given one."""
    up = unit_vectors(up)
    forward = unit_vectors(cross(left, up))
    return cross(up, forward), up, forward


def limb_rings(
    points: list[Float[np.ndarray, "frame 3"]],
    left: Float[np.ndarray, "frame 3"],
    along: Float[np.ndarray, " ring"],
    half_side_m: Float[np.ndarray, " ring"],
    half_front_m: Float[np.ndarray, " ring"],
    forward_m: Float[np.ndarray, " ring"],
) -> Rings:
    """Rings along the bones between `points`; `along` counts bones (1.5: middle of the second one)."""
    joints = np.stack(points, axis=1)
    bones = np.diff(joints, axis=1)
    bone = np.clip(np.floor(along).astype(int), 0, len(points) - 2)
    fraction = (along - bone).astype(np.float32)[:, None]
    middle = joints[:, bone] + fraction * bones[:, bone]
    tangent = unit_vectors(bones)
    # Within a sixth of a bone from a joint, the ring's direction is blended with the adjacent bone's.
    neighbour = np.clip(np.where(fraction[:, 0] > 0.5, bone + 1, bone - 1), 0, len(points) - 2)
    blend = np.clip(0.5 - 3 * np.minimum(fraction, 1 - fraction), 0, 0.5)
    direction = unit_vectors(tangent[:, bone] * (1 - blend) + tangent[:, neighbour] * blend)
    side_axis = left[:, None] - np.einsum("fri,fi->fr", direction, left)[..., None] * direction
    side = unit_vectors(side_axis)
    front = cross(direction, side)
    return Rings(
        middle + forward_m.astype(np.float32)[:, None] * front,
        side * half_side_m.astype(np.float32)[:, None],
        front * half_front_m.astype(np.float32)[:, None],
    )


def trunk_rings(
    skeleton: Skeleton,
    level: Float[np.ndarray, " ring"],
    half_side_m: Float[np.ndarray, " ring"],
    half_front_m: Float[np.ndarray, " ring"],
    forward_m: Float[np.ndarray, " ring"],
) -> Rings:
    """Rings at `level` from the neck (0) to the hips (1) and beyond both; axes turn from the chest's to the pelvis's."""
    fraction = level.astype(np.float32)[:, None]
    pelvis_weight = np.clip(fraction, 0, 1)
    neck, hips = skeleton.joint["neck"][:, None], skeleton.joint["hips"][:, None]
    # The spine joint gives the curvature between neck and hips; its height differs too much between recordings to be a node.
    spine_offset = skeleton.joint["spine"][:, None] - neck
    line = hips - neck
    projection = np.einsum("fri,fri->fr", spine_offset, line) / np.maximum(np.einsum("fri,fri->fr", line, line), 1e-6)
    bow = (spine_offset - projection[..., None] * line) / np.maximum(4 * projection * (1 - projection), 0.5)[..., None]
    middle = neck + np.maximum(fraction, 0) * line + np.clip(4 * fraction * (1 - fraction), 0, 1) * np.clip(bow, -0.06, 0.06)
    # Above the shoulders rings follow the neck to the skull, because recorded heads do not lie on the trunk's line.
    middle = middle + np.minimum(fraction, 0) * np.float32(2.3) * (neck - skeleton.joint["skull"][:, None])
    side = unit_vectors(skeleton.chest[0][:, None] * (1 - pelvis_weight) + skeleton.pelvis[0][:, None] * pelvis_weight)
    front = unit_vectors(skeleton.chest[2][:, None] * (1 - pelvis_weight) + skeleton.pelvis[2][:, None] * pelvis_weight)
    return Rings(
        middle + forward_m.astype(np.float32)[:, None] * front,
        side * half_side_m.astype(np.float32)[:, None],
        front * half_front_m.astype(np.float32)[:, None],
    )


@lru_cache(maxsize=64)
def tube_faces(ring_counts: tuple[int, ...]) -> Int[np.ndarray, "face 3"]:
    """Triangles between the rings of every tube, counter-clockwise seen from outside."""
    triangles, first_vertex = [], 0
    columns = np.arange(COLUMNS)
    for ring_count in ring_counts:
        for ring in range(ring_count - 1):
            upper = first_vertex + ring * (COLUMNS + 1) + columns
            lower = upper + COLUMNS + 1
            triangles += [np.stack([upper, upper + 1, lower], axis=1), np.stack([upper + 1, lower + 1, lower], axis=1)]
        first_vertex += ring_count * (COLUMNS + 1)
    mesh = np.concatenate(triangles)
    mesh.setflags(write=False)
    return mesh


def ring_vertices(rings: Rings, radial_scale: Float[np.ndarray, "ring column"]) -> Float[np.ndarray, "frame ring column 3"]:
    """Vertices: middle + radial_scale (cos side + sin front)."""
    return (
        rings.middle[:, :, None]
        + (radial_scale * LEFT)[:, :, None] * rings.side[:, :, None]
        + (radial_scale * FRONT)[:, :, None] * rings.front[:, :, None]
    )


def vertex_normals(
    vertices: Float[np.ndarray, "frame ring column 3"],
    previous_ring: Int[np.ndarray, " ring"],
    next_ring: Int[np.ndarray, " ring"],
) -> Float[np.ndarray, "frame ring column 3"]:
    """Outward unit normals by central differences along the ring and between the rings `previous_ring` and `next_ring`."""
    distinct = vertices[:, :, :-1]
    tangents = np.roll(distinct, -1, axis=2) - np.roll(distinct, 1, axis=2)
    tangents = np.concatenate([tangents, tangents[:, :, :1]], axis=2)
    return unit_vectors(cross(tangents, vertices[:, next_ring] - vertices[:, previous_ring]))
