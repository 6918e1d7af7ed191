"""Activities from poses: metrics, baselines, and the paper's cross-validation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from people.config import check
from people.evaluation import metrics
from people.systems.multipose.model.config import Activity
from people.systems.multipose.model.heads import ActivityClassifier

LEAST_RATE = 1e-6


@dataclass(frozen=True)
class CrossValidation:
    """Folds, and how the classifier is trained in each: Adam, its rate times 0.1 when the training loss has not fallen for
    `patience` epochs.
    """

    folds: int
    epochs: int
    batch_size: int
    learning_rate: float | int
    patience: int

    def __post_init__(self) -> None:
        least = {"folds": 2, "epochs": 1, "batch_size": 2, "patience": 0}
        rules = {name: (getattr(self, name) >= value, f"at least {value}") for name, value in least.items()}
        check("cross_validation.", self, rules | {"learning_rate": (self.learning_rate > 0, "above 0")})


class Poses(NamedTuple):
    """Labelled poses: vectors of coordinates, the activity of each, and the image that it is in."""

    vector: Float[np.ndarray, "person coordinate"]
    activity: Int[np.ndarray, " person"]
    image: Int[np.ndarray, " person"]

    def rows(self, chosen: np.ndarray) -> "Poses":
        """Some of them."""
        return Poses(self.vector[chosen], self.activity[chosen], self.image[chosen])


def summary(predicted: Int[np.ndarray, " person"], true: Int[np.ndarray, " person"], classes: int) -> dict[str, float]:
    """Accuracy, and the means of precision, recall and F1 over the activities that occur; 0 of nobody."""
    if not len(true):
        return dict.fromkeys(("accuracy", "precision", "recall", "f1"), 0.0)
    confusion = metrics.confusion_matrices(predicted, true, np.zeros(len(true), int), (1, classes))[0]
    occurs = confusion.sum(axis=1) > 0
    right = np.diag(confusion)[occurs]
    told, labelled = confusion.sum(axis=0)[occurs], confusion.sum(axis=1)[occurs]
    return {
        "accuracy": metrics.confusion_accuracy(confusion),
        "precision": float((right / np.maximum(told, 1)).mean()),
        "recall": float((right / labelled).mean()),
        "f1": float((2 * right / np.maximum(told + labelled, 1)).mean()),
    }


def confusion_shares(
    predicted: Int[np.ndarray, " person"], true: Int[np.ndarray, " person"], classes: int
) -> Float[np.ndarray, "true predicted"]:
    """Each activity's shares of what it is told as; zeros of one that does not occur."""
    confusion = metrics.confusion_matrices(predicted, true, np.zeros(len(true), int), (1, classes))[0]
    return confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)


def nearest(train: Poses, test: Poses) -> Int[np.ndarray, " person"]:
    """The activity of the nearest training vector; of equally near ones the first."""
    distance = torch.cdist(torch.from_numpy(test.vector).double(), torch.from_numpy(train.vector).double())
    return train.activity[distance.argmin(1).numpy()]


def majority(train: Poses, test: Poses) -> Int[np.ndarray, " person"]:
    """The most frequent training activity, for everybody."""
    return np.full(len(test.activity), np.bincount(train.activity).argmax())


def folds_of(poses: Poses, folds: int, seed: int) -> Int[np.ndarray, " person"]:
    """The fold of each pose: no image in two, activities as equally spread as that allows."""
    from sklearn.model_selection import StratifiedGroupKFold  # scikit-learn takes a second to import

    counts = np.bincount(poses.activity)
    images = len(np.unique(poses.image))
    if images < folds or counts[counts > 0].min() < folds:
        raise ValueError(
            f"cross-validation in {folds} folds needs as many images and poses of each activity, got {images} images and "
            f"{counts[counts > 0].min()} poses of the rarest activity; lower cross_validation.folds, or give more"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold = np.zeros(len(poses.activity), int)
    for number, (_, test) in enumerate(splitter.split(poses.vector, poses.activity, poses.image)):
        fold[test] = number
    return fold


class Validated(NamedTuple):
    """What cross-validation gives: the fold and the predicted activity of every pose, by method."""

    fold: Int[np.ndarray, " person"]
    predicted: dict[str, Int[np.ndarray, " person"]]

    def averages(self, true: Int[np.ndarray, " person"], classes: int) -> dict[str, dict[str, float]]:
        """Each method's metrics, as means over the folds."""
        averaged = {}
        for method, predicted in self.predicted.items():
            of_folds = [
                summary(predicted[self.fold == fold], true[self.fold == fold], classes) for fold in np.unique(self.fold)
            ]
            averaged[method] = {name: float(np.mean([one[name] for one in of_folds])) for name in of_folds[0]}
        return averaged


def cross_validate(
    poses: Poses, fold: Int[np.ndarray, " person"], classifier: Activity, config: CrossValidation, classes: int, seed: int
) -> Validated:
    """Each pose's activity as told by a classifier that was trained on the other folds (`folds_of`), by the nearest of their
    vectors, and by their most frequent activity.
    """
    methods = ("classifier", "nearest neighbour", "majority")
    predicted = {name: np.zeros(len(fold), int) for name in methods}
    for number in range(config.folds):
        is_test = fold == number
        train, test = poses.rows(~is_test), poses.rows(is_test)
        trained = fit(train, classifier, config, classes, seed + number)
        logits = tell(trained, test.vector)
        answers = (logits.argmax(1).numpy(), nearest(train, test), majority(train, test))
        for name, answer in zip(methods, answers, strict=True):
            predicted[name][is_test] = answer
    return Validated(fold, predicted)


def fit(poses: Poses, classifier: Activity, config: CrossValidation, classes: int, seed: int) -> ActivityClassifier:
    """A classifier of these poses; what is drawn at random follows from the seed."""
    vectors, target = torch.from_numpy(poses.vector).float(), torch.from_numpy(poses.activity).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ActivityClassifier(Activity(**asdict(classifier)), vectors.shape[1], classes).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=float(config.learning_rate))
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.1, patience=config.patience, min_lr=LEAST_RATE
        )
        for _ in range(config.epochs):
            schedule.step(sum(_step(network, optimizer, vectors[rows], target[rows]) for rows in _batches(len(target), config)))
    return network.eval()


def _batches(count: int, config: CrossValidation) -> Sequence[Tensor]:
    return torch.randperm(count).split(config.batch_size)


def _step(network: ActivityClassifier, optimizer: torch.optim.Optimizer, vectors: Tensor, target: Tensor) -> float:
    loss = functional.cross_entropy(network(vectors), target, reduction="sum")
    optimizer.zero_grad()
    (loss / len(target)).backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def tell(network: ActivityClassifier, vectors: Float[np.ndarray, "person coordinate"]) -> Float[Tensor, "person class"]:
    """The logits of these poses' activities."""
    device = next(network.parameters()).device
    return network.eval()(torch.from_numpy(vectors).float().to(device)).float().cpu()
