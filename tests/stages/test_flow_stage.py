"""The flow stage: from a dataset's valid clips to one store, complete or not written."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from people.storage.store import Store
from people.video.flow import Config
from stages.flow import write

CONFIG = Config("farneback", (30, 40), (30, 40))
SEQUENCES = ("n01", "n02", "b01")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two subjects of TUM-GAID, three clips each: a bright bar walks three pixels per frame before a textured wall."""
    wall = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 120, (60, 80, 3)).astype(np.float32), (0, 0), 2)
    for subject in ("p001", "p002"):
        for number, sequence in enumerate(SEQUENCES):
            folder = tmp_path / "raw" / "image" / subject / sequence
            folder.mkdir(parents=True)
            for frame in range(12 + number):
                image = wall.copy()
                image[15:50, 10 + 3 * frame : 22 + 3 * frame] += 100
                assert cv2.imwrite(str(folder / f"{frame + 1:04d}.jpg"), np.clip(image, 0, 255).astype(np.uint8))
    return tmp_path / "raw"


def index(root: Path) -> pd.DataFrame:
    rows = [
        {
            "dataset": "tumgaid",
            "clip_id": f"{subject}/{sequence}",
            "subject_id": subject,
            "split": "train",
            "sequence": sequence,
            "condition": sequence[0],
            "session": 0,
            "view_deg": 90.0,
            "gender": None,
            "age_years": np.nan,
            "frames": f"image/{subject}/{sequence}",
            "frame_count": 12 + number,
            "frame_rate_hz": 30.0,
            "height_px": 60,
            "width_px": 80,
            "root": str(root),
        }
        for subject in ("p001", "p002")
        for number, sequence in enumerate(SEQUENCES)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def project(tmp_path: Path, archive: Path, root: Path) -> Iterator[Path]:
    """A folder in which the stage can be run by its command."""
    (tmp_path / "params.yaml").write_text(
        "flow:\n  tumgaid: {method: farneback, compute_size_hw: [30, 40], size_hw: [30, 40]}\n", encoding="utf-8"
    )
    (tmp_path / "data/valid/tumgaid").mkdir(parents=True)
    index(Path("raw")).to_csv(tmp_path / "data/valid/tumgaid/clips.csv", index=False)
    with contextlib.chdir(tmp_path):
        yield tmp_path


def stage(root: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = ("PEOPLE_PROGRESS", "TQDM_DISABLE")  # who runs the tests may have set them
    environment = {key: value for key, value in os.environ.items() if key not in own} | environment
    path = (
        f"import sys; sys.path.insert(0, {str(root)!r}); sys.argv = ['flow', 'tumgaid']; from stages.flow import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", path], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_every_clip_has_one_flow_map_less_than_frames_and_a_box_for_each(tmp_path: Path, archive: Path) -> None:
    write(tmp_path / "flow", "tumgaid", index(archive), CONFIG, workers=1)
    store = Store.open(tmp_path / "flow")
    assert store.clips["length"].tolist() == [11, 12, 13] * 2
    assert store.clips["clip_id"].tolist() == index(archive)["clip_id"].tolist()
    assert store.field("flow").shape == (72, 2, 30, 40)
    assert store.field("box").shape == (72, 4)
    assert store.meta["flow_scale"] == 100
    assert store.meta["saturated_values"] == 0
    x0, _, x1, _ = store.clip(2, "box")[-1]
    assert abs((x0 + x1) / 2 - (16 + 3 * 13) / 2) < 2  # the bar's middle in the last frame, at half the size
    bar = store.clip(2, "flow")[4, 0, 10:22, 12:16]
    assert abs(float(bar.mean()) / 100 - 1.5) < 0.4


def test_one_worker_and_two_write_the_same_bytes(tmp_path: Path, archive: Path) -> None:
    for workers in (1, 2):
        write(tmp_path / f"flow{workers}", "tumgaid", index(archive), CONFIG, workers=workers)
    names = sorted(path.name for path in (tmp_path / "flow1").iterdir())
    assert names == ["box.bin", "clips.csv", "flow.bin", "meta.json"]
    for name in names:
        assert (tmp_path / "flow1" / name).read_bytes() == (tmp_path / "flow2" / name).read_bytes()


def test_a_damaged_frame_stops_the_stage_naming_it_and_leaves_no_store(tmp_path: Path, archive: Path) -> None:
    damaged = archive / "image" / "p002" / "n01" / "0004.jpg"
    damaged.write_bytes(damaged.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"clip p002/n01 .*0004\.jpg"):
        write(tmp_path / "flow", "tumgaid", index(archive), CONFIG, workers=1)
    assert not list(tmp_path.glob("flow*"))


def test_frames_that_came_or_went_since_validation_stop_the_stage(tmp_path: Path, archive: Path) -> None:
    (archive / "image" / "p001" / "n02" / "0013.jpg").unlink()
    with pytest.raises(ValueError, match=r"p001/n02 .*validated with 13 frames and has 12 now"):
        write(tmp_path / "flow", "tumgaid", index(archive), CONFIG, workers=1)


def test_an_index_without_clips_is_refused(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(ValueError, match="no valid clip of tumgaid"):
        write(tmp_path / "flow", "tumgaid", index(archive)[:0], CONFIG)


def test_the_command_writes_the_store_and_reports_what_it_did(project: Path, root: Path) -> None:
    done = stage(root, project, PEOPLE_PROGRESS="1")
    assert done.returncode == 0, done.stderr
    assert "data/flow/tumgaid: 6 clips, 72 flow maps of 40x30" in done.stdout
    assert "6/6" in done.stderr


def test_the_progress_bar_is_not_drawn_where_nobody_reads_it(project: Path, root: Path) -> None:
    done = stage(root, project)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(Store.open(project / "data/flow/tumgaid")) == 6


def test_a_disk_too_small_for_the_flow_is_refused_with_the_room_it_needs(project: Path, root: Path) -> None:
    disk = project / "data/flow"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        done = stage(root, project)
        assert done.returncode == 1
        assert "no room for data/flow/tumgaid: 346,752 bytes needed" in done.stderr
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
