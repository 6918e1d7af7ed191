"""GaitNet's network against naive twins: prefixes, cross reconstruction, padding, batch mates, sizes."""

from typing import Any

import pytest
import torch
from foreground_stores import FRAMES, HEIGHT, MODEL_BLOCK, TASKS, WIDTH
from torch import Tensor, nn

from people.systems.gaitnet import model


def network(tasks: tuple[str, ...] = TASKS, subjects: int = 4, **changes: Any) -> model.Network:
    torch.manual_seed(0)
    spec = {"size_hw": [HEIGHT, WIDTH], "subjects": [str(number) for number in range(subjects)], "tasks": list(tasks)}
    return model.Network(model.Config(**{**MODEL_BLOCK, **changes}), spec)


def trained(**changes: Any) -> model.Network:
    """One of large weights, so that what differs is seen, whose BatchNorm has seen pictures; in evaluation mode."""
    made = network(**changes).train()
    for layer in made.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=0.3)
    for seed in range(3):
        made(batch(seed=seed))
    return made.eval()


def batch(count: int = 8, frames: int = FRAMES, seed: int = 0, lengths: list[int] | None = None) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    pictures = torch.rand(count, frames, 3, HEIGHT, WIDTH, generator=draw)
    length = torch.tensor(lengths or [frames] * count)
    for clip, end in enumerate(length.tolist()):
        pictures[clip, end:] = 0
    return {"foreground": pictures, "length": length, "appearance_frame": length // 2}


@torch.no_grad()
def test_every_prefix_is_what_the_lstm_says_of_these_frames_alone():
    made, inputs = trained(), batch()
    outputs = made(inputs)
    for count in range(1, FRAMES + 1):
        prefix = {
            "foreground": inputs["foreground"][:, :count], "length": torch.full((8,), count),
            "appearance_frame": torch.zeros(8, dtype=torch.long),
        }  # fmt: skip
        alone = made(prefix)
        torch.testing.assert_close(outputs["prefixes"][:, count - 1], alone["prefixes"][:, -1], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(outputs["logits"][:, count - 1], alone["logits"][:, -1], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_cross_reconstruction_with_the_same_frame_twice_is_plain_reconstruction():
    made, inputs = trained(), batch()
    whole = model.Frames.of(torch.full((8,), FRAMES), FRAMES)
    codes = made.codes(inputs["foreground"], whole)
    assert made.decoder is not None
    plain = made.decoder(codes.flatten(0, 1)).unflatten(0, (8, FRAMES))
    for frame in range(FRAMES):
        crossed = made({**inputs, "appearance_frame": torch.full((8,), frame)})["pictures"]
        torch.testing.assert_close(crossed[:, frame], plain[:, frame], rtol=1e-5, atol=1e-6)
        if frame:
            assert (crossed[:, 0] - plain[:, 0]).abs().max() > 1e-4  # from another frame the appearance is another


@pytest.mark.parametrize("tasks", [TASKS, ("identity",), ("cross_reconstruction",), ("gait_similarity",)])
@torch.no_grad()
def test_padding_and_batch_mates_change_no_output(tasks: tuple[str, ...]):
    made, lengths = trained(tasks=tasks), [FRAMES, 1, 4, 7, FRAMES, 2, 3, 5]
    inputs = batch(lengths=lengths)
    outputs = made(inputs)
    for clip, length in enumerate(lengths):
        one = {name: values[clip : clip + 1] for name, values in inputs.items()}
        alone = made({**one, "foreground": one["foreground"][:, :length]})
        for name, values in alone.items():
            together = outputs[name][clip] if name == "embedding" else outputs[name][clip, :length]
            torch.testing.assert_close(together, values[0], rtol=1e-5, atol=1e-6)
            if name != "embedding":
                assert not outputs[name][clip, length:].any(), f"{name} behind the end"


def test_statistics_of_batch_norm_are_those_of_true_frames_alone():
    made, twin = network().train(), network().train()
    inputs = batch(lengths=[3] * 8)
    made(inputs)
    twin({**inputs, "foreground": inputs["foreground"][:, :3]})
    for (name, one), (_, other) in zip(made.named_buffers(), twin.named_buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_the_appearance_comes_from_one_frame_or_from_the_mean_of_the_clip():
    by_frame, by_clip = trained(), trained(appearance_of="clip")
    inputs = batch(frames=4)
    with torch.no_grad():
        frame, other = (by_frame({**inputs, "appearance_frame": torch.full((8,), t)})["pictures"] for t in (0, 3))
        clip, same = (by_clip({**inputs, "appearance_frame": torch.full((8,), t)})["pictures"] for t in (0, 3))
    assert (frame - other).abs().max() > 1e-4
    torch.testing.assert_close(clip, same)


def test_noise_on_gait_codes_is_there_in_training_alone():
    made, inputs = trained(gait_noise=1.0), batch()
    with torch.no_grad():
        torch.testing.assert_close(made(inputs)["pictures"], made(inputs)["pictures"])
        made.train()
        assert (made(inputs)["pictures"] - made(inputs)["pictures"]).abs().max() > 1e-3


def test_without_a_split_the_lstm_reads_the_whole_code_and_nothing_can_be_made_of_two():
    plain = network(tasks=("identity",), split=False)
    assert plain.lstm is not None
    assert plain.lstm.layers[0].input_size == MODEL_BLOCK["appearance"] + MODEL_BLOCK["gait"]
    with pytest.raises(ValueError, match=r"gaitnet\.model\.split must be true where pictures are made from two codes"):
        network(split=False)


def test_the_paper_s_feature_is_the_running_mean_itself():
    made = trained(feature="mean")
    inputs = batch()
    with torch.no_grad():
        outputs = made(inputs)
        assert made.lstm is not None
        hidden = made.lstm(outputs["gait"])
        means = torch.stack([hidden[:, : count + 1].mean(1) for count in range(FRAMES)], dim=1)
    torch.testing.assert_close(outputs["prefixes"], means, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(outputs["embedding"], nn.functional.normalize(means[:, -1], dim=1), rtol=1e-5, atol=1e-6)


def test_at_the_published_size_for_fvg_the_layers_are_the_published_ones():
    spec = {"size_hw": [64, 32], "subjects": [str(number) for number in range(136)], "tasks": list(TASKS)}
    block = {"channels": [64, 128, 256, 512], "appearance": 288, "gait": 32, "lstm": [128, 128, 128]}
    made = model.Network(model.Config(**{**MODEL_BLOCK, **block}), spec)
    sizes = {name: tuple(values.shape) for name, values in made.named_parameters()}
    assert sizes["encoder.code.0.weight"] == (320, 4096)
    assert sizes["decoder.map.0.weight"] == (4096, 320)
    assert sizes["lstm.layers.0.weight_ih_l0"] == (512, 32)
    assert sizes["classifier.logits.0.weight"] == (136, 128)
    maps = made.encoder.maps(torch.zeros(1, 3, 64, 32))
    assert maps.shape == (1, 512, 4, 2)
    assert sum(isinstance(layer, nn.Conv2d) for layer in made.encoder.modules()) == 8


def test_no_picture_is_made_where_no_frame_of_the_appearance_is_named_and_the_rest_is_the_same():
    made, inputs = trained(), batch()
    with torch.no_grad():
        whole = made(inputs)
        served = made({name: inputs[name] for name in ("foreground", "length")})
    assert set(whole) - set(served) == {"pictures"}
    for name, values in served.items():
        torch.testing.assert_close(values, whole[name], rtol=0, atol=0)


def test_a_clip_without_a_frame_is_refused():
    with pytest.raises(ValueError, match="a clip must have at least one frame"):
        trained()(batch(frames=0, lengths=[0] * 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": []}, "channels must be positive numbers"),
        ({"lstm": [0]}, "lstm must be positive numbers"),
        ({"feature": "sum"}, "feature must be one of normalised, mean"),
        ({"appearance_of": "video"}, "appearance_of must be one of frame, clip"),
        ({"gait_noise": -1.0}, "gait_noise must be at least 0"),
        ({"channels": [4, 4, 4, 4]}, "size_hw must be multiples of 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        network(**changes)
