"""Closed-set identification: a score of each window for each enrolled person, learned from the gallery alone.

Every function returns a score per window and identity, higher is more similar; identities are the sorted labels of the gallery.
How the windows of a sequence become one decision is in `people.evaluation.metrics` (majority vote, product of softmax).
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from people.evaluation import finite


def svm_scores(
    gallery: Float[np.ndarray, "gallery channel"],
    labels: Int[np.ndarray, " gallery"],
    probes: Float[np.ndarray, "probe channel"],
    *,
    cost: float,
    seed: int,
) -> Float[np.ndarray, "probe identity"]:
    """Distance to the hyperplane of a linear SVM, one against the rest, on centred signatures of mean squared length 1."""
    from sklearn.svm import LinearSVC  # scikit-learn takes a second to import, and few systems need it

    centre, spread = centre_and_spread(gallery)
    spread *= np.sqrt(gallery.shape[1])
    svm = LinearSVC(C=cost, random_state=seed, dual="auto", max_iter=10_000).fit((gallery - centre) / spread, labels)
    scores = svm.decision_function((probes - centre) / spread)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def neighbour_scores(
    gallery: Float[np.ndarray, "gallery channel"],
    labels: Int[np.ndarray, " gallery"],
    probes: Float[np.ndarray, "probe channel"],
    *,
    neighbours: int,
    components: int,
) -> Float[np.ndarray, "probe identity"]:
    """Votes of the k nearest gallery windows after PCA, the nearer of equally many votes first.

    PCA is fitted on the gallery, never on probes; it keeps at most as many components as the gallery has windows or channels.
    """
    points, queries = project(gallery, probes, components)
    identities = int(labels.max()) + 1
    neighbours = min(neighbours, len(points))
    scores = np.zeros((len(queries), identities))
    for start in range(0, len(queries), 1024):
        distances = cdist(queries[start : start + 1024], points)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :neighbours]
        rows = np.arange(len(nearest))[:, None]
        nearest_distances = distances[rows, nearest]
        # a vote weighs 1 to 1 + 1/(k + 1): less than one more vote for all k together, but the nearer ones break ties
        relative = nearest_distances / np.maximum(nearest_distances.max(axis=1, keepdims=True), 1e-12)
        np.add.at(scores, (start + rows, labels[nearest]), 1 + (1 - relative) / (neighbours + 1))
    return scores


def project(
    gallery: Float[np.ndarray, "gallery channel"], probes: Float[np.ndarray, "probe channel"], components: int
) -> tuple[Float[np.ndarray, "gallery component"], Float[np.ndarray, "probe component"]]:
    """Principal components of the gallery, of which there are fewer than gallery items, for both."""
    from sklearn.decomposition import PCA

    components = max(1, min(components, len(gallery) - 1, gallery.shape[1]))
    pca = PCA(components, svd_solver="full").fit(gallery.astype(np.float64))
    return pca.transform(gallery.astype(np.float64)), pca.transform(probes.astype(np.float64))


def centre_and_spread(gallery: Float[np.ndarray, "gallery channel"]) -> tuple[Float[np.ndarray, " channel"], float]:
    """The gallery's mean, and one number for its spread: classifiers must not depend on a signature's scale."""
    finite.check("the gallery's signatures", gallery)
    centre = gallery.mean(axis=0)
    return centre, float(np.sqrt(np.mean((gallery - centre) ** 2))) or 1.0


def adapt_head(
    signature: Callable[[Int[Tensor, " row"]], Float[Tensor, "row channel"]],
    labels: Int[Tensor, " gallery"],
    tuned_parameters: Iterable[nn.Parameter],
    *,
    channels: int,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
) -> nn.Linear:
    """The identity head replaced by one over the enrolled people and fine-tuned on their gallery windows: SGD with momentum.

    `signature` computes the signatures of gallery rows; `tuned_parameters` are those below the head that are tuned along with
    it (none, if the network stays as it is). The same seed gives the same head, whatever random numbers were drawn before.
    """
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(channels, int(labels.max()) + 1)
    nn.init.normal_(head.weight, std=0.01, generator=generator)
    nn.init.zeros_(head.bias)
    head = head.to(labels.device)
    optimizer = torch.optim.SGD([*head.parameters(), *tuned_parameters], lr=learning_rate, momentum=0.9)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(batch_size):
            rows = rows.to(labels.device)
            loss = nn.functional.cross_entropy(head(signature(rows)), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head


class Adaptation(NamedTuple):
    """The closed-set adaptation: an identity head over the enrolled people, fine-tuned on their gallery.

    `batch` makes the network's input of these windows; `settings`: epochs, learning_rate, batch_size, and the scope,
    head (the network stays as it is) or all (a copy of it is tuned along with the head).
    """

    network: nn.Module
    batch: Callable[[Int[np.ndarray, " window"]], dict[str, Tensor]]
    settings: dict[str, Any]
    seed: int

    def logits(
        self,
        signature: Float[np.ndarray, "window channel"],
        gallery: Int[np.ndarray, " gallery"],
        labels: Int[np.ndarray, " gallery"],
        probes: Int[np.ndarray, " probe"],
    ) -> Float[np.ndarray, "probe identity"]:
        """The adapted head's logits for the windows `probes`; `gallery` are the windows of the `labels`.

        The head sees signatures centred and scaled by the gallery, so that one learning rate suits every network.
        """
        device = next(self.network.parameters()).device
        centre, spread = centre_and_spread(signature[gallery])
        shift = torch.from_numpy(centre).to(device)
        network = copy.deepcopy(self.network)

        def stored_signature(rows: Int[np.ndarray, " row"]) -> Tensor:
            return (torch.from_numpy(signature[rows]).to(device) - shift) / spread

        def computed_signature(rows: Int[np.ndarray, " row"]) -> Tensor:
            return (network(self.batch(rows))["signature"] - shift) / spread

        head_only = self.settings["scope"] == "head"
        signatures = stored_signature if head_only else computed_signature
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)  # dropout draws from the global generator
            network.train()
            head = adapt_head(
                lambda rows: signatures(gallery[rows.cpu().numpy()]),
                torch.from_numpy(labels).to(device),
                [] if head_only else list(network.parameters()),
                channels=signature.shape[1],
                epochs=self.settings["epochs"],
                learning_rate=self.settings["learning_rate"],
                batch_size=self.settings["batch_size"],
                seed=self.seed,
            )
        network.eval()
        with torch.no_grad():
            logits = [head(signatures(chunk)).double().cpu() for chunk in np.split(probes, range(256, len(probes), 256))]
        joined = torch.cat(logits).numpy()
        finite.check(f"the logits of the head that was adapted by score.adapt {self.settings}", joined)
        return joined
