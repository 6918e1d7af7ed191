"""Frames of some clips of a store on a device: those that are asked for, wherever the clips lie in the store."""

import numpy as np
import pytest
import torch

from people.nn import device_frames
from people.nn.device_frames import NO_FRAME, DeviceFrames, frame_bytes

STARTS, LENGTHS = np.array([2, 7, 10]), np.array([3, 1, 4])
FIELD = np.arange(15 * 2 * 3).astype(np.int16).reshape(15, 2, 3)


@pytest.mark.parametrize("copied_at_once", [1, 3 * frame_bytes(FIELD), 2**20])
def test_frames_are_found_by_their_rows_in_the_store(copied_at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_frames, "COPY_BYTES", copied_at_once)
    frames = DeviceFrames(FIELD, STARTS, LENGTHS, torch.device("cpu"))
    rows = np.array([[13, 2, 7], [4, 10, 13]])
    taken = frames.take(rows)
    assert taken.dtype == torch.int16
    np.testing.assert_array_equal(taken.numpy(), FIELD[rows])


def test_a_frame_that_is_not_there_is_zeros():
    taken = DeviceFrames(FIELD, STARTS, LENGTHS, torch.device("cpu")).take(np.array([NO_FRAME, 11]))
    assert not taken[0].any()
    np.testing.assert_array_equal(taken[1].numpy(), FIELD[11])


def test_only_the_frames_of_the_clips_are_copied():
    values = DeviceFrames(FIELD, STARTS, LENGTHS, torch.device("cpu")).values
    assert values.nbytes == (LENGTHS.sum() + 1) * frame_bytes(FIELD)  # and the frame of zeros
    values.fill_(7)
    assert FIELD[2, 0, 1] == 13
