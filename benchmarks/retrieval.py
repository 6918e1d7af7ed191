"""Evaluation at the size of OU-MVLP: what a comparison of all probes with all gallery clips costs in time and memory.

python -m benchmarks.retrieval [--clips 288000] [--probes 2048]

Generated features of 64 strips and 256 channels: half of the clips are the gallery, the other half would be probes.
`--probes` of them are ranked as in the protocol (one view as gallery at a time, ranks and average precision); the time of all
is extrapolated from the pairs. Features are stored in half precision, as 288,000 x 64 x 256 in single would be 19 GB; blocks
are computed in single.
"""

import argparse
import resource
import time

import numpy as np
import torch

from people.evaluation import crossview
from people.evaluation.crossview import ViewedClips
from people.nn import distances

STRIPS, CHANNELS, VIEWS = 64, 256, 14


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=288_000)
    parser.add_argument("--probes", type=int, default=2 * distances.PROBE_BLOCK)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    half = arguments.clips // 2
    gallery = generate(half, half, 0, arguments.device)
    probe = generate(min(arguments.probes, half), half, 1, arguments.device)
    before_gib = resident_gib()
    start = time.perf_counter()
    ranks = crossview.single_view_gallery(probe, gallery)
    elapsed_s = time.perf_counter() - start
    pairs, all_pairs = len(probe.subject) * half, half * half
    rank_1 = ranks.weighted_mean(ranks.hits_within(1))(np.ones(len(ranks.subject)))
    print(
        f"{arguments.clips:,} clips of {STRIPS} x {CHANNELS}: "
        f"gallery {half:,}, {gallery.embedding.nbytes / 2**30:.1f} GiB in half"
    )
    print(f"{len(probe.subject):,} probes x {half:,} gallery clips: {elapsed_s:.1f} s, {1e9 * elapsed_s / pairs:.1f} ns a pair")
    print(
        f"extrapolated by pairs to {half:,} probes: {elapsed_s * all_pairs / pairs / 3600:.2f} h (rank-1 {100 * rank_1:.1f} %)"
    )
    print(f"peak memory {resident_gib():.2f} GiB, of it {before_gib:.2f} GiB before the comparison")
    if gallery.embedding.is_cuda:
        print(f"peak memory on the GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


def generate(clips: int, total: int, noise_seed: int, device: str) -> ViewedClips:
    """The first of `total` clips of people who are each seen from every view: embeddings around each person's centre."""
    number = np.arange(clips)
    subject, view = number % (total // VIEWS + 1), number // (total // VIEWS + 1)
    embedding = torch.empty(clips, STRIPS, CHANNELS, dtype=torch.float16, device=device)
    noise = torch.Generator(device).manual_seed(noise_seed)
    for rows in torch.arange(clips).split(4096):
        for row, person in zip(rows.tolist(), subject[rows.numpy()].tolist(), strict=True):
            generator = torch.Generator(device).manual_seed(person)
            embedding[row] = torch.randn(1, CHANNELS, generator=generator, device=device).half()
        embedding[rows] += 3 * torch.randn(len(rows), STRIPS, CHANNELS, generator=noise, device=device).half()
    return ViewedClips(embedding, subject, 15.0 * view)


def resident_gib() -> float:
    """The most memory that the process has had at any time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
