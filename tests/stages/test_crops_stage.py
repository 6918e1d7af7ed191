"""The crops stage: from a dataset's valid photos to one store, complete or not written."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from people import schemas
from people.datasets import market1501
from people.records import ATTRIBUTES
from people.storage.store import Store
from people.synth.motion import parametric
from people.synth.render import render
from people.video.crops import Config, resize
from stages.crops import write

CONFIG = Config(size_hw=[64, 32])


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The valid index of a small rendered dataset, through its CSV file, as the stage gets it."""
    folder = tmp_path_factory.mktemp("photos")
    motions = parametric.motions(3, walks=7, frames=6, frame_rate_hz=25.0, seed=1)
    many = {"subjects": {"train": 1, "validation": 1, "test": 1}, "cameras": 2, "photos_per_camera": [2, 2]}
    takes = market1501.plan(motions, **many, frames_per_sequence=6, distractors=2, junk=4, seed=1)
    market1501.write(folder / "market", takes, partial(render, size_hw=(96, 80)), jpeg_quality=92)
    good, _ = schemas.check(market1501.read(folder / "market"))
    good.to_csv(folder / "clips.csv", index=False)
    return schemas.load(folder / "clips.csv")


def test_every_photo_is_stored_in_the_indexs_order_with_all_columns_of_the_index(clips: pd.DataFrame, tmp_path: Path):
    write(tmp_path / "store", "market1501", clips, CONFIG, workers=1)
    store = Store.open(tmp_path / "store")
    assert store.meta == {"dataset": "market1501", "size_hw": [64, 32]}
    assert store.field("image").shape == (len(clips), 64, 32, 3)
    assert store.clips["length"].tolist() == [1] * len(clips)
    for name in ("clip_id", "subject_id", "split", "kind", "role", "camera", *ATTRIBUTES):
        pd.testing.assert_series_equal(store.clips[name], clips[name], check_dtype=False)
    row = clips.iloc[5]
    photo = next(market1501.frames(Path(row["root"]), row["frames"]))
    np.testing.assert_array_equal(store.clip(5, "image")[0], cv2.resize(photo, (32, 64), interpolation=cv2.INTER_AREA))


def test_one_worker_and_two_write_the_same_bytes(clips: pd.DataFrame, tmp_path: Path):
    many = pd.concat([clips] * 5, ignore_index=True)
    for workers in (1, 2):
        write(tmp_path / f"store{workers}", "market1501", many, CONFIG, workers=workers)
    names = sorted(path.name for path in (tmp_path / "store1").iterdir())
    assert names == ["clips.csv", "image.bin", "meta.json"]
    for name in names:
        assert (tmp_path / "store1" / name).read_bytes() == (tmp_path / "store2" / name).read_bytes()


def test_photos_of_the_stored_size_do_not_change_and_larger_ones_are_averaged():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 32, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resize([image, image], (64, 32)), np.stack([image, image]))
    blocks = image.reshape(32, 2, 16, 2, 3).astype(float).mean((1, 3))
    np.testing.assert_allclose(resize([image], (32, 16))[0], blocks, atol=0.51)
    assert resize([], (32, 16)).shape == (0, 32, 16, 3)


def test_a_photo_that_is_gone_since_validation_stops_the_stage_and_leaves_no_store(clips: pd.DataFrame, tmp_path: Path):
    gone = clips.assign(frames=[f"query.zip!query/gone{number}.jpg" for number in range(len(clips))])
    with pytest.raises(ValueError, match=r"clip 0001_c1s1_000001_01 .*gone0\.jpg: expected a whole image"):
        write(tmp_path / "store", "market1501", gone, CONFIG, workers=1)
    assert not list(tmp_path.iterdir())


def test_an_index_without_photos_and_a_size_without_pixels_are_refused(clips: pd.DataFrame, tmp_path: Path):
    with pytest.raises(ValueError, match="no valid photo of market1501"):
        write(tmp_path / "store", "market1501", clips[:0], CONFIG)
    with pytest.raises(ValueError, match=r"size_hw must be \[height, width\] of at least 8 px, got \(0, 64\)"):
        Config(size_hw=[0, 64])
