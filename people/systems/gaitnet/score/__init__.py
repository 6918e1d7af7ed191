"""GaitNet's metrics on the test subjects: verification, identification, and what its two codes tell.

Nothing is fitted to a probe: gait features are compared by cosine as the network gives them. Baseline: the nearest gait energy
image (a clip's mean mask), by Euclidean distance.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from people.config import check
from people.evaluation import bootstrap, finite
from people.evaluation.results import Results
from people.nn.inference import over_split
from people.storage.store import Store
from people.systems.gaitnet import data, paper
from people.systems.gaitnet.score import disentanglement, examples, pictures, verification, views
from people.systems.gaitnet.score.embedded import Embedded
from people.systems.gaitnet.score.headline import headline_figures as headline_figures
from people.training.system import Reads, Spec, Statistics

# By column of a table of several trainings: the metric, and that of the baseline.
COLUMNS = {name: (f"verification.tar_at_1.{name}", f"verification.gei_tar_at_1.{name}") for name in paper.PROBES}
LOWER_IS_BETTER: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """How many clips are embedded at a time, at which false accept rates verification is read, and the bootstrap intervals.

    `public_code_reading` adds the true accept rates as GaitNet's public code reads them (`verification.public_code_tar`).
    `protocol`: options of the dataset's protocol, {clutter: code} for FVG's other reading of CBG. `folds`: of the subjects,
    in which the linear probes of the codes are fitted and tested. `bootstrap`: resamples, confidence.
    """

    batch_size: int
    false_accepts: list[float]
    public_code_reading: bool
    protocol: dict[str, Any]
    folds: int
    bootstrap: dict[str, Any]

    def __post_init__(self) -> None:
        rates = self.false_accepts
        rules = {
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "false_accepts": (bool(rates) and all(0 < rate < 1 for rate in rates), "rates between 0 and 1"),
            "folds": (self.folds >= 2, "at least 2"),
        }
        check("score.gaitnet.", self, rules)
        bootstrap.check_settings("score.gaitnet", self.bootstrap)


def evaluate(
    network: nn.Module,
    spec: Spec,
    statistics: Statistics,
    reads: Reads,
    data_config: data.Config,
    config: Config,
    dataset: Any,
    seed: int,
) -> Results:
    """Every number, table, curve and picture of a trained network, under the dataset's protocols on its test subjects."""
    samples, store = data.open_samples(reads, data_config, "test", spec["tasks"]), Store.open(reads["frames"])
    embedded = embed(network, samples, store, spec, statistics, config.batch_size)
    results, resampling = Results(metrics={}), config.bootstrap | {"seed": seed}
    check_options(dataset, config.protocol)
    probe_sets, left_out = (part(samples.clips, "test", **config.protocol) for part in (dataset.protocol, dataset.left_out))
    across_views = [probe_set for probe_set in probe_sets if probe_set.group in views.GALLERIES]
    pooled = [probe_set for probe_set in probe_sets if probe_set.group not in views.GALLERIES]
    if not probe_sets:
        raise ValueError(
            f"the test split of {reads['frames']} has {len(samples.clips)} clips, but no probe with a gallery clip of its "
            "person: give the dataset more sequences"
        )
    if pooled:
        verification.judge(embedded, pooled, left_out, config.false_accepts, config.public_code_reading, resampling, results)
    if across_views:
        views.judge(embedded, across_views, left_out, resampling, results)
    disentanglement.judge(embedded, config.folds, seed, results)
    pictures.add(network, samples, spec, statistics, embedded, results)
    examples.add(embedded, pooled or [each for each in across_views if each.group == "cross_view"], results)
    if (iou := store.meta["silhouettes_iou"]) is not None:
        results.metrics["silhouettes.iou"] = float(iou)
    results.captions.update(paper.CAPTIONS)
    return results


def check_options(dataset: Any, options: dict[str, Any]) -> None:
    """Refuse an option that the dataset's protocol does not have."""
    known = [name for name in inspect.signature(dataset.protocol).parameters if name not in ("clips", "split")]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"score.gaitnet.protocol has {unknown[0]!r}, but the dataset's protocol has "
            f"{'the options ' + ', '.join(known) if known else 'no options'}; correct params.yaml"
        )


def embed(
    network: nn.Module, samples: data.Samples, store: Store, spec: Spec, statistics: Statistics, batch_size: int
) -> Embedded:
    """One pass over all clips, each at its full length; a clip with an output that is not finite is refused."""
    parts: dict[str, list[torch.Tensor]] = {}
    for outputs, batch in over_split(network, samples, spec, statistics, batch_size):
        kept = {name: outputs[name] for name in ("embedding", "prefixes", "gait", "appearance") if name in outputs}
        finite.check_outputs("gaitnet", kept, samples.clips["clip_id"].iloc[batch["clip"].tolist()].to_numpy(str))
        for name, values in kept.items():
            parts.setdefault(name, []).extend(value.cpu() for value in values)
    by_frame = {name: parts[name] for name in ("prefixes", "gait", "appearance") if name in parts}
    return Embedded.build(samples.clips, torch.stack(parts["embedding"]), by_frame, store)
