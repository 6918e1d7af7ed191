"""Attributes and junk judged: each attribute beside its most frequent class, and how well junk is told from people."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from people.config import Block
from people.evaluation import bootstrap, detection, metrics, plots
from people.evaluation.bootstrap import record
from people.evaluation.results import Results
from people.records import ATTRIBUTES
from people.systems.reid import paper
from people.systems.reid.data import JUNK, PERSON
from people.systems.reid.paper import MEAN
from people.systems.reid.score.predictions import Predictions

MEASURES: dict[str, Callable[[np.ndarray], float]] = {
    "accuracy": metrics.right_share,
    "balanced_accuracy": metrics.mean_recall,
    "f1": metrics.macro_f1,
}
COLOURS = ("upper_colour", "lower_colour")
JUNK_METHODS = ("confidence", "detector", "head")
Counts = Int[np.ndarray, "subject _ _"]  # true, predicted


def attributes(predictions: Predictions, training_clips: pd.DataFrame, resampling: Block, results: Results) -> None:
    """Each attribute over the people's photos whose class is known, with intervals over people, and the mean of them."""
    subjects = np.unique(predictions.subject[predictions.is_person])
    ours: dict[str, Counts] = {}
    frequent: dict[str, Counts] = {}
    for name in predictions.attributes:
        classes, true = ATTRIBUTES[name], predictions.targets[name].numpy()
        known = predictions.is_person & (true >= 0)
        if not known.any():
            continue  # it stands in the table with no photo
        shape, of_photo = (len(subjects), len(classes)), np.searchsorted(subjects, predictions.subject[known])
        guess = np.full(known.sum(), most_frequent(training_clips, name))
        predicted = predictions.outputs[name].argmax(1).numpy()[known]
        ours[name], frequent[name] = (metrics.confusions(one, true[known], of_photo, shape) for one in (predicted, guess))
    if not ours:
        raise ValueError("no photo of the split has a known attribute; give people attributes in the dataset's label file")
    for measured, measure in MEASURES.items():
        baseline = "most_frequent" if measured == "accuracy" else f"most_frequent_{measured}"
        for name, chosen in {**{name: [name] for name in ours}, MEAN: list(ours)}.items():
            found, trivial = (mean_over([counts[one] for one in chosen], measure) for counts in (ours, frequent))
            estimate = bootstrap.estimate(found, subjects, **resampling)
            once = np.ones(len(subjects))
            record(results, f"attributes.{measured}.{name}", estimate, {f"{baseline}.{name}": trivial(once)})
    results.tables["attributes"] = table(predictions, results.metrics)
    for name in COLOURS:
        if name in ours:
            confusion(name, ours[name].sum(axis=0), results)


def most_frequent(training_clips: pd.DataFrame, name: str) -> int:
    """The class that most of the training people's photos have; of equals the first."""
    people = training_clips[training_clips["kind"] == PERSON]
    return int(np.argmax([(people[name] == one).sum() for one in ATTRIBUTES[name]]))


def mean_over(counts: Sequence[Counts], measure: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
    """The mean over attributes of a measure, of subjects who count as often as their weights say."""
    return lambda weights: float(np.mean([measure(np.tensordot(weights, one, axes=1)) for one in counts]))


def table(predictions: Predictions, measured: dict[str, float]) -> pd.DataFrame:
    """The paper's first table in %: an attribute a row, the trivial answer and ours, then the printed columns."""
    rows, people = [], int(predictions.is_person.sum())
    counts = {
        name: int((predictions.is_person & (predictions.targets[name].numpy() >= 0)).sum()) for name in predictions.attributes
    }
    counts[MEAN] = sum(counts.values())
    for name, known in counts.items():
        unknown = (people * len(predictions.attributes) if name == MEAN else people) - known
        figures = {
            "most frequent": measured.get(f"attributes.most_frequent.{name}"),
            "accuracy": measured.get(f"attributes.accuracy.{name}"),
            "balanced accuracy": measured.get(f"attributes.balanced_accuracy.{name}"),
            "F1": measured.get(f"attributes.f1.{name}"),
        }
        shown = {title: None if value is None else round(100 * value, 2) for title, value in figures.items()}
        printed = {f"paper: {method}": value for method, value in paper.ATTRIBUTE_ACCURACY[name].items()}
        rows.append({"attribute": name.replace("_", " "), "photos": known, "unknown": unknown, **shown, **printed})
    return pd.DataFrame(rows)


def confusion(name: str, counts: Int[np.ndarray, "true predicted"], results: Results) -> None:
    """How often each colour is taken for each: counts as a table, shares of each true colour as a picture."""
    classes = ATTRIBUTES[name]
    shown = pd.DataFrame(counts, columns=pd.Index(classes))
    shown.insert(0, "true", list(classes))
    results.tables[f"{name}_confusion"] = shown
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    results.pictures[f"{name}_confusion"] = plots.confusion(share, classes)


def junk(predictions: Predictions, methods: Sequence[str], weights: str, resampling: Block, results: Results) -> None:
    """The area under the ROC curve of each way to tell junk from people, where there is junk; distractors are neither."""
    judged = np.flatnonzero(np.isin(predictions.clips["kind"].to_numpy(str), (PERSON, JUNK)))
    positive = ~predictions.is_person[judged]
    # one person's photos belong together, but each piece of junk stands for itself
    subjects = np.where(positive, predictions.clips["clip_id"].to_numpy(str)[judged], predictions.subject[judged])
    if not positive.any():
        return
    curves = []
    for method in methods:
        if (scores := junk_scores(predictions, judged, method, weights)) is None:
            continue

        def area(counts: np.ndarray, scores: np.ndarray = scores) -> float:
            return metrics.roc_auc(scores, positive, counts)

        record(results, f"junk.{method}.auc", bootstrap.estimate(area, subjects, **resampling), {})
        false_rate, true_rate, _ = metrics.roc(scores, positive)
        curve = pd.DataFrame({"way": method, "false_positive_rate": false_rate, "true_positive_rate": true_rate})
        curves.append(bootstrap.thinned(curve))
    if curves:
        results.curves["junk_roc"] = pd.concat(curves)


def junk_scores(
    predictions: Predictions, rows: Int[np.ndarray, " photo"], method: str, weights: str
) -> Float[np.ndarray, " photo"] | None:
    """How likely each photo is junk, by one of the paper's three ideas; None where the network has no such task.

    confidence: 1 - the mean over the attributes of the highest probability. detector: 1 - how sure a detector of persons is.
    head: the probability that the network gives.
    """
    if method == "detector":
        return 1 - detection.person_scores((predictions.shown(rows[[at]])[0] for at in range(len(rows))), weights)
    if method == "head":
        return predictions.probabilities("person")[rows, 0] if "person" in predictions.outputs else None
    highest = [predictions.probabilities(name)[rows].max(axis=1) for name in predictions.attributes]
    return 1 - np.mean(highest, axis=0) if highest else None


def kinds(predictions: Predictions) -> pd.DataFrame:
    """How many photos of each kind and role the split has, of how many people and cameras."""
    groups = predictions.clips.groupby(["kind", "role"], sort=True)
    counts = groups.agg(photos=("clip_id", "size"), subjects=("subject_id", "nunique"), cameras=("camera", "nunique"))
    return counts.reset_index()
