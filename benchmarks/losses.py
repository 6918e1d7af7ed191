"""Seconds of the batch-all triplet loss, forward and backward: ours against the way of the field's public code.

python -m benchmarks.losses [--batch 8x8] [--strips 64] [--channels 128] [--threads 2]

The plain one takes distances from products of matrices in float32, ||a||^2 + ||b||^2 - 2ab, and every triplet at once. Both get
the same features; how far the distances of each are from float64 is printed for features with an offset, as embeddings have.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from people.nn import losses

MARGIN = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", default="8x8", help="people x samples of each")
    parser.add_argument("--strips", type=int, default=64)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--offset", type=float, default=3.0, help="of the features' mean, in their deviations")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--times", type=int, default=31)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    people, each = map(int, asked.batch.split("x"))
    draw = torch.Generator().manual_seed(0)
    embedding = torch.randn(people * each, asked.strips, asked.channels, generator=draw) + asked.offset
    identity = torch.arange(people).repeat_interleave(each)
    ways = {"plain": plain_batch_all, "ours": losses.batch_all_triplet}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(asked.times + 2):
        for name, loss in ways.items():
            spent = step(loss, embedding, identity)
            if number >= 2:
                seconds[name].append(spent)
    exact = torch.cdist(*[embedding.transpose(0, 1).double()] * 2)
    errors = {
        "plain": plain_distances(embedding.transpose(0, 1)),
        "ours": losses._strip_distances(embedding),
    }
    plain = statistics.median(seconds["plain"])
    for name, spent in seconds.items():
        median, error = statistics.median(spent), (errors[name] - exact).abs().max()
        print(f"{name:6} {median * 1e3:7.2f} ms, {median / plain:.2f} of plain; distances wrong by at most {error:.1e}")


def step(loss: Callable[[Tensor, Tensor, float], Tensor], embedding: Tensor, identity: Tensor) -> float:
    """Seconds of one forward and backward pass."""
    leaf = embedding.clone().requires_grad_()
    started = time.perf_counter()
    loss(leaf, identity, MARGIN).backward()
    return time.perf_counter() - started


def plain_distances(strips: Tensor) -> Tensor:
    """(strip, sample, sample), from products of matrices in float32."""
    squares = strips.square().sum(2)
    squared = squares[:, :, None] + squares[:, None] - 2 * strips @ strips.mT
    return squared.relu().sqrt()


def plain_batch_all(embedding: Tensor, identity: Tensor, margin: float) -> Tensor:
    """All triplets as one tensor, for batches in which everybody has as many samples; an anchor is a positive of itself."""
    distance, same = plain_distances(embedding.transpose(0, 1)), identity[:, None] == identity
    strips, samples = distance.shape[:2]
    positive = distance[:, same].view(strips, samples, -1, 1)
    negative = distance[:, ~same].view(strips, samples, 1, -1)
    hinge = (margin + positive - negative).relu().flatten(1)
    return (hinge.sum(1) / (hinge > 0).sum(1).clamp(min=1)).mean()


if __name__ == "__main__":
    main()
