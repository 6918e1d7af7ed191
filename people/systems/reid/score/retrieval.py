"""Metrics of re-identification under each protocol of the dataset, with colour histograms as the baseline."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from people.config import Block
from people.evaluation import PhotoSet, bootstrap, plots, reranking, retrieval, subgroups
from people.evaluation.bootstrap import record
from people.evaluation.results import Results
from people.evaluation.retrieval import MatchRanks
from people.nn import distances
from people.systems.reid import paper
from people.systems.reid.paper import BASELINE, OURS, PAPER, PUBLISHED
from people.systems.reid.score.predictions import Predictions

MEASURES: dict[str, Callable[[MatchRanks], Float[np.ndarray, " query"]]] = {
    "map": MatchRanks.average_precision,
    "rank_1": lambda ranks: ranks.hits_within(1),
    "rank_5": lambda ranks: ranks.hits_within(5),
    "rank_10": lambda ranks: ranks.hits_within(10),
}
COLUMNS = {"map": "mAP", "rank_1": "rank-1", "rank_5": "rank-5", "rank_10": "rank-10"}
MAX_RANK = 50  # of the curves of cumulative match
QUERIES_SHOWN, PHOTOS_SHOWN = 6, 10
GREEN, RED, WHITE = (40, 160, 60), (210, 50, 40), (255, 255, 255)


class PhotoSetRanks(NamedTuple):
    """One protocol: the rows of its queries and gallery; ranks by embedding, re-ranked, and by colour histograms."""

    photo_set: PhotoSet
    query: Int[np.ndarray, " query"]
    gallery: Int[np.ndarray, " gallery"]
    embedding: MatchRanks
    histograms: MatchRanks
    reranked: MatchRanks | None

    @property
    def methods(self) -> dict[str, MatchRanks]:
        """The ranks by the method's name in tables."""
        reranked = {} if self.reranked is None else {"reid, re-ranked": self.reranked}
        return {"reid": self.embedding, **reranked, "colour histograms": self.histograms}


def rank_photo_set(
    predictions: Predictions,
    colour_histograms: Float[np.ndarray, "photo bin"],
    photo_set: PhotoSet,
    rerank: reranking.Config | None,
) -> PhotoSetRanks:
    """The ranks of one protocol's queries."""
    query, gallery = predictions.rows(photo_set.queries), predictions.rows(photo_set.gallery)
    photos = predictions.photos(query), predictions.photos(gallery)
    cameras = {"same_camera_removed": photo_set.same_camera_removed}
    embedding, histograms = predictions.outputs["embedding"], torch.from_numpy(colour_histograms)
    by_embedding, by_histogram = (
        retrieval.rank(values[query], values[gallery], *photos, **cameras) for values in (embedding, histograms)
    )
    if by_embedding.without_match == len(query):
        raise ValueError(
            f"no query of the protocol {photo_set.name} has a photo of its person in the gallery that counts; give people "
            "photos by more cameras"
        )
    reranked = None
    if rerank is not None:
        union = np.union1d(query, gallery)
        query_rows, gallery_rows = (np.searchsorted(union, rows) for rows in (query, gallery))
        blocks = reranking.blocks(embedding[union], query_rows, gallery_rows, rerank)
        reranked = retrieval.rank_blocks(blocks, *photos, **cameras)
    return PhotoSetRanks(photo_set, query, gallery, by_embedding, by_histogram, reranked)


def record_measures(protocols: list[PhotoSetRanks], resampling: Block, results: Results) -> None:
    """Every metric of every protocol with its interval over people, the tables, and the curves of cumulative match."""
    for protocol in protocols:
        name = protocol.photo_set.name
        for group, ranks in ((name, protocol.embedding), (f"{name}_reranked", protocol.reranked)):
            if ranks is None:
                continue
            for measure, values in MEASURES.items():
                baseline = {f"{name}.histogram_{measure}": mean(values(protocol.histograms))} if group == name else {}
                estimated = bootstrap.estimate(weighted_mean(values(ranks)), ranks.subject, **resampling)
                record(results, f"retrieval.{group}.{measure}", estimated, baseline)
        results.metrics[f"retrieval.{name}.without_match"] = float(protocol.embedding.without_match)
        curves = {method: ranks.cumulative_match(MAX_RANK) for method, ranks in protocol.methods.items()}
        results.curves[f"retrieval_{name}_ranks"] = pd.DataFrame({"rank": np.arange(1, MAX_RANK + 1)} | curves)
    results.tables["retrieval"] = pd.DataFrame([row for protocol in protocols for row in table_rows(protocol)])
    results.tables["retrieval_protocols"] = pd.DataFrame([protocol_size(protocol) for protocol in protocols])


def record_subgroups(clips: pd.DataFrame, protocols: list[PhotoSetRanks], resampling: Block, results: Results) -> None:
    """Rank-1 of every protocol by gender and age class, over the queries with a match."""
    for protocol in protocols:
        values, subjects = protocol.embedding.hits_within(1), protocol.embedding.subject
        has_match = ~np.isnan(values)
        measure = f"rank-1, protocol {protocol.photo_set.name}"
        subgroups.record(results, measure, subjects[has_match], values[has_match], clips, resampling)


def weighted_mean(values: Float[np.ndarray, " query"]) -> Callable[[Float[np.ndarray, " query"]], float]:
    """As a function of query weights the mean of the values that are not NaN."""
    is_defined = ~np.isnan(values)

    def average(weights: Float[np.ndarray, " query"]) -> float:
        total = weights[is_defined].sum()
        return float(np.dot(weights[is_defined], values[is_defined]) / total) if total > 0 else float("nan")

    return average


def mean(values: Float[np.ndarray, " query"]) -> float:
    """The mean of the values that are not NaN."""
    return weighted_mean(values)(np.ones(len(values)))


def table_rows(protocol: PhotoSetRanks) -> list[dict[str, Any]]:
    """The rows of the paper's second table in %: ours, the baseline, and published figures of this protocol."""
    name, rows = protocol.photo_set.name, []
    for method, ranks in protocol.methods.items():
        source = BASELINE if ranks is protocol.histograms else OURS
        figures = {COLUMNS[measure]: round(100 * mean(values(ranks)), 2) for measure, values in MEASURES.items()}
        trapezoid = round(100 * mean(ranks.average_precision(trapezoid=True)), 2)
        rows.append({"protocol": name, "method": method, "source": source, **figures, "mAP, trapezoids": trapezoid})
    for method, value in paper.MAP.items() if name == "paper" else ():
        rows.append({"protocol": name, "method": method, "source": PAPER, "mAP": value})
    for method, (rank_1, value, source) in PUBLISHED.items() if name == "official" else ():
        rows.append({"protocol": name, "method": method, "source": source, "mAP": value, "rank-1": rank_1})
    return rows


def protocol_size(protocol: PhotoSetRanks) -> dict[str, Any]:
    """The numbers of queries and gallery photos of a protocol."""
    sizes = {"protocol": protocol.photo_set.name, "queries": len(protocol.query), "gallery": len(protocol.gallery)}
    return sizes | {"queries without a match": protocol.embedding.without_match}


def add_pictures(predictions: Predictions, protocol: PhotoSetRanks, results: Results) -> None:
    """Queries by falling average precision with their nearest photos, and the distances from the median query."""
    precision = protocol.embedding.average_precision()
    in_order = np.argsort(-precision, kind="stable")[: int((~np.isnan(precision)).sum())]
    queries = in_order[np.linspace(0, len(in_order) - 1, min(QUERIES_SHOWN, len(in_order))).round().astype(int)]
    lines = [query_picture(predictions, protocol, query) for query in queries.tolist()]
    results.pictures["queries"] = plots.labelled(lines, [f"AP {100 * precision[query]:.0f} %" for query in queries], 90)
    distance, _, is_match = rank_gallery(predictions, protocol, int(in_order[len(in_order) // 2]))
    rank = np.arange(1, len(distance) + 1)
    results.curves["retrieval_distances"] = pd.DataFrame(
        {"place": rank, "distance": distance, "same person_marked": np.where(is_match, distance, np.nan)}
    )


def query_picture(predictions: Predictions, protocol: PhotoSetRanks, query: int) -> plots.Picture:
    """A query, then the nearest photos: with a green frame if they are matches, else a red one."""
    _, rows, is_match = rank_gallery(predictions, protocol, query)
    images, hits = predictions.stored_images(rows[:PHOTOS_SHOWN]), is_match[:PHOTOS_SHOWN]
    query_image = plots.framed(predictions.stored_images(protocol.query[[query]])[0], WHITE)
    nearest = [plots.framed(image, GREEN if hit else RED) for image, hit in zip(images, hits, strict=True)]
    blank = [np.full_like(query_image, 255)] * (PHOTOS_SHOWN - len(nearest))
    return plots.tiled([query_image, *nearest, *blank], columns=PHOTOS_SHOWN + 1)


def rank_gallery(predictions: Predictions, protocol: PhotoSetRanks, query: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The compared gallery photos of one query, nearest first: distances, rows of the index, and which are matches."""
    embedding = predictions.outputs["embedding"]
    row = protocol.query[[query]]
    distance = distances.mean_strip_distance(embedding[row][:, None], embedding[protocol.gallery][:, None])[0].numpy()
    order, is_match = retrieval.rank_gallery(
        distance,
        predictions.photos(row),
        predictions.photos(protocol.gallery),
        same_camera_removed=protocol.photo_set.same_camera_removed,
    )
    return distance[order], protocol.gallery[order], is_match
