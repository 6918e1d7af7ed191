"""Metrics of attributes, with the most frequent class as the baseline, and of junk detection."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from people.config import Block
from people.evaluation import bootstrap, detection, metrics, plots, subgroups
from people.evaluation.bootstrap import record
from people.evaluation.results import Results
from people.records import ATTRIBUTES
from people.systems.reid import paper
from people.systems.reid.data import JUNK, PERSON
from people.systems.reid.paper import MEAN
from people.systems.reid.score.predictions import Predictions

MEASURES: dict[str, Callable[[np.ndarray], float]] = {
    "accuracy": metrics.confusion_accuracy,
    "balanced_accuracy": metrics.confusion_balanced_accuracy,
    "f1": metrics.macro_f1,
}
COLOURS = ("upper_colour", "lower_colour")
IN_SUBGROUPS = ("gender", "age")  # attributes whose accuracy is told by gender and age class
JUNK_METHODS = ("confidence", "detector", "head")
Counts = Int[np.ndarray, "subject _ _"]  # true, predicted


def record_attributes(predictions: Predictions, training_clips: pd.DataFrame, resampling: Block, results: Results) -> None:
    """Each attribute over the people's photos whose class is known, with intervals over people, and the attributes' mean."""
    subjects = np.unique(predictions.subject[predictions.is_person])
    ours: dict[str, Counts] = {}
    baseline: dict[str, Counts] = {}
    for name in predictions.attributes:
        classes, true = ATTRIBUTES[name], predictions.targets[name].numpy()
        is_labelled = predictions.is_person & (true >= 0)
        if not is_labelled.any():
            continue  # its row of the table counts no photo
        shape, photo_subject = (len(subjects), len(classes)), np.searchsorted(subjects, predictions.subject[is_labelled])
        constant = np.full(is_labelled.sum(), most_frequent(training_clips, name))
        predicted = predictions.outputs[name].argmax(1).numpy()[is_labelled]
        ours[name], baseline[name] = (
            metrics.confusion_matrices(classified, true[is_labelled], photo_subject, shape)
            for classified in (predicted, constant)
        )
    if not ours:
        raise ValueError("no photo of the split has a known attribute; give people attributes in the dataset's label file")
    for title, measure in MEASURES.items():
        baseline_title = "most_frequent" if title == "accuracy" else f"most_frequent_{title}"
        for name, members in {**{name: [name] for name in ours}, MEAN: list(ours)}.items():
            statistic, baseline_statistic = (
                mean_over_attributes([counts[member] for member in members], measure) for counts in (ours, baseline)
            )
            estimated = bootstrap.estimate(statistic, subjects, **resampling)
            baseline_value = baseline_statistic(np.ones(len(subjects)))
            record(results, f"attributes.{title}.{name}", estimated, {f"{baseline_title}.{name}": baseline_value})
    results.tables["attributes"] = attribute_table(predictions, results.metrics)
    for name in COLOURS:
        if name in ours:
            record_confusion(name, ours[name].sum(axis=0), results)


def record_subgroups(predictions: Predictions, resampling: Block, results: Results) -> None:
    """The accuracy of gender and of age by gender and age class, over the people's photos whose class is known."""
    for name in predictions.attributes:
        true, predicted = predictions.targets[name].numpy(), predictions.outputs[name].argmax(1).numpy()
        is_labelled = predictions.is_person & (true >= 0)
        if name in IN_SUBGROUPS and is_labelled.any():
            subjects, is_right = predictions.subject[is_labelled], (predicted == true)[is_labelled]
            subgroups.record(results, f"{name} accuracy", subjects, is_right, predictions.clips, resampling)


def most_frequent(training_clips: pd.DataFrame, name: str) -> int:
    """The most frequent class of the training people's photos; of equals the first."""
    people = training_clips[training_clips["kind"] == PERSON]
    counts = [(people[name] == label).sum() for label in ATTRIBUTES[name]]
    if not any(counts):
        raise ValueError(
            f"no training photo has a known {name}, but photos of the judged split have: it cannot have been learned; add the "
            "training people's labels, or take the judged ones out"
        )
    return int(np.argmax(counts))


def mean_over_attributes(confusions: Sequence[Counts], measure: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
    """As a function of subject weights the mean of a measure over attributes."""
    return lambda weights: float(np.mean([measure(np.tensordot(weights, counts, axes=1)) for counts in confusions]))


def attribute_table(predictions: Predictions, values: dict[str, float]) -> pd.DataFrame:
    """The paper's first table in %: an attribute a row, the most frequent class and ours, then the printed columns."""
    rows, people = [], int(predictions.is_person.sum())
    counts = {
        name: int((predictions.is_person & (predictions.targets[name].numpy() >= 0)).sum()) for name in predictions.attributes
    }
    counts[MEAN] = sum(counts.values())
    for name, labelled in counts.items():
        unknown = (people * len(predictions.attributes) if name == MEAN else people) - labelled
        figures = {
            "most frequent": values.get(f"attributes.most_frequent.{name}"),
            "accuracy": values.get(f"attributes.accuracy.{name}"),
            "balanced accuracy": values.get(f"attributes.balanced_accuracy.{name}"),
            "F1": values.get(f"attributes.f1.{name}"),
        }
        rounded = {title: None if value is None else round(100 * value, 2) for title, value in figures.items()}
        printed = {f"paper: {method}": value for method, value in paper.ATTRIBUTE_ACCURACY[name].items()}
        rows.append({"attribute": name.replace("_", " "), "photos": labelled, "unknown": unknown, **rounded, **printed})
    return pd.DataFrame(rows)


def record_confusion(name: str, counts: Int[np.ndarray, "true predicted"], results: Results) -> None:
    """The confusion matrix of a colour: counts as a table, shares of each true colour as a picture."""
    classes = ATTRIBUTES[name]
    table = pd.DataFrame(counts, columns=pd.Index(classes))
    table.insert(0, "true", list(classes))
    results.tables[f"{name}_confusion"] = table
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    results.pictures[f"{name}_confusion"] = plots.confusion(share, classes)


def record_junk(predictions: Predictions, methods: Sequence[str], weights: str, resampling: Block, results: Results) -> None:
    """The area under the ROC curve of each method of junk detection, where there is junk; distractors are left out."""
    rows = np.flatnonzero(np.isin(predictions.clips["kind"].to_numpy(str), (PERSON, JUNK)))
    positive = ~predictions.is_person[rows]
    # resampled by person; each junk photo is a subject of its own
    subjects = np.where(positive, predictions.clips["clip_id"].to_numpy(str)[rows], predictions.subject[rows])
    if not positive.any():
        return
    curves = []
    for method in methods:
        if (scores := junk_scores(predictions, rows, method, weights)) is None:
            continue

        def roc_auc(counts: np.ndarray, scores: np.ndarray = scores) -> float:
            return metrics.roc_auc(scores, positive, counts)

        record(results, f"junk.{method}.auc", bootstrap.estimate(roc_auc, subjects, **resampling), {})
        false_rate, true_rate, _ = metrics.roc(scores, positive)
        curve = pd.DataFrame({"way": method, "false_positive_rate": false_rate, "true_positive_rate": true_rate})
        curves.append(bootstrap.downsample(curve))
    if curves:
        results.curves["junk_roc"] = pd.concat(curves)


def junk_scores(
    predictions: Predictions, rows: Int[np.ndarray, " photo"], method: str, weights: str
) -> Float[np.ndarray, " photo"] | None:
    """Junk scores by one of the paper's three methods, higher is junk; None where the network has no such task.

    confidence: 1 - the mean over the attributes of the highest probability. detector: 1 - a detector's highest person score.
    head: the network's own probability.
    """
    if method == "detector":
        return 1 - detection.person_scores((predictions.stored_images(row)[0] for row in rows[:, None]), weights)
    if method == "head":
        return predictions.probabilities("person")[rows, 0] if "person" in predictions.outputs else None
    highest = [predictions.probabilities(name)[rows].max(axis=1) for name in predictions.attributes]
    return 1 - np.mean(highest, axis=0) if highest else None


def photo_counts(predictions: Predictions) -> pd.DataFrame:
    """The numbers of photos, people and cameras of each kind and role."""
    groups = predictions.clips.groupby(["kind", "role"], sort=True)
    counts = groups.agg(photos=("clip_id", "size"), subjects=("subject_id", "nunique"), cameras=("camera", "nunique"))
    return counts.reset_index()
