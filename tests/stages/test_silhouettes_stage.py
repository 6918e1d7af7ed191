"""The silhouettes stage: from a dataset's valid clips to one store, complete or not written."""

from pathlib import Path

import casiab_archive
import numpy as np
import pandas as pd
import pytest

from people.datasets import casiab
from people.storage.store import Store
from people.video.silhouettes import Config
from stages.silhouettes import process_clip, write

CONFIG = Config(method="background", size_hw=[64, 44], soft=False, weights="")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return casiab_archive.write(tmp_path_factory.mktemp("seen"))


def test_every_clip_has_pictures_their_boxes_and_their_frames(clips: pd.DataFrame, tmp_path: Path):
    write(tmp_path / "store", "casiab", clips, CONFIG, workers=1)
    store = Store.open(tmp_path / "store")
    assert store.clips["clip_id"].tolist() == clips["clip_id"].tolist()
    assert store.clips["subject_id"].tolist() == clips["subject_id"].tolist()
    assert store.field("silhouette").shape[1:] == (64, 44)
    for index, count in enumerate(clips["frame_count"]):
        frame = store.clip(index, "frame")[:, 0]
        assert (np.diff(frame) > 0).all()
        assert 0 <= frame[0] <= frame[-1] < count
    x0, y0, x1, y1 = store.field("box").T
    assert (x0 < x1).all()
    assert (y0 < y1).all()
    facts = {name: store.meta[name] for name in ("dataset", "method", "size_hw", "soft", "without_person")}
    assert facts == {"dataset": "casiab", "method": "background", "size_hw": [64, 44], "soft": False, "without_person": []}
    assert set(store.meta["iou_by_condition"]) == {"nm", "bg", "cl"}
    assert 0.7 < store.meta["iou"] < 1


def test_one_worker_and_two_write_the_same_bytes(clips: pd.DataFrame, tmp_path: Path):
    for workers in (1, 2):
        write(tmp_path / f"store{workers}", "casiab", clips[:6], CONFIG, workers=workers)
    names = sorted(path.name for path in (tmp_path / "store1").iterdir())
    assert names == ["box.bin", "clips.csv", "frame.bin", "meta.json", "silhouette.bin"]
    for name in names:
        assert (tmp_path / "store1" / name).read_bytes() == (tmp_path / "store2" / name).read_bytes()


def test_a_clip_without_a_person_is_named_and_left_out(clips: pd.DataFrame, tmp_path: Path):
    empty = clips[:3].copy()
    empty["frames"] = empty["frames"].where(empty.index != empty.index[1], empty["background"])
    empty["frame_count"] = [len(list(casiab.frames(Path(row.root), row.frames))) for row in empty.itertuples()]
    write(tmp_path / "store", "casiab", empty, CONFIG, workers=1)
    store = Store.open(tmp_path / "store")
    assert store.meta["without_person"] == [empty["clip_id"].iloc[1]]
    assert store.clips["clip_id"].tolist() == empty["clip_id"].iloc[[0, 2]].tolist()


def test_the_layouts_own_masks_are_taken_as_they_are_and_not_compared_with_themselves(clips: pd.DataFrame, tmp_path: Path):
    layout = Config(method="layout", size_hw=[64, 44], soft=False, weights="")
    write(tmp_path / "store", "casiab", clips[:2], layout, workers=1)
    store = Store.open(tmp_path / "store")
    assert store.meta["iou"] is None
    assert store.meta["iou_by_condition"] == {}
    with pytest.raises(ValueError, match=r"001/bg-01/054 .*no masks"):
        process_clip("casiab", clips.assign(masks="").iloc[0].to_dict(), layout)


def test_masks_alone_are_no_video_to_find_people_in(clips: pd.DataFrame):
    with pytest.raises(ValueError, match="set `method` to layout"):
        process_clip("casiab", clips.assign(frames=clips["masks"]).iloc[0].to_dict(), CONFIG)


def test_frames_that_came_or_went_since_validation_stop_the_stage_and_leave_no_store(clips: pd.DataFrame, tmp_path: Path):
    with pytest.raises(ValueError, match="validated with 11 frames and has 10 now"):
        write(tmp_path / "store", "casiab", clips[:1].assign(frame_count=11), CONFIG, workers=1)
    assert not list(tmp_path.iterdir())


def test_an_index_without_clips_is_refused(clips: pd.DataFrame, tmp_path: Path):
    with pytest.raises(ValueError, match="no valid clip of casiab"):
        write(tmp_path / "store", "casiab", clips[:0], CONFIG)
