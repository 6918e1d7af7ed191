"""Flow is displacement: known displacements are found, and coding and resizing keep what they mean."""

import cv2
import numpy as np
import pytest

from people.video.flow import FLOW_SCALE, METHODS, Config, clip_flow, decode, encode

SIZE = (60, 80)


def texture(height: int, width: int, seed: int = 0, grain_px: float = 2.0) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32), (0, 0), grain_px)
    return ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def shifted(x_px: int, y_px: int, size_hw: tuple[int, int] = SIZE, grain_px: float = 2.0) -> np.ndarray:
    """A window on a texture that has moved by (x, y) to the right and down."""
    height, width = size_hw
    wall = texture(height + 40, width + 40, grain_px=grain_px)
    return rgb(wall[20 - y_px : 20 - y_px + height, 20 - x_px : 20 - x_px + width])


def inner(stored: np.ndarray) -> np.ndarray:
    """Mean flow (x, y) away from the border, where the texture leaves the image."""
    return decode(stored)[:, :, 10:-10, 10:-10].mean(axis=(0, 2, 3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift_px", [(1, 0), (0, 1), (2, -1), (-3, 2)])
def test_a_texture_that_moves_gives_its_displacement_x_first_then_y(method: str, shift_px: tuple[int, int]) -> None:
    made = clip_flow([shifted(0, 0), shifted(*shift_px)], Config(method, SIZE, SIZE))
    assert made.flow.shape == (1, 2, *SIZE)
    np.testing.assert_allclose(inner(made.flow), shift_px, atol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_every_flow_is_between_a_frame_and_the_next(method: str) -> None:
    x_px = [0, 1, 3, 2]
    made = clip_flow((shifted(x, 0) for x in x_px), Config(method, SIZE, SIZE))
    assert len(made.flow) == 3
    assert len(made.grey) == 4
    measured = [inner(flow[None])[0] for flow in made.flow]
    np.testing.assert_allclose(measured, np.diff(x_px), atol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_vectors_are_in_pixels_of_the_stored_size_whatever_size_they_were_computed_at(method: str) -> None:
    frames = [shifted(0, 0, (120, 160), 4), shifted(4, -2, (120, 160), 4)]
    for compute_size_hw in [(120, 160), (60, 80), (60, 160)]:
        made = clip_flow(frames, Config(method, compute_size_hw, (60, 40)))  # half the height, a quarter of the width
        assert made.flow.shape == (1, 2, 60, 40)
        assert made.grey.shape == (2, 60, 40)
        np.testing.assert_allclose(inner(made.flow), (1, -1), atol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_mirrored_frames_give_the_mirrored_flow_with_x_negated(method: str) -> None:
    frames = [shifted(0, 0), shifted(2, 1)]
    config = Config(method, SIZE, SIZE)
    plain = decode(clip_flow(frames, config).flow)
    mirrored = decode(clip_flow([frame[:, ::-1].copy() for frame in frames], config).flow)[..., ::-1]
    difference = np.abs(mirrored * np.array([-1, 1])[:, None, None] - plain)[..., 10:-10, 10:-10]
    assert difference.mean() < 0.03


@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_threads_changes_no_bit_and_is_left_as_it_was(method: str) -> None:
    frames, before = [shifted(0, 0), shifted(2, 1), shifted(4, 1)], cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            results.append(clip_flow(frames, Config(method, SIZE, SIZE)).flow)
            assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)
    np.testing.assert_array_equal(*results)


def test_flow_is_stored_as_hundredths_of_a_pixel_rounded_to_nearest() -> None:
    stored, saturated = encode(np.float32([0, 1, -1, 0.004, 0.006, -0.006, 12.345678, 327.67]))
    assert stored.dtype == np.int16
    assert stored.tolist() == [0, 100, -100, 0, 1, -1, 1235, 32767]
    assert saturated == 0
    flow = np.random.default_rng(0).uniform(-300, 300, 1000).astype(np.float32)
    assert np.abs(decode(encode(flow)[0]) - flow).max() <= 0.5 / FLOW_SCALE + 1e-4


def test_flow_beyond_the_range_is_held_at_the_limit_on_both_sides_and_counted() -> None:
    stored, saturated = encode(np.float32([327.67, 327.7, 1e6, -327.67, -327.7, -1e6]))
    assert stored.tolist() == [32767, 32767, 32767, -32767, -32767, -32767]
    assert saturated == 4
    with pytest.raises(ValueError, match="not finite"):
        encode(np.float32([np.nan]))


def test_a_clip_of_fewer_than_two_frames_or_of_two_sizes_is_refused() -> None:
    config = Config("farneback", SIZE, SIZE)
    for frames in ([], [shifted(0, 0)]):
        with pytest.raises(ValueError, match=f"at least 2 frames, got {len(frames)}"):
            clip_flow(frames, config)
    with pytest.raises(ValueError, match=r"frame 0 has \(60, 80, 3\), frame 2 has \(61, 80, 3\)"):
        clip_flow([shifted(0, 0), shifted(1, 0), shifted(2, 0, (61, 80))], config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "spynet"}, "'spynet' is not one of farneback, dis"),
        ({"size_hw": (0, 80)}, r"size_hw .* got \[0, 80\]"),
        ({"compute_size_hw": (8, 80)}, r"at least 16 px; got \[8, 80\]"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**{"method": "dis", "compute_size_hw": (60, 80), "size_hw": (60, 80)} | change)


def test_sizes_may_come_as_the_lists_of_a_parameter_file() -> None:
    assert Config(method="dis", compute_size_hw=[60, 80], size_hw=[60, 80]) == Config("dis", SIZE, SIZE)
