"""The silhouettes stage: from a dataset's valid clips to one store, complete or not written."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import casiab_archive
import cv2
import numpy as np
import pandas as pd
import pytest

from people import datasets, schemas
from people.datasets import casiab
from people.storage.store import Store
from people.video.silhouettes import Config
from stages.silhouettes import main, process_clip, write
from tests import wild

CONFIG = Config(method="background", size_hw=[64, 44], soft=False, pretreatment="scaled", weights="")
LAYOUT = replace(CONFIG, method="layout")
MAX_BAD_SHARE = 0.05


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return casiab_archive.write(tmp_path_factory.mktemp("seen"))


def test_every_clip_has_pictures_their_boxes_and_their_frames(clips: pd.DataFrame, tmp_path: Path):
    write(tmp_path / "store", "casiab", clips, CONFIG, MAX_BAD_SHARE, workers=1)
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
    facts = {name: store.meta[name] for name in ("dataset", "method", "size_hw", "soft", "pretreatment")}
    assert facts == {"dataset": "casiab", "method": "background", "size_hw": [64, 44], "soft": False, "pretreatment": "scaled"}
    assert store.meta["without_person"] == store.meta["not_compared"] == []
    assert set(store.meta["iou_by_condition"]) == {"nm", "bg", "cl"}
    assert 0.7 < store.meta["iou"] < 1


def test_one_worker_and_two_write_the_same_bytes(clips: pd.DataFrame, tmp_path: Path):
    for workers in (1, 2):
        write(tmp_path / f"store{workers}", "casiab", clips[:6], CONFIG, MAX_BAD_SHARE, workers=workers)
    names = sorted(path.name for path in (tmp_path / "store1").iterdir())
    assert names == ["box.bin", "clips.csv", "frame.bin", "meta.json", "quarantine.csv", "silhouette.bin"]
    for name in names:
        assert (tmp_path / "store1" / name).read_bytes() == (tmp_path / "store2" / name).read_bytes()


def test_by_mediapipe_people_are_found_and_one_worker_and_two_write_the_same_bytes(tmp_path: Path, mediapipe_models: object):
    larger = casiab_archive.write(tmp_path, size_hw=(96, 128), sequences=3)
    config = replace(CONFIG, method="mediapipe")
    for workers in (1, 2):
        write(tmp_path / f"store{workers}", "casiab", larger, config, MAX_BAD_SHARE, workers=workers)
    for path in (tmp_path / "store1").iterdir():
        assert path.read_bytes() == (tmp_path / "store2" / path.name).read_bytes()
    store = Store.open(tmp_path / "store1")
    assert store.meta["method"] == "mediapipe"
    assert store.clips["clip_id"].tolist() == larger["clip_id"].tolist()
    assert store.meta["iou"] > 0.75
    row = larger.iloc[0].to_dict()
    hard, soft = (process_clip("casiab", row, replace(config, soft=soft)).silhouettes for soft in (False, True))
    np.testing.assert_array_equal(hard.silhouette, store.clip(0, "silhouette"))
    assert len(soft.frame) == len(hard.frame)
    assert ((soft.silhouette > 40) & (soft.silhouette < 215)).mean() > ((hard.silhouette > 40) & (hard.silhouette < 215)).mean()


def test_without_mediapipes_files_the_clip_and_the_command_that_fetches_them_are_named(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"clip 001/bg-01/054 .*run python -m stages\.models fetch mediapipe"):
        write(tmp_path / "store", "casiab", clips[:2], replace(CONFIG, method="mediapipe"), MAX_BAD_SHARE, workers=1)
    assert not (tmp_path / "store").exists()


def test_a_clip_without_a_person_is_named_and_left_out(clips: pd.DataFrame, tmp_path: Path):
    empty = clips[:3].copy()
    empty["frames"] = empty["frames"].where(empty.index != empty.index[1], empty["background"])
    empty["frame_count"] = [len(list(casiab.frames(Path(row.root), row.frames))) for row in empty.itertuples()]
    write(tmp_path / "store", "casiab", empty, CONFIG, MAX_BAD_SHARE, workers=1)
    store = Store.open(tmp_path / "store")
    assert store.meta["without_person"] == [empty["clip_id"].iloc[1]]
    assert store.clips["clip_id"].tolist() == empty["clip_id"].iloc[[0, 2]].tolist()


def test_the_layouts_own_masks_are_taken_as_they_are_and_not_compared_with_themselves(clips: pd.DataFrame, tmp_path: Path):
    write(tmp_path / "store", "casiab", clips[:2], LAYOUT, MAX_BAD_SHARE, workers=1)
    store = Store.open(tmp_path / "store")
    assert store.meta["iou"] is None
    assert store.meta["iou_by_condition"] == {}
    with pytest.raises(ValueError, match=r"001/bg-01/054 .*no masks"):
        process_clip("casiab", clips.assign(masks="").iloc[0].to_dict(), LAYOUT)


def test_masks_alone_are_no_video_to_find_people_in(clips: pd.DataFrame):
    with pytest.raises(ValueError, match="set `method` to layout"):
        process_clip("casiab", clips.assign(frames=clips["masks"]).iloc[0].to_dict(), CONFIG)


def test_frames_that_came_or_went_since_validation_stop_the_stage_and_leave_no_store(clips: pd.DataFrame, tmp_path: Path):
    with pytest.raises(ValueError, match="validated with 11 frames and has 10 now"):
        write(tmp_path / "store", "casiab", clips[:1].assign(frame_count=11), CONFIG, MAX_BAD_SHARE, workers=1)
    assert not list(tmp_path.iterdir())


def test_an_index_without_clips_is_refused(clips: pd.DataFrame, tmp_path: Path):
    with pytest.raises(ValueError, match="no valid clip of casiab"):
        write(tmp_path / "store", "casiab", clips[:0], CONFIG, MAX_BAD_SHARE)


# --- masks that are not 0 and 255 --------------------------------------------------------------------------------------


def stored(clips: pd.DataFrame, folder: Path, change: Callable[[np.ndarray], np.ndarray], subject: str = "") -> pd.DataFrame:
    """A copy of the archive with the masks of the subject, or of all, stored in another way."""
    root = Path(shutil.copytree(clips["root"].iloc[0], folder / "changed"))
    for path in sorted((root / "silhouettes").glob(f"{subject}*.zip")):
        with zipfile.ZipFile(path) as archive:
            masks = {name: cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), 0) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, mask in masks.items():
                archive.writestr(name, cv2.imencode(".png", change(mask))[1].tobytes())
    return clips.assign(root=str(root))


def alpha(mask: np.ndarray) -> np.ndarray:
    return np.dstack([np.full((*mask.shape, 3), 255, np.uint8), mask])


READABLE = {
    "0 and 1": lambda mask: mask // 255,
    "0 and 100": lambda mask: mask // 255 * 100,
    "16 bits": lambda mask: mask.astype(np.uint16) * 257,
    "green": lambda mask: np.dstack([mask * 0, mask, mask * 0]),
    "blue of 1": lambda mask: np.dstack([mask // 255, mask * 0, mask * 0]),
    "alpha": alpha,
}


@pytest.mark.parametrize("change", READABLE.values(), ids=READABLE)
def test_masks_of_any_channel_depth_and_value_give_the_silhouettes_of_those_of_0_and_255(
    clips: pd.DataFrame, tmp_path: Path, change: Callable
):
    plain = process_clip("casiab", clips.iloc[0].to_dict(), LAYOUT)
    other = process_clip("casiab", stored(clips, tmp_path, change, "001").iloc[0].to_dict(), LAYOUT)
    assert plain.fault is other.fault is None
    assert len(plain.silhouettes.frame)
    for expected, array in zip(plain.silhouettes, other.silhouettes, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("layout", ["casiab", "oumvlp"])
@pytest.mark.parametrize("change", READABLE.values(), ids=READABLE)
def test_masks_that_lie_in_folders_and_are_the_clips_frames_too_are_read_alike(tmp_path: Path, layout: str, change: Callable):
    root = wild.build(tmp_path, wild.LAYOUTS[layout], wild.VARIATIONS["plain"])
    shutil.rmtree(root / "video", ignore_errors=True)
    read = datasets.find(layout).read
    plain = process_clip(layout, read(root).iloc[0].to_dict(), LAYOUT)
    for path in root.rglob("*.png"):
        path.write_bytes(cv2.imencode(".png", change(cv2.imread(str(path), 0)))[1].tobytes())
    clips = read(root)
    assert clips["frames"].tolist() == clips["masks"].tolist()
    assert schemas.check(clips, schemas.decodable(datasets.find(layout).frames))[1].empty
    other = process_clip(layout, clips.iloc[0].to_dict(), LAYOUT)
    assert plain.fault is other.fault is None
    assert len(plain.silhouettes.frame) == clips["frame_count"][0]
    for expected, array in zip(plain.silhouettes, other.silhouettes, strict=True):
        np.testing.assert_array_equal(array, expected)


FAULTS = {
    "empty": (lambda mask: mask * 0, "shows a person", "10 masks of 0 alone"),
    "full": (lambda mask: mask | 255, "shows background", "10 masks of 255 alone"),
    "inverted": (lambda mask: 255 - mask, "border are the person's", "100%"),
    "labels": (lambda mask: mask // 255 + (mask // 255 & np.arange(mask.shape[1]).astype(np.uint8)), "reach 128", "1, 2"),
    "a pixel": (lambda mask: cv2.circle(mask * 0, (9, 9), 0, 255), "sums to more than 400 for 64x48 pixels", "at most 255"),
}


@pytest.mark.parametrize(("change", "rule", "value"), FAULTS.values(), ids=FAULTS)
def test_a_clip_whose_masks_show_nobody_is_a_fault_with_rule_value_and_remedy(
    clips: pd.DataFrame, tmp_path: Path, change: Callable, rule: str, value: str
):
    silhouettes, _, fault = process_clip("casiab", stored(clips, tmp_path, change, "001").iloc[0].to_dict(), LAYOUT)
    assert not len(silhouettes.frame)
    assert fault is not None
    assert rule in fault.rule
    assert value in fault.value
    assert len(fault.remedy) > 20


@pytest.mark.parametrize("layout", ["casiab", "oumvlp"])
@pytest.mark.parametrize("name", ["empty", "full", "inverted", "labels"])
def test_masks_in_folders_that_show_nobody_are_the_same_fault(tmp_path: Path, layout: str, name: str):
    change, rule, _ = FAULTS[name]
    root = wild.build(tmp_path, wild.LAYOUTS[layout], wild.VARIATIONS["plain"])
    shutil.rmtree(root / "video", ignore_errors=True)
    for path in root.rglob("*.png"):
        path.write_bytes(cv2.imencode(".png", change(cv2.imread(str(path), 0)))[1].tobytes())
    clips = datasets.find(layout).read(root)
    silhouettes, _, fault = process_clip(layout, clips.iloc[0].to_dict(), LAYOUT)
    assert not len(silhouettes.frame)
    assert fault is not None
    assert rule in fault.rule


def test_within_max_bad_share_such_clips_are_in_quarantine(clips: pd.DataFrame, tmp_path: Path):
    changed = stored(clips, tmp_path, lambda mask: 255 - mask, subject="002")
    write(tmp_path / "store", "casiab", changed, LAYOUT, 1 / 3, workers=1)
    quarantine, store = pd.read_csv(tmp_path / "store/quarantine.csv"), Store.open(tmp_path / "store")
    assert list(quarantine.columns) == ["clip_id", "column", "rule", "value", "remedy"]
    assert quarantine["clip_id"].tolist() == [clip for clip in clips["clip_id"] if clip.startswith("002")]
    assert set(quarantine["column"]) == {"masks"}
    assert quarantine["remedy"].str.contains("invert the masks").all()
    assert store.clips["clip_id"].tolist() == [clip for clip in clips["clip_id"] if not clip.startswith("002")]
    assert store.meta["without_person"] == []


def test_beyond_max_bad_share_the_stage_fails_with_the_list_and_counts_what_validation_took_out(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    changed = stored(clips, tmp_path, lambda mask: 255 - mask, subject="002")
    for earlier, share in ((["004/nm-01/054"], "35.5%"), ([], "33.3%")):
        with pytest.raises(SystemExit) as raised:
            write(tmp_path / "more", "casiab", changed, LAYOUT, 0.3, earlier, workers=1)
        message = str(raised.value)
        assert message.startswith(f"casiab: {share} of the clips are bad")
        assert "validate.casiab.max_bad_share allows 30.0%; all are in .state/quarantine/casiab-silhouettes.csv" in message
        assert "002/bg-01/054: at most 50% of the pixels" in message
        assert "invert the masks" in message
    assert len(pd.read_csv(".state/quarantine/casiab-silhouettes.csv")) == 10
    assert not (tmp_path / "more").exists()


def test_masks_of_0_and_1_are_compared_with_those_found_and_unreadable_ones_are_listed(clips: pd.DataFrame, tmp_path: Path):
    changed = stored(clips, tmp_path, lambda mask: mask // 255, subject="001")
    plain, ones = (process_clip("casiab", rows.iloc[0].to_dict(), CONFIG).iou for rows in (clips, changed))
    np.testing.assert_array_equal(ones, plain)
    assert np.nanmean(ones) > 0.7
    inverted = stored(clips[:2], tmp_path / "inverted", lambda mask: 255 - mask)
    write(tmp_path / "store", "casiab", inverted, CONFIG, MAX_BAD_SHARE, workers=1)
    store = Store.open(tmp_path / "store")
    assert (len(store), store.meta["iou"]) == (2, None)
    assert store.meta["not_compared"] == clips["clip_id"][:2].tolist()


def test_the_stage_reads_the_limit_and_what_validation_took_out(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    block = "{method: layout, size_hw: [64, 44], soft: false, pretreatment: published, weights: ''}"
    Path("params.yaml").write_text(f"silhouettes: {{casiab: {block}}}\nvalidate: {{casiab: {{max_bad_share: 0.3}}}}\n")
    Path("data/valid/casiab").mkdir(parents=True)
    stored(clips[:2], tmp_path, lambda mask: mask * 0).to_csv("data/valid/casiab/clips.csv", index=False)
    pd.DataFrame({"clip_id": ["004/nm-01/054"]}).to_csv("data/valid/casiab/quarantine.csv", index=False)
    with pytest.raises(SystemExit, match=r"(?s)100\.0% of the clips are bad \(1 of them by validate\).* shows a person"):
        main("casiab")
