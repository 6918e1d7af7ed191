"""Retrieval at the size of Market-1501: our evaluation against a baseline of distance matrix and sorted rows.

python -m benchmarks.ranking [--queries 3368] [--gallery 15913] [--rerank]

Both run in turn in one process, on generated embeddings around each person's centre, with distractors. The baseline is
‖a‖² + ‖b‖² - 2ab as one product, then one argsort of every row, which any ranking by sorting needs at least; ours ends with
mean average precision and CMC, with the photos of a query's person and camera removed (official) and with the query alone
removed (paper). The limit is twice the baseline. Memory is what either run adds to a process of its own.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from people.evaluation import reranking, retrieval
from people.evaluation.retrieval import Photos

CHANNELS, PEOPLE, CAMERAS, DISTRACTOR_SHARE, MAX_RANK = 128, 750, 6, 2798 / 15913, 50
MAX_RATIO = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queries", type=int, default=3368)
    parser.add_argument("--gallery", type=int, default=15_913)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rerank", action="store_true", help="also time k-reciprocal re-ranking of all these photos")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    size = arguments.queries, arguments.gallery, arguments.device
    runs: dict[str, Callable[..., str]] = {"baseline": baseline, "official": official, "paper": paper}
    times_s: dict[str, list[float]] = {name: [] for name in runs}
    data, summaries = generate(*size), {}
    for _ in range(arguments.rounds + 1):  # the first round warms up
        for name, run in runs.items():
            start = time.perf_counter()
            summaries[name] = run(*data)
            times_s[name].append(time.perf_counter() - start)
    queries, photos, device = size
    print(f"{queries:,} queries x {photos:,} photos x {CHANNELS}, {torch.get_num_threads()} threads, {device}")
    for name, times in times_s.items():
        ratios = [ours / base for ours, base in zip(times[1:], times_s["baseline"][1:], strict=True)]
        ratio = statistics.median(ratios)
        verdict = f"  {ratio:.2f} x baseline, limit {MAX_RATIO} {'kept' if ratio <= MAX_RATIO else 'EXCEEDED'}"
        verdict = "" if name == "baseline" else verdict
        memory = added_gib(name, size)
        print(f"{name:9} {statistics.median(times[1:]):6.2f} s  {memory:5.2f} GiB added at most{verdict}  {summaries[name]}")
    if arguments.rerank:
        start = time.perf_counter()
        print(
            f"re-ranked {rerank(*data)}, {time.perf_counter() - start:.1f} s, {added_gib('rerank', size):.2f} GiB added at most"
        )


def baseline(query: torch.Tensor, gallery: torch.Tensor, query_photos: Photos, gallery_photos: Photos) -> str:
    """The least that a ranking by sorting does: distance matrix and argsort; answers its shape."""
    norms = query.square().sum(1)[:, None] + gallery.square().sum(1)[None, :]
    distance = torch.addmm(norms, query, gallery.T, alpha=-2)
    order = distance.argsort(dim=1) if distance.is_cuda else np.argsort(distance.numpy(), axis=1)
    return f"{tuple(order.shape)}"


def official(query: torch.Tensor, gallery: torch.Tensor, query_photos: Photos, gallery_photos: Photos) -> str:
    return summary(retrieval.rank(query, gallery, query_photos, gallery_photos, same_camera_removed=True))


def paper(query: torch.Tensor, gallery: torch.Tensor, query_photos: Photos, gallery_photos: Photos) -> str:
    return summary(retrieval.rank(query, gallery, query_photos, gallery_photos, same_camera_removed=False))


def rerank(query: torch.Tensor, gallery: torch.Tensor, query_photos: Photos, gallery_photos: Photos) -> str:
    rows = np.arange(len(query) + len(gallery))
    config = reranking.Config(k1=20, k2=6, share=0.3, reading="published")
    blocks = reranking.blocks(torch.cat([query, gallery]), rows[: len(query)], rows[len(query) :], config)
    return summary(retrieval.rank_blocks(blocks, query_photos, gallery_photos, same_camera_removed=True))


def summary(ranks: retrieval.MatchRanks) -> str:
    curve = ranks.cumulative_match(MAX_RANK)
    return f"mAP {np.nanmean(ranks.average_precision()):.4f}, rank-1 {curve[0]:.4f}, rank-10 {curve[9]:.4f}"


def generate(queries: int, photos: int, device: str) -> tuple[torch.Tensor, torch.Tensor, Photos, Photos]:
    """Embeddings around a centre for each person; those of distractors have no common centre."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(PEOPLE, CHANNELS))
    query_person, gallery_person = draw.integers(PEOPLE, size=queries), draw.integers(PEOPLE, size=photos)
    gallery_person[draw.random(photos) < DISTRACTOR_SHARE] = -1
    is_person = gallery_person[:, None] >= 0
    gallery_centres = np.where(is_person, centres[gallery_person], 1.2 * draw.normal(size=(photos, CHANNELS)))
    query = centres[query_person] + 1.5 * draw.normal(size=(queries, CHANNELS))
    gallery = gallery_centres + 1.5 * draw.normal(size=gallery_centres.shape)
    query_tensor, gallery_tensor = (torch.from_numpy(values.astype(np.float32)).to(device) for values in (query, gallery))
    camera, photo_id = draw.integers(1, CAMERAS + 1, queries + photos), np.arange(queries + photos)
    all_photos = Photos(np.concatenate([query_person, gallery_person]), camera, photo_id)
    return query_tensor, gallery_tensor, all_photos.select(slice(queries)), all_photos.select(slice(queries, None))


def added_gib(name: str, size: tuple[int, int, str]) -> float:
    """The memory that one run adds to a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_added_gib, (name, size))


def _added_gib(name: str, size: tuple[int, int, str]) -> float:
    data, run = generate(*size), {"baseline": baseline, "official": official, "paper": paper, "rerank": rerank}[name]
    before_gib = peak_gib()
    run(*data)
    return peak_gib() - before_gib


def peak_gib() -> float:
    """The most memory that this process has had; the kernel's other figure is inherited from the parent."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20


if __name__ == "__main__":
    main()
