"""The foregrounds stage: from a silhouette store and the dataset's frames to a store of the same clips in colour."""

import shutil
from pathlib import Path

import casiab_archive
import numpy as np
import pandas as pd
import pytest

from people.datasets import casiab
from people.storage.store import Field, Store, StoreWriter
from people.video.foregrounds import Config, foreground, region
from people.video.silhouettes import Config as SilhouetteConfig
from stages import silhouettes
from stages.foregrounds import main, write

CONFIG = Config(size_hw=[48, 24])
BY_LAYOUT = SilhouetteConfig(method="layout", size_hw=[64, 44], soft=False, pretreatment="scaled", weights="")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return casiab_archive.write(tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="module")
def found(clips: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("silhouettes") / "casiab"
    silhouettes.write(path, "casiab", clips[:8], BY_LAYOUT, 0.05, workers=1)
    return Store.open(path)


def copied(store: Store, path: Path, kept: slice = slice(None), meta: dict | None = None, **columns: object) -> Store:
    """A silhouette store with some frames of every clip, and other facts or columns."""
    fields = {"silhouette": Field("uint8", (64, 44)), "box": Field("float32", (4,)), "frame": Field("int32", (1,))}
    with StoreWriter(path, fields, store.meta | (meta or {})) as writer:
        for index, row in enumerate(store.clips.drop(columns=["start", "length"]).to_dict("records")):
            writer.append({**row, **columns}, {name: store.clip(index, name)[kept] for name in fields})
    return Store.open(path)


def test_the_store_has_the_clips_and_frames_of_the_silhouettes_and_what_the_frames_show_there(found: Store, tmp_path: Path):
    write(tmp_path / "store", "casiab", found, CONFIG, workers=1)
    store = Store.open(tmp_path / "store")
    pd.testing.assert_frame_equal(store.clips, found.clips)
    np.testing.assert_array_equal(store.field("frame"), found.field("frame"))
    facts = {"dataset": "casiab", "size_hw": [48, 24], "method": "layout", "soft": False, "silhouettes": found.digest}
    facts |= {"silhouettes_iou": None, "pretreatment": "scaled", "silhouettes_size_hw": [64, 44]}
    assert store.meta == facts
    x0, y0, x1, y1 = store.field("box").T
    np.testing.assert_array_equal(np.stack([y0, y1]), found.field("box").T[[1, 3]])
    np.testing.assert_allclose((x1 - x0) / (y1 - y0), 24 / 48, rtol=1e-5)
    row = store.clips.iloc[3]
    frames, numbers = list(casiab.frames(Path(row["root"]), row["frames"])), found.clip(3, "frame")[:, 0]
    for index, number in enumerate(numbers):
        box = found.clip(3, "box")[index]
        expected = foreground(frames[number], found.clip(3, "silhouette")[index], box, region(box, (48, 24)), (48, 24))
        np.testing.assert_array_equal(store.clip(3, "foreground")[index], expected.picture)
        np.testing.assert_array_equal(store.clip(3, "mask")[index], expected.mask)
    assert 0.05 < (store.field("foreground").max(axis=-1) > 0).mean() < 0.9


def test_keypoints_are_the_layout_s_in_the_pictures_pixels(found: Store, tmp_path: Path):
    write(tmp_path / "store", "casiab", found, CONFIG, workers=1)
    store = Store.open(tmp_path / "store")
    row, (x0, y0, x1, y1) = store.clips.iloc[3], store.clip(3, "box")[0]
    true = casiab.keypoints(Path(row["root"]), row["keypoints"])[store.clip(3, "frame")[0, 0]]
    seen = store.clip(3, "keypoints")[0]
    shown = seen[:, 2] > 0
    assert shown.sum() > 8
    expected = (true[shown, :2] - (x0, y0)) / (x1 - x0, y1 - y0) * (24, 48)
    np.testing.assert_allclose(seen[shown, :2], expected, rtol=1e-4, atol=1e-3)
    write(tmp_path / "none", "casiab", copied(found, tmp_path / "without", keypoints=""), CONFIG, workers=1)
    assert not Store.open(tmp_path / "none").field("keypoints").any()


def test_one_worker_and_two_write_the_same_bytes(found: Store, tmp_path: Path):
    for workers in (1, 2):
        write(tmp_path / f"store{workers}", "casiab", found, CONFIG, workers=workers)
    names = sorted(path.name for path in (tmp_path / "store1").iterdir())
    assert names == ["box.bin", "clips.csv", "foreground.bin", "frame.bin", "keypoints.bin", "mask.bin", "meta.json"]
    for name in names:
        assert (tmp_path / "store1" / name).read_bytes() == (tmp_path / "store2" / name).read_bytes()


def test_frames_without_a_silhouette_are_left_out_and_the_others_keep_their_pictures(found: Store, tmp_path: Path):
    fewer = copied(found, tmp_path / "fewer", slice(1, None, 3))
    for name, store in {"whole": found, "some": fewer}.items():
        write(tmp_path / name, "casiab", store, CONFIG, workers=1)
    whole, some = Store.open(tmp_path / "whole"), Store.open(tmp_path / "some")
    for index in range(len(found)):
        np.testing.assert_array_equal(some.clip(index, "foreground"), whole.clip(index, "foreground")[1::3])
        np.testing.assert_array_equal(some.clip(index, "frame"), found.clip(index, "frame")[1::3])


def test_where_the_frames_are_the_silhouettes_the_person_is_white(clips: pd.DataFrame, tmp_path: Path):
    alone = clips[:2].assign(frames=clips["masks"])
    silhouettes.write(tmp_path / "silhouettes", "casiab", alone, BY_LAYOUT, 0.05, workers=1)
    own = Store.open(tmp_path / "silhouettes")
    write(tmp_path / "store", "casiab", own, Config(size_hw=[64, 32]), workers=1)
    pictures = Store.open(tmp_path / "store").field("foreground")
    assert not np.ptp(pictures, axis=-1).any()
    # frame times mask: where both are a half, their product is a quarter
    white, person = pictures[..., 0] > 63, own.field("silhouette")[:, :, 6:38] > 127
    assert (white & person).sum() / (white | person).sum() > 0.9


def test_the_store_says_whether_the_masks_were_soft(found: Store, tmp_path: Path):
    write(tmp_path / "store", "casiab", copied(found, tmp_path / "soft", meta={"soft": True}), CONFIG, workers=1)
    assert Store.open(tmp_path / "store").meta["soft"] is True


def test_silhouettes_of_another_dataset_are_refused(found: Store, tmp_path: Path):
    with pytest.raises(ValueError, match=r"silhouettes of casiab, expected those of oumvlp; run dvc repro silhouettes@oumvlp"):
        write(tmp_path / "store", "oumvlp", found, CONFIG, workers=1)
    assert not list(tmp_path.iterdir())


def test_frames_that_came_or_went_since_the_silhouettes_stop_the_stage_and_leave_no_store(found: Store, tmp_path: Path):
    other = copied(found, tmp_path / "other", meta={"method": "background"}, frame_count=12)
    with pytest.raises(
        ValueError, match=r"clip 001/bg-01/054 .*were found in 12 frames and it has 10 now; .* silhouettes@casi"
    ):
        write(tmp_path / "store", "casiab", other, CONFIG, workers=1)
    gone = copied(found, tmp_path / "gone", frames="video/gone.avi")
    with pytest.raises(ValueError, match=r"clip 001/bg-01/054 .*gone\.avi is not a file"):
        write(tmp_path / "store", "casiab", gone, CONFIG, workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone", "other"]


def test_masks_of_the_layout_that_do_not_lie_on_its_frames_are_refused(found: Store, tmp_path: Path):
    more = copied(found, tmp_path / "more", frame_count=11)
    with pytest.raises(ValueError, match=r"has 10 masks of it and 11 frames: .* choose another silhouettes\.casiab\.method"):
        write(tmp_path / "store", "casiab", more, CONFIG, workers=1)
    larger = copied(found, tmp_path / "larger", height_px=96)
    with pytest.raises(ValueError, match=r"masks of it are \(48, 64\) px and its frames \(96, 64\): expected one size"):
        write(tmp_path / "store", "casiab", larger, CONFIG, workers=1)


def test_the_stage_reads_its_block_and_the_datasets_silhouettes(found: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("foregrounds: {casiab: {size_hw: [32, 16]}}\n")
    with pytest.raises(ValueError, match=r"data/silhouettes/casiab/meta\.json not found"):
        main("casiab")
    Path("data/silhouettes").mkdir(parents=True)
    shutil.copytree(found.path, "data/silhouettes/casiab")
    main("casiab")
    assert Store.open("data/foregrounds/casiab").field("foreground").shape[1:] == (32, 16, 3)
