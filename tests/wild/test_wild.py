"""Every archive as it may lie on a disk is read whole, or refused by an error that names the fault; its changes are seen."""

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from people import datasets
from people.layouts import contents
from tests import wild

CASES = [(layout, variation) for layout in wild.LAYOUTS for variation in wild.VARIATIONS]


@pytest.mark.parametrize(("layout", "variation"), CASES, ids=[": ".join(case) for case in CASES])
def test_an_archive_is_read_whole_or_refused_with_the_reason(tmp_path: Path, layout: str, variation: str):
    described, changed = wild.LAYOUTS[layout], wild.VARIATIONS[variation]
    outcome = wild.read(wild.build(tmp_path, described, changed), described)
    if changed.packs and not described.is_packable:
        assert outcome.unread == (f"{described.data}.zip",), outcome
        assert outcome.valid < described.clips
    elif changed.error:
        assert re.match(rf"ValueError: .*{changed.error}", outcome.error, re.DOTALL), outcome
    else:
        assert outcome[:2] == (described.clips, described.clips), outcome
        assert re.search(changed.unread, " ".join(outcome.unread)), outcome
        assert bool(outcome.unread) == bool(changed.unread)


REPLACED = {  # by layout: files, and the clips that change with each
    "tumgaid": {"image/p002/n01/001.jpg": ["p002/n01"]},
    "casiab": {
        "silhouettes/002/nm-01/090/002-nm-01-090-002.png": ["002/nm-01/090"],
        "video/003-nm-05-090.avi": ["003/nm-05/090"],
    },
    "oumvlp": {"Silhouette_000-01/00003/0002.png": ["00003/01/000"]},
    "fvg": {"session1/001_02/00001.png": ["s1/001_02"]},
    "market1501": {"query/0003_c1s1_000501_00.jpg": ["0003_c1s1_000501_00"]},
    "market1501_course": {"train/more/0003_c2_016620005.jpg": ["0003_c2_016620005"]},
    "usf": {"PrbA.mat": ["A/0001", "A/0002", "A/0003"]},
    "coco": {
        "train2017/more/000000000004.jpg": ["000000000004"],
        "annotations/person_keypoints_val2017.json": ["000000000005", "000000000006"],
    },
    "mpii": {
        "images/000000002.jpg": ["000000002"],
        "mpii_joints_activities.csv": [f"{number:09d}" for number in range(1, 7)],
    },
}


@pytest.mark.parametrize("through_link", [False, True], ids=["in place", "behind a link"])
@pytest.mark.parametrize(("layout", "file"), [(layout, file) for layout, files in REPLACED.items() for file in files])
def test_a_replaced_file_changes_the_digests_of_its_clips_and_of_no_others(
    tmp_path: Path, layout: str, file: str, through_link: bool
):
    root = wild.build(tmp_path, wild.LAYOUTS[layout], wild.VARIATIONS["plain"])
    path = root / file
    if through_link:
        path = path.rename(tmp_path / "elsewhere")
        (root / file).symlink_to(path)
    clips, known = datasets.find(wild.LAYOUTS[layout].dataset).read(root), {}
    before, listing = contents.of_clips(root, clips, known), contents.of_archive(root, known)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    after = contents.of_clips(root, clips, known)
    changed = [one != other for one, other in zip(before, after, strict=True)]
    assert clips["clip_id"][changed].tolist() == REPLACED[layout][file]
    assert contents.of_archive(root, known)["sha256"] != listing["sha256"]


@pytest.mark.parametrize("layout", ["casiab", "oumvlp", "fvg", "usf"])
def test_without_lists_of_people_a_linked_person_is_read_and_refused_where_the_link_leads_to_nothing(
    tmp_path: Path, layout: str
):
    described = wild.LAYOUTS[layout]
    root = wild.build(tmp_path, described, wild.VARIATIONS["a folder in it is a link"])
    for name in described.text:
        (root / name).unlink()
    outcome = wild.read(root, described)
    assert outcome.clips == described.clips, outcome
    assert outcome.unread == ()
    (tmp_path / "elsewhere").rename(tmp_path / "gone")
    assert re.match(r"ValueError: .* is a link to .*, where there is nothing", wild.read(root, described).error)


def claim_too_many_pixels(root: Path, layout: wild.Layout) -> None:
    """The first image of the folder claims 60,000x60,000 pixels."""
    path = min(path for path in (root / layout.deep).rglob("*") if path.is_file())
    content = bytearray(path.read_bytes())
    if path.suffix == ".png":
        struct.pack_into(">II", content, 16, 60_000, 60_000)
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    else:
        struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, 60_000, 60_000)
    path.write_bytes(content)


def lock(root: Path, layout: wild.Layout) -> None:
    """The folder is a zip file whose table of contents says that it is encrypted."""
    wild.VARIATIONS["a zip file made on macOS"].change(root, layout)
    (path,) = root.rglob("*.zip")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for match in re.finditer(signature, bytes(content)):
            content[match.start() + offset] |= 1
    path.write_bytes(content)


LOST = {"tumgaid": 6, "oumvlp": 1, "fvg": 1, "market1501": 4, "market1501_course": 6, "coco": 4}  # clips of the zip file
HARMED = [(layout, claim_too_many_pixels, 1) for layout in (*LOST, "mpii")]
HARMED += [(layout, lock, clips) for layout, clips in LOST.items()]


@pytest.mark.parametrize(("layout", "harm", "lost"), HARMED)
def test_what_cannot_be_decoded_takes_its_clips_alone_out_of_the_valid_ones(
    tmp_path: Path, layout: str, harm: Callable[[Path, wild.Layout], None], lost: int
):
    described = wild.LAYOUTS[layout]
    root = wild.build(tmp_path, described, wild.VARIATIONS["plain"])
    harm(root, described)
    assert wild.read(root, described) == wild.Outcome(described.clips, described.clips - lost)
