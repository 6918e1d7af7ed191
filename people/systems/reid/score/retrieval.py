"""Re-identification judged: every query against the gallery, under each protocol of the dataset, beside colour histograms."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from people import distances
from people.config import Block
from people.evaluation import bootstrap, plots, reranking, retrieval
from people.evaluation.bootstrap import record
from people.evaluation.results import Results
from people.evaluation.retrieval import Ranked
from people.protocols import PhotoSet
from people.systems.reid import paper
from people.systems.reid.paper import BASELINE, OURS, PAPER, PUBLISHED
from people.systems.reid.score.predictions import Predictions

MEASURES: dict[str, Callable[[Ranked], Float[np.ndarray, " query"]]] = {
    "map": Ranked.precision,
    "rank_1": lambda found: found.within(1),
    "rank_5": lambda found: found.within(5),
    "rank_10": lambda found: found.within(10),
}
COLUMNS = {"map": "mAP", "rank_1": "rank-1", "rank_5": "rank-5", "rank_10": "rank-10"}
RANKS = 50
QUERIES_SHOWN, PHOTOS_SHOWN = 6, 10
GREEN, RED, WHITE = (40, 160, 60), (210, 50, 40), (255, 255, 255)


class Judged(NamedTuple):
    """One protocol: the rows of its queries and gallery, and what was found by our embedding, re-ranked, and by colours."""

    photo_set: PhotoSet
    query: Int[np.ndarray, " query"]
    gallery: Int[np.ndarray, " gallery"]
    ours: Ranked
    colours: Ranked
    reranked: Ranked | None

    @property
    def methods(self) -> dict[str, Ranked]:
        """Everything that was found, by the method's name in tables."""
        others = {} if self.reranked is None else {"reid, re-ranked": self.reranked}
        return {"reid": self.ours, **others, "colour histograms": self.colours}


def judge(
    predictions: Predictions, colours: Float[np.ndarray, "photo bin"], photo_set: PhotoSet, rerank: reranking.Config | None
) -> Judged:
    """One protocol, judged two or three times."""
    query, gallery = predictions.rows(photo_set.queries), predictions.rows(photo_set.gallery)
    known = predictions.photos(query), predictions.photos(gallery)
    cameras = {"same_camera_removed": photo_set.same_camera_removed}
    embedding, histograms = predictions.outputs["embedding"], torch.from_numpy(colours)
    ours, theirs = (retrieval.rank(values[query], values[gallery], *known, **cameras) for values in (embedding, histograms))
    if ours.without_match == len(query):
        raise ValueError(
            f"no query of the protocol {photo_set.name} has a photo of its person in the gallery that counts; give people "
            "photos by more cameras"
        )
    again = None
    if rerank is not None:
        everybody = np.union1d(query, gallery)
        asked, searched = (np.searchsorted(everybody, rows) for rows in (query, gallery))
        blocks = reranking.blocks(embedding[everybody], asked, searched, rerank)
        again = retrieval.rank_blocks(blocks, *known, **cameras)
    return Judged(photo_set, query, gallery, ours, theirs, again)


def measure(judged: list[Judged], resampling: Block, results: Results) -> None:
    """Every number of every protocol with its interval over people, the tables, and the curves of one query and of ranks."""
    for one in judged:
        name = one.photo_set.name
        for group, found in ((name, one.ours), (f"{name}_reranked", one.reranked)):
            if found is None:
                continue
            for measured, values in MEASURES.items():
                baseline = {f"{name}.histogram_{measured}": mean(values(one.colours))} if group == name else {}
                estimate = bootstrap.estimate(weighted(values(found)), found.subject, **resampling)
                record(results, f"retrieval.{group}.{measured}", estimate, baseline)
        results.metrics[f"retrieval.{name}.without_match"] = float(one.ours.without_match)
        results.curves[f"retrieval_{name}_ranks"] = pd.DataFrame(
            {"rank": np.arange(1, RANKS + 1)} | {method: found.cumulative(RANKS) for method, found in one.methods.items()}
        )
    results.tables["retrieval"] = pd.DataFrame([row for one in judged for row in rows_of(one)])
    results.tables["retrieval_protocols"] = pd.DataFrame([size_of(one) for one in judged])


def weighted(values: Float[np.ndarray, " query"]) -> Callable[[Float[np.ndarray, " query"]], float]:
    """The mean of the values that are known, each counting as often as its weight says."""
    known = ~np.isnan(values)

    def average(weights: Float[np.ndarray, " query"]) -> float:
        total = weights[known].sum()
        return float(np.dot(weights[known], values[known]) / total) if total > 0 else float("nan")

    return average


def mean(values: Float[np.ndarray, " query"]) -> float:
    """The mean of the known values."""
    return weighted(values)(np.ones(len(values)))


def rows_of(judged: Judged) -> list[dict[str, Any]]:
    """The rows of the paper's second table in %: ours, the baseline, and what others reported of this protocol."""
    name, rows = judged.photo_set.name, []
    for method, found in judged.methods.items():
        source = BASELINE if found is judged.colours else OURS
        figures = {COLUMNS[measured]: round(100 * mean(values(found)), 2) for measured, values in MEASURES.items()}
        trapezoid = round(100 * mean(found.precision(trapezoid=True)), 2)
        rows.append({"protocol": name, "method": method, "source": source, **figures, "mAP, trapezoids": trapezoid})
    for method, value in paper.MAP.items() if name == "paper" else ():
        rows.append({"protocol": name, "method": method, "source": PAPER, "mAP": value})
    for method, (rank_1, value, source) in PUBLISHED.items() if name == "official" else ():
        rows.append({"protocol": name, "method": method, "source": source, "mAP": value, "rank-1": rank_1})
    return rows


def size_of(judged: Judged) -> dict[str, Any]:
    """How much a protocol compares."""
    sizes = {"protocol": judged.photo_set.name, "queries": len(judged.query), "gallery": len(judged.gallery)}
    return sizes | {"queries without a match": judged.ours.without_match}


def draw(predictions: Predictions, judged: Judged, results: Results) -> None:
    """Some queries with what was found, from the best found to the worst, and the distances from the median one."""
    precision = judged.ours.precision()
    in_order = np.argsort(-precision, kind="stable")[: int((~np.isnan(precision)).sum())]
    chosen = in_order[np.linspace(0, len(in_order) - 1, min(QUERIES_SHOWN, len(in_order))).round().astype(int)]
    lines = [line(predictions, judged, query) for query in chosen.tolist()]
    results.pictures["retrieval"] = plots.labelled(lines, [f"AP {100 * precision[query]:.0f} %" for query in chosen], 90)
    distance, _, right = listing(predictions, judged, int(in_order[len(in_order) // 2]))
    place = np.arange(1, len(distance) + 1)
    results.curves["retrieval_distances"] = pd.DataFrame(
        {"place": place, "distance": distance, "same person_marked": np.where(right, distance, np.nan)}
    )


def line(predictions: Predictions, judged: Judged, query: int) -> plots.Picture:
    """A query, then the nearest photos: framed green where right, red where wrong."""
    _, rows, right = listing(predictions, judged, query)
    shown, hits = predictions.shown(rows[:PHOTOS_SHOWN]), right[:PHOTOS_SHOWN]
    asked = plots.framed(predictions.shown(judged.query[[query]])[0], WHITE)
    found = [plots.framed(photo, GREEN if hit else RED) for photo, hit in zip(shown, hits, strict=True)]
    blank = [np.full_like(asked, 255)] * (PHOTOS_SHOWN - len(found))
    return plots.tiled([asked, *found, *blank], columns=PHOTOS_SHOWN + 1)


def listing(predictions: Predictions, judged: Judged, query: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What one query is compared with, nearest first: the distances, the rows of the index, and which are right."""
    embedding = predictions.outputs["embedding"]
    row = judged.query[[query]]
    away = distances.mean_strip_distance(embedding[row][:, None], embedding[judged.gallery][:, None])[0].numpy()
    order, right = retrieval.listing(
        away,
        predictions.photos(row),
        predictions.photos(judged.gallery),
        same_camera_removed=judged.photo_set.same_camera_removed,
    )
    return away[order], judged.gallery[order], right
