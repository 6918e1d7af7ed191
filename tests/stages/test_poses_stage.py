"""The poses stage: a keypoint store for a silhouette store, by a student trained without the test subjects."""

from pathlib import Path

import casiab_archive
import numpy as np
import pandas as pd
import pytest

from people.storage.store import Store
from people.video.keypoints import object_keypoint_similarity
from people.video.poses import Config
from people.video.silhouettes import Config as SilhouetteConfig
from stages import poses, silhouettes

BLOCK = {
    "teacher": "truth", "weights": "", "enlarge": 1, "widths": [8, 8], "head": [8], "frames": 60, "epochs": 1,
    "batch_size": 16, "learning_rate": 0.003, "every": 3,
}  # fmt: skip
LAYOUT = SilhouetteConfig(method="layout", size_hw=[64, 44], soft=False, pretreatment="scaled", weights="")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return casiab_archive.write(tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="module")
def pictures(clips: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("silhouettes") / "casiab"
    silhouettes.write(path, "casiab", clips, LAYOUT, 0.05, workers=1)
    return Store.open(path)


def test_the_pose_store_has_the_clips_and_frames_of_the_silhouette_store(pictures: Store, tmp_path: Path):
    poses.write(tmp_path / "store", "casiab", pictures, Config(**BLOCK), seed=1)
    store = Store.open(tmp_path / "store")
    pd.testing.assert_frame_equal(store.clips, pictures.clips)
    assert store.field("keypoints").shape == (len(pictures.field("frame")), 17, 3)
    x, y, confidence = np.moveaxis(store.field("keypoints"), 2, 0)
    assert 0 <= x.min() <= x.max() <= 44
    assert 0 <= y.min() <= y.max() <= 64
    assert 0 <= confidence.min() <= confidence.max() <= 1
    assert store.meta["silhouettes"] == pictures.digest
    assert store.meta["teacher"] == "truth"
    assert store.meta["student"]["frames"] == 60
    assert Config(**store.meta["student_settings"], weights="") == Config(**BLOCK)
    assert 0 <= store.meta["oks"] <= 1
    assert set(store.meta["oks_by_condition"]) == {"nm", "bg", "cl"}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(pictures: Store, tmp_path: Path):
    for number, seed in enumerate((1, 1, 2)):
        poses.write(tmp_path / str(number), "casiab", pictures, Config(**BLOCK), seed=seed)
    first, second, third = ((tmp_path / str(number) / "keypoints.bin").read_bytes() for number in range(3))
    assert first == second != third
    assert (tmp_path / "0/meta.json").read_bytes() == (tmp_path / "1/meta.json").read_bytes()


def test_mediapipe_teaches_what_is_true_and_one_worker_and_two_write_the_same_bytes(
    pictures: Store, tmp_path: Path, mediapipe_models: object
):
    taught = Config(**{**BLOCK, "teacher": "mediapipe", "frames": 40})
    for workers in (1, 2):
        poses.write(tmp_path / f"store{workers}", "casiab", pictures, taught, seed=1, workers=workers)
    for path in (tmp_path / "store1").iterdir():
        assert path.read_bytes() == (tmp_path / "store2" / path.name).read_bytes()
    assert Store.open(tmp_path / "store1").meta["teacher"] == "mediapipe"
    samples, labels = poses.training_samples("casiab", pictures, taught, seed=1, workers=1)
    same, true = poses.training_samples("casiab", pictures, Config(**{**BLOCK, "frames": 40}), seed=1)
    np.testing.assert_array_equal(samples, same)
    assert set(np.unique(labels[..., 2])) == {0, 2}
    assert not labels[labels[..., 2] == 0].any()
    true[..., 2] *= labels[..., 2] > 0  # what the teacher is not sure of is not labelled
    assert (true[..., 2] > 0).sum() > 12 * len(true)
    area_px = (samples >= 128).sum(axis=(1, 2)).astype(float)
    assert np.nanmean(object_keypoint_similarity(labels, true, area_px)) > 0.5


def test_only_training_subjects_are_sampled(pictures: Store):
    samples, labels = poses.training_samples("casiab", pictures, Config(**{**BLOCK, "frames": 10_000}), seed=1)
    training = pictures.clips.query("split == 'train'")
    assert len(samples) == len(labels) == training["length"].sum()
    start, length = training["start"].iloc[0], training["length"].iloc[0]
    np.testing.assert_array_equal(samples[:length], pictures.field("silhouette")[start : start + length])


def test_without_truth_and_without_weights_the_error_says_what_to_do(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    silhouettes.write(tmp_path / "unlabelled", "casiab", clips.assign(keypoints=""), LAYOUT, 0.05, workers=1)
    unlabelled = Store.open(tmp_path / "unlabelled")
    with pytest.raises(ValueError, match=r"has no true keypoints.*poses\.casiab\.teacher to keypointrcnn"):
        poses.write(tmp_path / "store", "casiab", unlabelled, Config(**BLOCK), seed=1)
    with pytest.raises(ValueError, match=r"keypointrcnn_resnet50_fpn_coco-fc266e95\.pth"):
        poses.write(tmp_path / "store", "casiab", unlabelled, Config(**{**BLOCK, "teacher": "keypointrcnn"}), seed=1)
    with pytest.raises(ValueError, match=r"pose_landmark_full-e9a5c5cb\.tflite.*python -m stages\.models fetch mediapipe"):
        poses.write(tmp_path / "store", "casiab", unlabelled, Config(**{**BLOCK, "teacher": "mediapipe"}), 1, workers=1)
    assert not (tmp_path / "store").exists()


def test_without_a_training_subject_the_stage_stops(clips: pd.DataFrame, tmp_path: Path):
    silhouettes.write(tmp_path / "tested", "casiab", clips[clips["split"] == "test"], LAYOUT, 0.05, workers=1)
    with pytest.raises(ValueError, match="no clip of a training subject"):
        poses.write(tmp_path / "store", "casiab", Store.open(tmp_path / "tested"), Config(**BLOCK), seed=1)
