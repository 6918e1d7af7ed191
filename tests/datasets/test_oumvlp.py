"""OU-MVLP: the official release of silhouettes alone, its split, and rendered people with videos beside them."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from people.datasets import oumvlp
from people.synth.motion import parametric
from people.synth.render import render

IMAGE = cv2.imencode(".png", np.full((2, 3), 255, np.uint8))[1].tobytes()


def release(root: Path, *clips: tuple[str, str], frames: int = 2) -> Path:
    """An official release with these clips: (view and sequence, subject)."""
    for view_and_sequence, subject in clips:
        folder = root / f"Silhouette_{view_and_sequence}" / subject
        folder.mkdir(parents=True)
        for number in range(1, frames + 1):
            (folder / f"{number:04d}.png").write_bytes(IMAGE)
    return root


def test_the_official_split_has_5153_people_to_train_and_5154_to_test_and_no_person_twice():
    train, validation, test = (set(oumvlp.OFFICIAL[split]) for split in ("train", "validation", "test"))
    assert (len(train) + len(validation), len(validation), len(test)) == (5153, 515, 5154)
    assert len(train | validation | test) == 10307
    assert {"00001", "09273"} <= train
    assert {"09277", "10305"} <= validation
    assert {"00002", "10306", "10307"} <= test


def test_a_release_of_silhouettes_alone_is_read_and_its_frames_are_the_silhouettes(tmp_path: Path):
    root = release(tmp_path, ("000-00", "00001"), ("270-01", "00001"), ("000-01", "00002"))
    clips = oumvlp.read(root).set_index("clip_id")
    assert list(clips.index) == ["00001/00/000", "00001/01/270", "00002/01/000"]
    assert clips["split"].tolist() == ["train", "train", "test"]
    assert clips["view_deg"].tolist() == [0.0, 270.0, 0.0]
    assert clips["condition"].tolist() == ["nm", "nm", "nm"]
    clip = clips.loc["00001/01/270"]
    assert clip["frames"] == clip["masks"] == "Silhouette_270-01/00001"
    assert (clip["frame_count"], clip["height_px"], clip["width_px"], clip["background"]) == (2, 2, 3, "")
    assert next(oumvlp.frames(root, clip["frames"])).shape == (2, 3, 3)
    assert next(oumvlp.masks(root, clip["masks"])).tolist() == [[255] * 3] * 2


def test_what_is_written_is_read_again_with_videos_and_empty_scenes(tmp_path: Path):
    motions = parametric.motions(3, walks=2, frames=4, frame_rate_hz=25.0, seed=1)
    subjects = {"train": 1, "validation": 1, "test": 1}
    takes = oumvlp.plan(motions, subjects=subjects, frames_per_sequence=4, views_deg=[15, 180], seed=1)
    draw = partial(render, size_hw=(36, 48))
    oumvlp.write(tmp_path / "mvlp", takes, draw, jpeg_quality=95)
    clips = oumvlp.read(tmp_path / "mvlp").set_index("clip_id")
    assert list(clips.index) == [f"{take.subject_id}/{take.sequence}/{take.view_deg:03.0f}" for take in takes]
    assert clips["split"].tolist() == ["train"] * 4 + ["validation"] * 4 + ["test"] * 4
    clip, truth = clips.iloc[1], list(draw(takes[1]))
    assert clip["frames"] == "Video_180-00/00001.avi"
    assert len(list(oumvlp.frames(tmp_path / "mvlp", clip["frames"]))) == 4
    masks = np.stack(list(oumvlp.masks(tmp_path / "mvlp", clip["masks"])))
    np.testing.assert_array_equal(masks > 0, [rendered.mask for rendered in truth])
    keypoints = oumvlp.keypoints(tmp_path / "mvlp", clip["keypoints"])
    np.testing.assert_array_equal(keypoints, [rendered.keypoints_px for rendered in truth])
    assert len(list(oumvlp.background(tmp_path / "mvlp", clip["background"]))) == 8


def test_gallery_and_probes_by_hand_and_a_subject_whose_gallery_sequence_is_missing():
    rows = [("00002/00/000", "00002", "00"), ("00002/01/090", "00002", "01"), ("00004/00/000", "00004", "00")]
    clips = pd.DataFrame(rows, columns=["clip_id", "subject_id", "sequence"]).assign(split="test")
    probe_sets = oumvlp.protocol(clips, "test")
    assert [(probe_set.group, probe_set.name) for probe_set in probe_sets] == [("single_view", "00"), ("cross_view", "00")]
    assert {(probe_set.gallery, probe_set.probes) for probe_set in probe_sets} == {(("00002/01/090",), ("00002/00/000",))}
    assert oumvlp.left_out(clips, "test")["single_view/00"] == ("00004/00/000",)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (("100-00", "00001"), r"Silhouette_100-00/00001: oumvlp has no view 100, its views are 000, 015"),
        (("000-02", "00001"), r"oumvlp has no sequence 02, it has 00, 01"),
        (("000", "00001"), r"Silhouette_000: expected a name such as Silhouette_000-00"),
        (("000-00", "1"), r"Silhouette_000-00/1: expected a subject's number of five digits"),
    ],
)
def test_what_does_not_belong_into_the_layout_is_named(tmp_path: Path, clip: tuple[str, str], message: str):
    with pytest.raises(ValueError, match=message):
        oumvlp.read(release(tmp_path, clip))


def test_an_empty_folder_is_refused_and_a_clip_without_a_frame_has_its_row(tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected OU-MVLP at .*: silhouettes Silhouette_000-00/00001/\*\.png, found none"):
        oumvlp.read(tmp_path)
    release(tmp_path, ("000-00", "00001"), frames=0)
    assert oumvlp.read(tmp_path)["frame_count"].tolist() == [0]
