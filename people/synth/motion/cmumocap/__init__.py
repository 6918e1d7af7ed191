"""CMU motion-capture database (mocap.cs.cmu.edu): walks as Acclaim skeletons (`NN.asf`) and joint angles (`NN_KK.amc`).

A skeleton gives every bone's direction (in the world, at rest), length and axis; a motion gives the root's place and the bones'
angles at 120 Hz. y is up. Sex and age are not published.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from people.layouts.archives import members
from people.layouts.motion import J, body_centred, low_pass, repair, resample, runs
from people.records import JOINTS, Motion
from people.synth.motion import Wanted

RECORDED_HZ = 120.0
METRES_PER_INCH = 0.0254
SHORTEST_S = 0.8  # many clips cross the studio in three seconds
SPEED_RANGE_M_S = (0.6, 2.5)
FASTEST_TURN_RAD_S = 0.8
SOLE_M = 0.08  # the ankle, where the skeleton's legs end, above the ground
SMOOTH_S = 0.3
_PATTERN = re.compile(r"/\d+(_\d+\.amc|\.asf)$")
_EXPECTED = "skeletons NN/NN.asf and motions NN/NN_KK.amc"
_ENDS = {"spine": "lowerback", "neck": "lowerneck"} | {
    f"{side}_{joint}": f"{side[0]}{bone}"
    for side in ("left", "right")
    for joint, bone in {
        "shoulder": "clavicle",
        "elbow": "humerus",
        "wrist": "radius",
        "hand": "hand",
        "hip": "hipjoint",
        "knee": "femur",
        "ankle": "tibia",
        "foot": "foot",
    }.items()
}


@dataclass(frozen=True, eq=False)
class Bone:
    """One bone of a skeleton: `rest` leads from its start to its end, `axis` turns its own axes into the world's."""

    name: str
    parent: str
    rest_m: Float[np.ndarray, " 3"]
    axis: Rotation
    freedoms: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Bones from the root outwards; `metres` is what a unit of length is."""

    bones: tuple[Bone, ...]
    metres: float

    @property
    def height_m(self) -> float:
        """Standing height: both legs, the spine and the head stretched along one line."""
        length = {bone.name: float(np.linalg.norm(bone.rest_m)) for bone in self.bones}
        hip = -np.mean([bone.rest_m[1] for bone in self.bones if bone.name in ("lhipjoint", "rhipjoint")])
        legs = np.mean([length[f"{side}{bone}"] for bone in ("femur", "tibia") for side in "lr"]) * 2
        trunk = sum(length[bone] for bone in ("lowerback", "upperback", "thorax", "lowerneck", "upperneck", "head"))
        return float(SOLE_M + legs + hip + trunk)


def walks(wanted: Wanted) -> list[Motion]:
    """All walks of the archive."""
    return read(wanted.archive, frame_rate_hz=wanted.frame_rate_hz)


def read(archive: Path, *, frame_rate_hz: float = 30.0) -> list[Motion]:
    """Every straight stretch of every walk, by person, walk and time; walk "03a" is the first stretch of NN_03.amc."""
    files = members(archive, _PATTERN, expected=_EXPECTED)
    skeletons = {Path(name).stem: (name, content) for name, content in files.items() if name.endswith(".asf")}
    walks = sorted(name for name in files if name.endswith(".amc"))
    if not walks:
        raise ValueError(f"{archive}: expected motions NN/NN_KK.amc, found skeletons only; name the whole archive")
    parsed = {subject: read_skeleton(f"{archive}/{name}", content) for subject, (name, content) in sorted(skeletons.items())}
    motions = []
    for name in walks:
        subject, walk = Path(name).stem.split("_")
        if subject not in parsed:
            raise ValueError(f"{archive}/{name}: expected a skeleton {subject}.asf, found none; restore it beside the motion")
        joints_m = read_joints(f"{archive}/{name}", files[name], parsed[subject])
        motions += _motions(joints_m, subject, walk, parsed[subject].height_m, frame_rate_hz)
    return motions


def read_skeleton(where: str, content: bytes) -> Skeleton:
    """An Acclaim skeleton file; one unit of length is 1/scale inches."""
    text = re.sub(r"#.*", "", content.decode("latin-1"))
    sections = dict(re.findall(r"^:(\w+)(.*?)(?=^:|\Z)", text, flags=re.M | re.S))
    scale = re.search(r"length\s+([\d.eE+-]+)", sections.get("units", ""))
    if missing := sorted({"units", "bonedata", "hierarchy"} - set(sections)) or ([] if scale else ["length in :units"]):
        raise ValueError(f"{where}: expected an Acclaim skeleton, missing {missing}; restore the file")
    assert scale is not None
    metres = METRES_PER_INCH / float(scale[1])
    lines = re.findall(r"^[^\S\n]*(\w+)((?:[^\S\n]+\w+)+)[^\S\n]*\r?$", sections["hierarchy"], flags=re.M)
    parents = {child: parent for parent, children in lines for child in children.split()}
    blocks = re.findall(r"\bbegin\b(.*?)\bend\b", sections["bonedata"], flags=re.S)
    try:
        bones = {bone.name: bone for bone in (_bone(block, parents, metres) for block in blocks)}
    except (KeyError, ValueError) as error:
        what = "name, direction, length and axis of every bone"
        raise ValueError(f"{where}: expected {what}, reading them failed ({error!r}); restore the file") from error
    if missing := sorted({*_ENDS.values(), "head"} - set(bones)):
        raise ValueError(f"{where}: expected the bones of a CMU skeleton, missing {missing}; use another person's walks")
    ordered = [name for name in parents if name in bones]  # the hierarchy is written from the root outwards
    return Skeleton(tuple(bones[name] for name in ordered), metres)


def _bone(block: str, parents: dict[str, str], metres: float) -> Bone:
    fields = {key: rest.split() for key, rest in re.findall(r"^\s*(name|direction|length|axis|dof)\s+(.*)$", block, flags=re.M)}
    direction = np.array(fields["direction"], dtype=float)
    angles = np.array(fields["axis"][:3], dtype=float)
    name = fields["name"][0]
    length = float(fields["length"][0]) * metres
    return Bone(
        name, parents[name], direction / np.linalg.norm(direction) * length, _turn(angles), tuple(fields.get("dof", ()))
    )


def _turn(degrees: Float[np.ndarray, "*frame 3"]) -> Rotation:
    """Axis order XYZ: first about x, then about the fixed y, then about the fixed z."""
    return Rotation.from_euler("xyz", degrees, degrees=True)


def read_angles(where: str, content: bytes, skeleton: Skeleton) -> dict[str, Float[np.ndarray, "frame freedom"]]:
    """An Acclaim motion file: the root's place and angles and every bone's angles, by bone."""
    lines = content.decode("latin-1").splitlines()
    starts = [number for number, line in enumerate(lines) if line.strip().isdigit()]
    if not starts:
        raise ValueError(f"{where}: expected numbered frames, found none in {len(lines)} lines; restore the file")
    freedoms = {"root": 6} | {bone.name: len(bone.freedoms) for bone in skeleton.bones if bone.freedoms}
    order = [line.split()[0] for line in lines[starts[0] + 1 : starts[1] if len(starts) > 1 else None] if line.split()]
    if sorted(order) != sorted(freedoms):
        odd = sorted(set(order) ^ set(freedoms))
        where = f"{where}, line {starts[0] + 1}"
        raise ValueError(f"{where}: expected a line for every moving bone, these differ: {odd}; restore the file")
    width = 1 + sum(1 + freedoms[name] for name in order)
    tokens = " ".join(lines[starts[0] :]).split()
    try:
        table = np.array(tokens).reshape(-1, width)
        places = np.cumsum([1] + [1 + freedoms[name] for name in order])[:-1]
        spans = {name: slice(at + 1, at + 1 + freedoms[name]) for name, at in zip(order, places, strict=True)}
        if (table[:, places] != np.array(order)).any():
            raise ValueError("bones out of order")
        angles = {name: table[:, span].astype(float) for name, span in spans.items()}
        if not all(np.isfinite(values).all() for values in angles.values()):
            raise ValueError("an angle is not a finite number")
        return angles
    except ValueError as error:
        line, came = _bad_line(lines, starts[0], ["", *order], freedoms)
        raise ValueError(f"{where}, line {line}: expected a bone and its angles, got {came!r}; restore the file") from error


def _bad_line(lines: list[str], first: int, order: list[str], freedoms: dict[str, int]) -> tuple[int, str]:
    """Where a motion file leaves its rhythm: a frame's number, then its bones in order."""
    for number, line in enumerate(lines[first:]):
        name, parts = order[number % len(order)], line.split()
        numbers = parts[1:] if name else parts
        right = len(numbers) == freedoms.get(name, 1) and (not name or parts[:1] == [name])
        if not right or not all(re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", value) for value in numbers):
            return first + number + 1, line
    return len(lines), "the end of the file"


def read_joints(where: str, content: bytes, skeleton: Skeleton) -> Float[np.ndarray, "frame joint 3"]:
    """Forward kinematics: a bone's end is its start plus its rest direction, turned by C M C^-1 of it and of all before it.

    C is the bone's axis, M its angles. Joints are ordered as `JOINTS`, in metres, z up.
    """
    angles = read_angles(where, content, skeleton)
    root = angles["root"]  # TX TY TZ RX RY RZ
    turns, ends = {"root": _turn(root[:, 3:])}, {"root": root[:, :3] * skeleton.metres}
    for bone in skeleton.bones:
        degrees = np.zeros((len(root), 3))
        for column, freedom in enumerate(bone.freedoms):
            degrees[:, "xyz".index(freedom[1])] = angles[bone.name][:, column]
        turns[bone.name] = turns[bone.parent] * bone.axis * _turn(degrees) * bone.axis.inv()
        ends[bone.name] = ends[bone.parent] + turns[bone.name].apply(bone.rest_m)
    ends = {joint: ends[bone] for joint, bone in _ENDS.items()} | {
        "head": (ends["upperneck"] + ends["head"]) / 2,  # the middle of the head's bone
        "pelvis": (ends["lhipjoint"] + ends["rhipjoint"]) / 2,
    }
    return np.stack([ends[joint] for joint in JOINTS], axis=1)[..., [2, 0, 1]]


def _motions(
    joints_m: Float[np.ndarray, "frame joint 3"], subject: str, walk: str, height_m: float, frame_rate_hz: float
) -> list[Motion]:
    """The stretches of a walk in which the person goes straight on, each as a motion record."""
    fixed = repair(joints_m, RECORDED_HZ)
    path = low_pass(fixed.joints_m[:, J["pelvis"], :2], RECORDED_HZ, 1 / SMOOTH_S / 4)
    velocity = np.gradient(path, axis=0) * RECORDED_HZ
    speed = np.linalg.norm(velocity, axis=1)
    heading = np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0]))
    turning = np.abs(np.gradient(heading)) * RECORDED_HZ > FASTEST_TURN_RAD_S
    steady = ~turning & ~fixed.lost & (speed > SPEED_RANGE_M_S[0]) & (speed < SPEED_RANGE_M_S[1])
    found = [(start, stop) for start, stop in runs(steady) if stop - start >= SHORTEST_S * RECORDED_HZ]
    motions = []
    for letter, (start, stop) in zip(ascii_lowercase, found, strict=False):
        centred = body_centred(fixed.joints_m[start:stop], heading[start:stop], RECORDED_HZ)
        pelvis = fixed.joints_m[start:stop, J["pelvis"], :2]
        ahead = np.stack([np.cos(heading[start:stop]), np.sin(heading[start:stop])], axis=1)
        forward_m = np.concatenate([[0.0], np.cumsum((np.diff(pelvis, axis=0) * ahead[1:]).sum(axis=1))])
        motions.append(
            Motion(
                subject_id=subject,
                walk_id=f"{walk}{letter}",
                joints_m=resample(centred, RECORDED_HZ, frame_rate_hz),
                forward_m=resample(forward_m, RECORDED_HZ, frame_rate_hz),
                frame_rate_hz=frame_rate_hz,
                height_m=height_m,
                repaired_frames=int(fixed.repaired[start:stop].sum()),
            )
        )
    return motions
