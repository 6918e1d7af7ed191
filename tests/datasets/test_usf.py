"""The half cycles of USF HumanID: the published tensors, and damaged files."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.distance import cdist

from people.datasets import usf


@pytest.fixture
def folder(real_data: Path) -> Path:
    return real_data / "usf-silhouettes"


def written(path: Path, **changes: np.ndarray) -> Path:
    """A probe set of three half cycles: all background but one pixel."""
    background = np.ones((4, 3, 2, 3), np.uint8)
    background[1, 2, 0, 1] = 0
    savemat(path, {"fea3D": background, "gnd": np.array([[1], [2], [0]]), **changes})
    return path.parent


def test_a_zero_is_foreground_and_lands_at_its_half_cycle_frame_row_and_column(tmp_path: Path):
    read = usf.read(written(tmp_path / "PrbB.mat"), "B")
    assert read.silhouettes.shape == (3, 2, 4, 3)
    assert np.argwhere(read.silhouettes).tolist() == [[1, 0, 1, 2]]
    assert read.silhouettes.max() == 255
    assert read.subject.tolist() == [1, 2, usf.UNKNOWN]


def test_the_published_gallery_and_probe_a_show_the_same_71_people_in_731_and_727_half_cycles(folder: Path):
    gallery, probe = usf.read(folder, usf.GALLERY), usf.read(folder, "A")
    assert gallery.silhouettes.shape == (731, 10, 32, 22)
    assert probe.silhouettes.shape == (727, 10, 32, 22)
    assert set(gallery.subject) == set(probe.subject) == set(range(1, 72))
    assert 0.15 < (gallery.silhouettes > 0).mean() < 0.6


def test_the_nearest_averaged_silhouette_identifies_57_percent_of_probe_a(folder: Path):
    gallery, probe = usf.read(folder, usf.GALLERY), usf.read(folder, "A")
    averaged = [cycles.silhouettes.astype(float).mean(1).reshape(len(cycles.subject), -1) for cycles in (gallery, probe)]
    nearest = cdist(averaged[1], averaged[0]).argmin(1)
    assert (gallery.subject[nearest] == probe.subject).mean() == pytest.approx(0.57, abs=0.005)


def test_a_part_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"PrbC\.mat"):
        usf.read(tmp_path, "C")
    with pytest.raises(ValueError, match="probe set of A"):
        usf.read(tmp_path, "Z")


def test_a_truncated_file_and_a_file_of_something_else_are_refused(tmp_path: Path):
    path = tmp_path / "PrbB.mat"
    written(path)
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(ValueError, match="fetch it again"):
        usf.read(tmp_path, "B")
    savemat(path, {"fea2D": np.zeros(3)})
    with pytest.raises(ValueError, match="lacks fea3D"):
        usf.read(tmp_path, "B")
    written(path, gnd=np.array([[1], [2]]))
    with pytest.raises(ValueError, match="2 subjects"):
        usf.read(tmp_path, "B")
