"""Retrieval at the size of Market-1501: our evaluation against the bare distance matrix and the sorting of its rows.

python -m benchmarks.ranking [--queries 3368] [--gallery 15913] [--rerank]

Both run in turn in one process, on generated embeddings of people around a point of their own, with distractors. The bare
work is ‖a‖² + ‖b‖² - 2ab as one product, then one argsort of every row, which any ranking by sorting needs at least; ours ends
with mean average precision and CMC, with the photos of a query's person and camera removed (official) and with the query
alone removed (paper). The bar is twice the bare work. Memory is what either run adds to the process (each once by itself).
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

CHANNELS, PEOPLE, CAMERAS, DISTRACTOR_SHARE, RANKS = 128, 750, 6, 2798 / 15913, 50
BAR = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queries", type=int, default=3368)
    parser.add_argument("--gallery", type=int, default=15_913)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rerank", action="store_true", help="also time k-reciprocal re-ranking of all these photos")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    size = asked.queries, asked.gallery, asked.device
    runs: dict[str, Callable[..., str]] = {"bare": bare, "official": official, "paper": paper}
    taken_s: dict[str, list[float]] = {name: [] for name in runs}
    data, said = people(*size), {}
    for _ in range(asked.rounds + 1):  # the first round warms up
        for name, run in runs.items():
            start = time.perf_counter()
            said[name] = run(*data)
            taken_s[name].append(time.perf_counter() - start)
    print(
        f"{asked.queries:,} queries x {asked.gallery:,} photos x {CHANNELS}, {torch.get_num_threads()} threads, {asked.device}"
    )
    for name, times in taken_s.items():
        ratios = [one / other for one, other in zip(times[1:], taken_s["bare"][1:], strict=True)]
        ratio = statistics.median(ratios)
        verdict = "" if name == "bare" else f"  {ratio:.2f} x bare, bar {BAR} {'kept' if ratio <= BAR else 'MISSED'}"
        memory = added_gib(name, size)
        print(f"{name:9} {statistics.median(times[1:]):6.2f} s  {memory:5.2f} GiB added at most{verdict}  {said[name]}")
    if asked.rerank:
        start = time.perf_counter()
        print(
            f"re-ranked {rerank(*data)}, {time.perf_counter() - start:.1f} s, {added_gib('rerank', size):.2f} GiB added at most"
        )


def bare(query: torch.Tensor, gallery: torch.Tensor, asked: Photos, known: Photos) -> str:
    """The least that a ranking by sorting does."""
    norms = query.square().sum(1)[:, None] + gallery.square().sum(1)[None, :]
    distance = torch.addmm(norms, query, gallery.T, alpha=-2)
    order = distance.argsort(dim=1) if distance.is_cuda else np.argsort(distance.numpy(), axis=1)
    return f"{tuple(order.shape)}"


def official(query: torch.Tensor, gallery: torch.Tensor, asked: Photos, known: Photos) -> str:
    return judged(retrieval.rank(query, gallery, asked, known, same_camera_removed=True))


def paper(query: torch.Tensor, gallery: torch.Tensor, asked: Photos, known: Photos) -> str:
    return judged(retrieval.rank(query, gallery, asked, known, same_camera_removed=False))


def rerank(query: torch.Tensor, gallery: torch.Tensor, asked: Photos, known: Photos) -> str:
    rows = np.arange(len(query) + len(gallery))
    blocks = reranking.blocks(
        torch.cat([query, gallery]), rows[: len(query)], rows[len(query) :], reranking.Config(k1=20, k2=6, share=0.3)
    )
    return judged(retrieval.rank_blocks(blocks, asked, known, same_camera_removed=True))


def judged(found: retrieval.Ranked) -> str:
    curve = found.cumulative(RANKS)
    return f"mAP {np.nanmean(found.precision()):.4f}, rank-1 {curve[0]:.4f}, rank-10 {curve[9]:.4f}"


def people(queries: int, photos: int, device: str) -> tuple[torch.Tensor, torch.Tensor, Photos, Photos]:
    """Embeddings around a point for each person; distractors are around none."""
    draw = np.random.default_rng(0)
    points = draw.normal(size=(PEOPLE, CHANNELS))
    asked, known = draw.integers(PEOPLE, size=queries), draw.integers(PEOPLE, size=photos)
    known[draw.random(photos) < DISTRACTOR_SHARE] = -1
    centre = np.where(known[:, None] >= 0, points[known], 1.2 * draw.normal(size=(photos, CHANNELS)))
    parts = (points[asked] + 1.5 * draw.normal(size=(queries, CHANNELS)), centre + 1.5 * draw.normal(size=centre.shape))
    first, second = (torch.from_numpy(part.astype(np.float32)).to(device) for part in parts)
    camera, number = draw.integers(1, CAMERAS + 1, queries + photos), np.arange(queries + photos)
    everybody = Photos(np.concatenate([asked, known]), camera, number)
    return first, second, everybody.at(slice(queries)), everybody.at(slice(queries, None))


def added_gib(name: str, size: tuple[int, int, str]) -> float:
    """The memory that one run adds to a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_added_gib, (name, size))


def _added_gib(name: str, size: tuple[int, int, str]) -> float:
    data, run = people(*size), {"bare": bare, "official": official, "paper": paper, "rerank": rerank}[name]
    before_gib = peak_gib()
    run(*data)
    return peak_gib() - before_gib


def peak_gib() -> float:
    """The most memory that this process has had; the kernel's other figure is inherited from the parent."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20


if __name__ == "__main__":
    main()
