"""People in pictures, as the stage `predict` answers for them: drawn, and in COCO's format."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scene_stores import drawn_people, picture, write_checkpoint

from people import checkpoints
from people.datasets import coco
from people.storage.serialization import serialize
from stages import predict


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of a network with random weights, that finds people where there are none."""
    return write_checkpoint(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    rng = np.random.default_rng(3)
    image = picture(drawn_people(rng, (64, 96)), (64, 96), rng)
    cv2.imwrite(str(folder / "colour.jpg"), image)
    cv2.imwrite(str(folder / "grey.png"), image[..., 0])
    cv2.imwrite(str(folder / "below" / "alpha.png"), np.dstack([image, np.full((64, 96), 128, np.uint8)]))
    cv2.imwrite(str(folder / "one_pixel.png"), image[:1, :1])
    return folder


def test_every_picture_is_drawn_and_its_people_are_listed_as_coco_lists_them(checkpoint: Path, pictures: Path, tmp_path: Path):
    found = predict.found_pictures([pictures])
    prediction = predict.predict(checkpoint, found, tmp_path / "out", least_score=0.0)
    assert prediction.unread == []
    assert [Path(image["file_name"]).name for image in prediction.images] == [path.name for path in found]
    drawn = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert drawn == [f"{number:06d}-{path.stem}.png" for number, path in enumerate(found, start=1)]
    for path, image in zip(drawn, prediction.images, strict=True):
        assert cv2.imread(str(tmp_path / "out" / path)).shape == (image["height"], image["width"], 3)
    content = coco.load(tmp_path / "out" / "people.json")
    assert content == json.loads((tmp_path / "out" / "people.json").read_text())
    assert len(content["annotations"]) > 0
    assert len({person["id"] for person in content["annotations"]}) == len(content["annotations"])
    for person in content["annotations"]:
        assert len(person["keypoints"]) == 3 * 17
        assert set(person["keypoints"][2::3]) <= {0, 2}
        assert sum(person["activities"].values()) == pytest.approx(1, abs=1e-3)


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_answered(
    checkpoint: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (pictures / "broken.jpg").write_bytes((pictures / "colour.jpg").read_bytes()[:200])
    out = tmp_path / "out"
    arguments = ["predict", "multipose", str(pictures), "--checkpoint", str(checkpoint), "--out", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        predict.main()
    assert ended.value.code == 1
    assert "broken.jpg" in capsys.readouterr().err
    assert len(json.loads((out / "people.json").read_text())["images"]) == 4


def test_no_picture_and_no_checkpoint_are_errors_that_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="no picture"):
        predict.found_pictures([tmp_path])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="run dvc repro evaluate@multipose"):
        predict.selected("multipose")


@pytest.mark.parametrize("head", ["backbone", "detector", "keypoints", "residual", "activity"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_whose_outputs_are_not_finite_is_an_error_and_not_a_picture_without_people(
    checkpoint: Path, pictures: Path, tmp_path: Path, head: str, value: float
):
    entries = checkpoints.read(checkpoint)
    for name, weights in entries["network"].items():
        if name.startswith(f"{head}.") and weights.is_floating_point():
            weights.fill_(value)
    (tmp_path / "diverged.pt").write_bytes(serialize(entries))
    with pytest.raises(ValueError, match=r"multipose: expected finite numbers, but .*'\w+' has NaN or infinity; .* train with"):
        predict.predict(tmp_path / "diverged.pt", [pictures / "colour.jpg"], tmp_path / "out", least_score=0.0)
    assert not (tmp_path / "out/people.json").exists()
