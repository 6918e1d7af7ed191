import inspect
from pathlib import Path

import pytest

from people.synth import motion
from people.synth.motion import WalkRequest

REQUEST = WalkRequest(
    Path("people/synth/motion/parametric"),
    people=2,
    walks=3,
    frames=10,
    frame_rate_hz=30.0,
    seed=4,
    variation={"between_subjects": 1.0, "within_subject": 1.0},
)


def test_sources_are_the_subpackages_of_motion():
    assert motion.names() == ["cmumocap", "kinectgait", "official", "parametric"]


@pytest.mark.parametrize("name", [name for name in motion.names() if motion.find(name).walks])
def test_every_source_provides_walks_of_a_request(name):
    assert list(inspect.signature(motion.find(name).walks).parameters) == ["request"]


def test_the_official_source_has_no_motion():
    assert motion.find("official").walks is None


def test_the_parametric_source_generates_the_requested_walks():
    walks = motion.find("parametric").walks(REQUEST)
    assert [walk.walk_id for walk in walks] == [f"w00{person}/{walk}" for person in (1, 2) for walk in (1, 2, 3)]
    assert {len(walk) for walk in walks} == {REQUEST.frames}
    assert {walk.frame_rate_hz for walk in walks} == {REQUEST.frame_rate_hz}


@pytest.mark.parametrize("name", ["cmumocap", "kinectgait"])
def test_sources_of_recorded_walks_read_the_requested_archive(name, tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        motion.find(name).walks(REQUEST._replace(archive=tmp_path / "nowhere"))


def test_the_parametric_source_needs_to_know_the_variation():
    with pytest.raises(ValueError, match=r"needs variation: .between_subjects"):
        motion.find("parametric").walks(REQUEST._replace(variation=None))


def test_an_unknown_source_is_refused_with_the_names_of_the_known_ones():
    with pytest.raises(ValueError, match="'treadmill' is not one of cmumocap, kinectgait, official, parametric"):
        motion.find("treadmill")
