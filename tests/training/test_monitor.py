"""What validation accumulates: outputs and targets, of equal or of different shapes, reduced where they are large."""

from typing import Any

import torch

from people.nn.inference import count, joined
from people.training.monitor import Concatenated, Monitor


def batches() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Heat maps of 4x4 and boxes of 0 to 2 people for five samples in two batches."""
    maps = torch.arange(5 * 16.0, requires_grad=True).view(5, 4, 4)
    boxes = [torch.full((index % 3, 4), float(index)) for index in range(5)]
    split = [slice(0, 3), slice(3, 5)]
    return [
        ({"map": maps[part]}, {"image": maps[part], "boxes": boxes[part], "subject": torch.arange(5)[part]}) for part in split
    ]


def seen(outputs: dict[str, Any], targets: dict[str, Any]) -> Any:
    return {"score": 0.0, "errors": {"outputs": outputs, "targets": targets}}


def test_outputs_and_named_targets_of_all_batches_stand_end_to_end_without_a_graph():
    monitor = Concatenated(seen, ("subject", "boxes"))
    assert isinstance(monitor, Monitor)
    for outputs, batch in batches():
        monitor.add(outputs, batch)
    kept: Any = monitor.result()["errors"]
    assert kept["outputs"]["map"].shape == (5, 4, 4)
    assert not kept["outputs"]["map"].requires_grad
    assert set(kept["targets"]) == {"subject", "boxes"}
    assert kept["targets"]["subject"].tolist() == [0, 1, 2, 3, 4]
    assert [tuple(boxes.shape) for boxes in kept["targets"]["boxes"]] == [(0, 4), (1, 4), (2, 4), (0, 4), (1, 4)]


def test_a_reduction_keeps_less_than_the_outputs():
    def peaks(outputs: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
        rows = outputs["map"].flatten(1)
        return {"peak": rows.argmax(1), "points": [row[row > 70] for row in rows]}

    monitor = Concatenated(seen, ("subject",), reduce=peaks)
    for outputs, batch in batches():
        monitor.add(outputs, batch)
    kept: Any = monitor.result()["errors"]["outputs"]
    assert kept["peak"].tolist() == [15] * 5
    assert [len(points) for points in kept["points"]] == [0, 0, 0, 0, 9]


def test_the_rows_of_other_processes_are_gathered_once_for_outputs_and_once_for_targets():
    monitor, calls = Concatenated(seen, ("subject",)), []
    monitor.add(*batches()[0])

    def doubled(share: dict[str, Any]) -> dict[str, Any]:
        calls.append(set(share))
        return joined([share, share])

    kept: Any = monitor.result(doubled)["errors"]
    assert calls == [{"map"}, {"subject"}]
    assert count(kept["outputs"]) == count(kept["targets"]) == 6
