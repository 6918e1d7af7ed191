"""Small videos whose headers claim millions of frames or a huge picture: read by what decodes, or put into quarantine."""

import json
import struct
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from stages import ingest, validate
from tests import wild

BLOCK = """
seed: 4
archives: {{}}
datasets:
  casiab: {{source: official, archive: {archive}}}
validate:
  casiab: {{min_frames: 2, max_bad_share: 0.9}}
"""
HUGE_PX = 60_000


def at(content: bytes, chunk: bytes, offset: int, *values: int) -> bytes:
    """An AVI with other numbers at an offset of the first chunk of this name."""
    changed = bytearray(content)
    struct.pack_into(f"<{len(values)}I", changed, content.index(chunk) + 8 + offset, *values)
    return bytes(changed)


def frames(content: bytes, count: int) -> bytes:
    return at(at(content, b"avih", 16, count), b"strh", 32, count)


def picture(content: bytes, height: int, width: int) -> bytes:
    return at(at(content, b"avih", 32, width, height), b"strf", 4, width, height)


def uncompressed(content: bytes) -> bytes:
    return at(at(picture(content, HUGE_PX, HUGE_PX), b"strf", 16, 0), b"strh", 4, int.from_bytes(b"DIB ", "little"))


FILMS = {
    "001-nm-01-090": lambda film: frames(film, 1_000_000),
    "001-nm-05-090": lambda film: frames(film, 2**32 - 1),
    "002-nm-01-090": lambda film: frames(film, 90_000),
    "002-nm-05-090": lambda film: picture(film, HUGE_PX, HUGE_PX),
    "003-nm-01-090": uncompressed,
    "003-nm-05-090": lambda film: at(at(film, b"strh", 36, 2**32 - 1), b"avih", 28, 2**32 - 1),  # its largest frame, in bytes
}


def test_ingest_and_validation_do_not_wait_or_allocate_for_what_a_video_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = wild.build(tmp_path / "disk", wild.LAYOUTS["casiab"], wild.VARIATIONS["plain"])
    for name, change in FILMS.items():
        path = root / f"video/{name}.avi"
        path.write_bytes(change(path.read_bytes()))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("PEOPLE_STATE", raising=False)
    Path("params.yaml").write_text(BLOCK.format(archive=json.dumps(str(root))))
    before_bytes, started_s = psutil.Process().memory_info().rss, time.process_time()
    ingest.main("casiab")
    validate.main("casiab")
    assert time.process_time() - started_s < 20
    assert psutil.Process().memory_info().rss - before_bytes < 300e6
    clips, bad = (pd.read_csv(f"data/valid/casiab/{name}.csv").set_index("clip_id") for name in ("clips", "quarantine"))
    assert clips["frame_count"].to_dict() == dict.fromkeys(("002/nm-01/090", "002/nm-05/090", "003/nm-05/090"), 3)
    assert clips[["height_px", "width_px"]].drop_duplicates().to_numpy().tolist() == [[24, 32]]
    assert "its header claims 1,000,000 frames, and a clip has at most 100,000" in str(bad.loc["001/nm-01/090", "value"])
    assert "its header claims 4,294,967,295 frames" in str(bad.loc["001/nm-05/090", "value"])
    assert set(bad.index) == {"001/nm-01/090", "001/nm-05/090", "003/nm-01/090"}
    assert bad["rule"].notna().all()
