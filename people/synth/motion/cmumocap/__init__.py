"""CMU motion-capture database (mocap.cs.cmu.edu): walks as Acclaim skeletons (`NN.asf`) and joint angles (`NN_KK.amc`).

A skeleton file contains direction (world axes, rest pose), length and axis of every bone; a motion file contains the root's
position and the bones' angles at 120 Hz. y is up. Sex and age are not published.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from people.layouts.archives import members
from people.layouts.files import decode_text
from people.layouts.motion import J, body_centred, low_pass, repair, resample, runs
from people.records import JOINTS, Motion
from people.synth.motion import WalkRequest

RECORDED_HZ = 120.0
METRES_PER_INCH = 0.0254
MIN_WALK_S = 0.8  # many clips last only three seconds
SPEED_RANGE_M_S = (0.6, 2.5)
MAX_TURN_RAD_S = 0.8
SOLE_M = 0.08  # height of the ankle, the end of the skeleton's legs, above the ground
SMOOTH_S = 0.3
_PATTERN = re.compile(r"/\d+(_\d+\.amc|\.asf)$", re.IGNORECASE)
_EXPECTED = "skeletons NN/NN.asf and motions NN/NN_KK.amc"
_JOINT_BONES = {"spine": "lowerback", "neck": "lowerneck"} | {
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
    """One bone: `rest_m` is the vector from its start to its end, `axis` rotates its local axes to world axes."""

    name: str
    parent: str
    rest_m: Float[np.ndarray, " 3"]
    axis: Rotation
    dofs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Bones ordered from the root outwards; `unit_m` is the unit of length in metres."""

    bones: tuple[Bone, ...]
    unit_m: float

    @property
    def height_m(self) -> float:
        """Standing height: the lengths of leg, spine and head added up."""
        length = {bone.name: float(np.linalg.norm(bone.rest_m)) for bone in self.bones}
        hip = -np.mean([bone.rest_m[1] for bone in self.bones if bone.name in ("lhipjoint", "rhipjoint")])
        legs = np.mean([length[f"{side}{bone}"] for bone in ("femur", "tibia") for side in "lr"]) * 2
        trunk = sum(length[bone] for bone in ("lowerback", "upperback", "thorax", "lowerneck", "upperneck", "head"))
        return float(SOLE_M + legs + hip + trunk)


def walks(request: WalkRequest) -> list[Motion]:
    """All walks of the archive."""
    return read(request.archive, frame_rate_hz=request.frame_rate_hz)


def read(archive: Path, *, frame_rate_hz: float = 30.0) -> list[Motion]:
    """The straight intervals of all walks, by person, walk and time; walk "03a" is the first interval of NN_03.amc."""
    files = members(archive, _PATTERN, expected=_EXPECTED)
    skeletons = {Path(name).stem: (name, content) for name, content in files.items() if name.lower().endswith(".asf")}
    motion_files = sorted(name for name in files if name.lower().endswith(".amc"))
    if not motion_files:
        raise ValueError(f"{archive}: expected motions NN/NN_KK.amc, found skeletons only; name the whole archive")
    parsed = {subject: read_skeleton(f"{archive}/{name}", content) for subject, (name, content) in sorted(skeletons.items())}
    motions = []
    for name in motion_files:
        subject, walk_number = Path(name).stem.split("_")
        if subject not in parsed:
            raise ValueError(f"{archive}/{name}: expected a skeleton {subject}.asf, found none; restore it beside the motion")
        joints_m = read_joints(f"{archive}/{name}", files[name], parsed[subject])
        motions += _straight_motions(joints_m, subject, walk_number, parsed[subject].height_m, frame_rate_hz)
    return motions


def read_skeleton(source: str, content: bytes) -> Skeleton:
    """Parse an Acclaim skeleton file; one unit of length is 1/scale inches."""
    text = re.sub(r"#.*", "", decode_text(content, source))
    sections = dict(re.findall(r"^:(\w+)(.*?)(?=^:|\Z)", text, flags=re.M | re.S))
    scale = re.search(r"length\s+([\d.eE+-]+)", sections.get("units", ""))
    if missing := sorted({"units", "bonedata", "hierarchy"} - set(sections)) or ([] if scale else ["length in :units"]):
        raise ValueError(f"{source}: expected an Acclaim skeleton, missing {missing}; restore the file")
    assert scale is not None
    unit_m = METRES_PER_INCH / float(scale[1])
    lines = re.findall(r"^[^\S\n]*(\w+)((?:[^\S\n]+\w+)+)[^\S\n]*$", sections["hierarchy"], flags=re.M)
    parents = {child: parent for parent, children in lines for child in children.split()}
    blocks = re.findall(r"\bbegin\b(.*?)\bend\b", sections["bonedata"], flags=re.S)
    try:
        bones = {bone.name: bone for bone in (_parse_bone(block, parents, unit_m) for block in blocks)}
    except (KeyError, ValueError) as error:
        expected = "name, direction, length and axis of every bone"
        raise ValueError(f"{source}: expected {expected}, reading them failed ({error!r}); restore the file") from error
    if missing := sorted({*_JOINT_BONES.values(), "head"} - set(bones)):
        raise ValueError(f"{source}: expected the bones of a CMU skeleton, missing {missing}; use another person's walks")
    ordered = [name for name in parents if name in bones]  # the hierarchy is written from the root outwards
    return Skeleton(tuple(bones[name] for name in ordered), unit_m)


def _parse_bone(block: str, parents: dict[str, str], unit_m: float) -> Bone:
    fields = {
        key: values.split() for key, values in re.findall(r"^\s*(name|direction|length|axis|dof)\s+(.*)$", block, flags=re.M)
    }
    direction = np.array(fields["direction"], dtype=float)
    angles = np.array(fields["axis"][:3], dtype=float)
    name = fields["name"][0]
    length = float(fields["length"][0]) * unit_m
    return Bone(
        name,
        parents[name],
        direction / np.linalg.norm(direction) * length,
        _euler_rotation(angles),
        tuple(fields.get("dof", ())),
    )


def _euler_rotation(degrees: Float[np.ndarray, "*frame 3"]) -> Rotation:
    """Rotation about the fixed axes x, y and z, in this order."""
    return Rotation.from_euler("xyz", degrees, degrees=True)


def read_angles(source: str, content: bytes, skeleton: Skeleton) -> dict[str, Float[np.ndarray, "frame dof"]]:
    """Parse an Acclaim motion file: position and angles of the root and angles of all bones, by bone."""
    lines = decode_text(content, source).splitlines()
    frame_lines = [number for number, line in enumerate(lines) if line.strip().isdigit()]
    if not frame_lines:
        raise ValueError(f"{source}: expected numbered frames, found none in {len(lines)} lines; restore the file")
    dofs = {"root": 6} | {bone.name: len(bone.dofs) for bone in skeleton.bones if bone.dofs}
    order = [
        line.split()[0] for line in lines[frame_lines[0] + 1 : frame_lines[1] if len(frame_lines) > 1 else None] if line.split()
    ]
    if sorted(order) != sorted(dofs):
        different = sorted(set(order) ^ set(dofs))
        source = f"{source}, line {frame_lines[0] + 1}"
        raise ValueError(f"{source}: expected a line for every moving bone, these differ: {different}; restore the file")
    width = 1 + sum(1 + dofs[name] for name in order)
    tokens = " ".join(lines[frame_lines[0] :]).split()
    try:
        table = np.array(tokens).reshape(-1, width)
        name_columns = np.cumsum([1] + [1 + dofs[name] for name in order])[:-1]
        columns = {name: slice(column + 1, column + 1 + dofs[name]) for name, column in zip(order, name_columns, strict=True)}
        if (table[:, name_columns] != np.array(order)).any():
            raise ValueError("bones out of order")
        angles = {name: table[:, value_columns].astype(float) for name, value_columns in columns.items()}
        if not all(np.isfinite(values).all() for values in angles.values()):
            raise ValueError("an angle is not a finite number")
        return angles
    except ValueError as error:
        line_number, bad_line = _find_bad_line(lines, frame_lines[0], ["", *order], dofs)
        raise ValueError(
            f"{source}, line {line_number}: expected a bone and its angles, got {bad_line!r}; restore the file"
        ) from error


def _find_bad_line(lines: list[str], first_frame_line: int, order: list[str], dofs: dict[str, int]) -> tuple[int, str]:
    """Number and content of the first line that is not a frame number or the next bone with its angles."""
    for index, line in enumerate(lines[first_frame_line:]):
        bone, fields = order[index % len(order)], line.split()
        values = fields[1:] if bone else fields
        is_valid = len(values) == dofs.get(bone, 1) and (not bone or fields[:1] == [bone])
        if not is_valid or not all(re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", value) for value in values):
            return first_frame_line + index + 1, line
    return len(lines), "the end of the file"


def read_joints(source: str, content: bytes, skeleton: Skeleton) -> Float[np.ndarray, "frame joint 3"]:
    """Forward kinematics: a bone's end is its start plus its rest vector, rotated by C M C^-1 of all its ancestors and itself.

    C is the bone's axis, M the rotation by its angles. Joints are ordered as `JOINTS`, in metres, z up.
    """
    angles = read_angles(source, content, skeleton)
    root = angles["root"]  # TX TY TZ RX RY RZ
    rotations, bone_ends = {"root": _euler_rotation(root[:, 3:])}, {"root": root[:, :3] * skeleton.unit_m}
    for bone in skeleton.bones:
        degrees = np.zeros((len(root), 3))
        for column, dof in enumerate(bone.dofs):
            degrees[:, "xyz".index(dof[1])] = angles[bone.name][:, column]
        rotations[bone.name] = rotations[bone.parent] * bone.axis * _euler_rotation(degrees) * bone.axis.inv()
        bone_ends[bone.name] = bone_ends[bone.parent] + rotations[bone.name].apply(bone.rest_m)
    bone_ends = {joint: bone_ends[bone] for joint, bone in _JOINT_BONES.items()} | {
        "head": (bone_ends["upperneck"] + bone_ends["head"]) / 2,  # the middle of the head's bone
        "pelvis": (bone_ends["lhipjoint"] + bone_ends["rhipjoint"]) / 2,
    }
    return np.stack([bone_ends[joint] for joint in JOINTS], axis=1)[..., [2, 0, 1]]


def _straight_motions(
    joints_m: Float[np.ndarray, "frame joint 3"], subject: str, walk_number: str, height_m: float, frame_rate_hz: float
) -> list[Motion]:
    """The intervals of a walk in a straight line at walking speed, each as a motion record."""
    repaired = repair(joints_m, RECORDED_HZ)
    path = low_pass(repaired.joints_m[:, J["pelvis"], :2], RECORDED_HZ, 1 / SMOOTH_S / 4)
    velocity = np.gradient(path, axis=0) * RECORDED_HZ
    speed = np.linalg.norm(velocity, axis=1)
    heading = np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0]))
    turning = np.abs(np.gradient(heading)) * RECORDED_HZ > MAX_TURN_RAD_S
    steady = ~turning & ~repaired.lost & (speed > SPEED_RANGE_M_S[0]) & (speed < SPEED_RANGE_M_S[1])
    intervals = [(start, stop) for start, stop in runs(steady) if stop - start >= MIN_WALK_S * RECORDED_HZ]
    motions = []
    for letter, (start, stop) in zip(ascii_lowercase, intervals, strict=False):
        centred = body_centred(repaired.joints_m[start:stop], heading[start:stop], RECORDED_HZ)
        pelvis = repaired.joints_m[start:stop, J["pelvis"], :2]
        direction = np.stack([np.cos(heading[start:stop]), np.sin(heading[start:stop])], axis=1)
        forward_m = np.concatenate([[0.0], np.cumsum((np.diff(pelvis, axis=0) * direction[1:]).sum(axis=1))])
        motions.append(
            Motion(
                subject_id=subject,
                walk_id=f"{walk_number}{letter}",
                joints_m=resample(centred, RECORDED_HZ, frame_rate_hz),
                forward_m=resample(forward_m, RECORDED_HZ, frame_rate_hz),
                frame_rate_hz=frame_rate_hz,
                height_m=height_m,
                repaired_frames=int(repaired.repaired[start:stop].sum()),
            )
        )
    return motions
