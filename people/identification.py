"""Closed-set identification: how alike each window is to each enrolled person, learned from the gallery alone.

Every function returns a score per window and identity, higher is more alike; identities are the sorted labels of the gallery.
How the windows of a sequence become one decision is in `people.metrics` (majority vote, product of softmax).
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.svm import LinearSVC
from torch import Tensor, nn


def svm_scores(
    gallery: Float[np.ndarray, "gallery channel"],
    labels: Int[np.ndarray, " gallery"],
    probes: Float[np.ndarray, "probe channel"],
    *,
    seed: int,
) -> Float[np.ndarray, "probe identity"]:
    """Distance to the hyperplane of a linear SVM, one against the rest, on signatures of length 1."""
    svm = LinearSVC(C=1.0, random_state=seed, dual="auto", max_iter=10_000).fit(unit(gallery), labels)
    scores = svm.decision_function(unit(probes))
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
        near = distances[rows, nearest]
        # a vote is worth 1 to 1 + 1/(k + 1): less than a vote more for all k together, yet the nearer tip a tie
        worth = 1 + (1 - near / np.maximum(near.max(axis=1, keepdims=True), 1e-12)) / (neighbours + 1)
        np.add.at(scores, (start + rows, labels[nearest]), worth)
    return scores


def project(
    gallery: Float[np.ndarray, "gallery channel"], probes: Float[np.ndarray, "probe channel"], components: int
) -> tuple[Float[np.ndarray, "gallery component"], Float[np.ndarray, "probe component"]]:
    """Principal components of the gallery, of which there are fewer than gallery items, for both."""
    kept = max(1, min(components, len(gallery) - 1, gallery.shape[1]))
    pca = PCA(kept, svd_solver="full").fit(gallery.astype(np.float64))
    return pca.transform(gallery.astype(np.float64)), pca.transform(probes.astype(np.float64))


def unit(vectors: Float[np.ndarray, "row channel"]) -> Float[np.ndarray, "row channel"]:
    """Each vector at length 1; the zero vector stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def adapt_head(
    signature: Callable[[Int[Tensor, " row"]], Float[Tensor, "row channel"]],
    labels: Int[Tensor, " gallery"],
    trained: Iterable[nn.Parameter],
    *,
    channels: int,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
) -> nn.Linear:
    """The identity head replaced by one over the enrolled people and fine-tuned on their gallery windows: SGD with momentum.

    `signature` computes the rows asked for; `trained` are the parameters below the head that are tuned along with it (none,
    if the network is to stay as it is). The same seed gives the same head, whatever random numbers were drawn before.
    """
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(channels, int(labels.max()) + 1)
    nn.init.normal_(head.weight, std=0.01, generator=generator)
    nn.init.zeros_(head.bias)
    head = head.to(labels.device)
    optimizer = torch.optim.SGD([*head.parameters(), *trained], lr=learning_rate, momentum=0.9)
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

    `batch` makes the network's input of the windows asked for; `settings`: epochs, learning_rate, batch_size, and the scope,
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
        """The adapted head's logits for the windows `probes`; `gallery` are the windows of the `labels`."""
        settings = {name: self.settings[name] for name in ("epochs", "learning_rate", "batch_size")}
        device = next(self.network.parameters()).device
        target, channels = torch.from_numpy(labels).to(device), signature.shape[1]
        signatures = torch.from_numpy(signature).to(device)
        if self.settings["scope"] == "head":
            known = signatures[torch.from_numpy(gallery).to(device)]
            head = adapt_head(known.__getitem__, target, [], channels=channels, **settings, seed=self.seed)
        else:
            network = copy.deepcopy(self.network).train()
            with torch.random.fork_rng():
                torch.manual_seed(self.seed)  # dropout draws from the global generator
                head = adapt_head(
                    lambda rows: network(self.batch(gallery[rows.cpu().numpy()]))["signature"],
                    target, list(network.parameters()), channels=channels, **settings, seed=self.seed,
                )  # fmt: skip
            network.eval()
            with torch.no_grad():
                parts = np.split(probes, range(256, len(probes), 256))
                signatures[torch.from_numpy(probes).to(device)] = torch.cat(
                    [network(self.batch(p))["signature"] for p in parts]
                )
        with torch.no_grad():
            return head(signatures[torch.from_numpy(probes).to(device)]).double().cpu().numpy()
