"""Which version of a registered model is the champion: a better one takes its place, one that cannot be judged keeps it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import mlflow
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from people import checkpoints
from people.serving.revalidation import OtherSubjects, Validated, difference, validated
from people.storage import file_digest
from stages.tracking import runs

ERRORS = "validation.errors"  # a tag: the error measures from which the score is computed
CHECKPOINT_FILE = Path("artifacts", "checkpoint.pt")  # in a model's folder


class Unusable(ValueError):
    """A registered version that cannot be fetched, loaded or scored."""

    def __init__(self, version: ModelVersion, reason: str) -> None:
        super().__init__(reason)
        self.version = version


class Verdict(NamedTuple):
    """Whether a version becomes champion, and why or why not."""

    promoted: bool
    why: str


@dataclass(frozen=True)
class Judge:
    """What versions are compared on: the stores of today's data, their digest, and how sure one must be."""

    reads: dict[str, Path]
    data_digest: str
    confidence: float
    seed: int

    def verdict(self, version: ModelVersion, champion: ModelVersion | None) -> Verdict:
        """Whether the version becomes champion: if it scores higher by more than the noise, on the data of both.

        Raises:
            Unusable: the champion cannot be fetched, loaded or scored, or the version itself cannot.
        """
        number = version.version
        if champion is None:
            return Verdict(True, "there was no champion")
        if str(champion.version) == str(number):
            with fetched(champion):
                return Verdict(False, f"version {number} is the champion already")
        errors, champion_errors = (each.tags.get(ERRORS) for each in (version, champion))
        if errors and champion_errors and errors != champion_errors:
            reason = f"version {number} is scored by {errors}, champion {champion.version} by {champion_errors}"
            with fetched(champion):
                return Verdict(False, f"{reason}: not comparable, {by_hand(version)}")
        digests = [each.tags.get(runs.DATA, "unknown") for each in (version, champion)]
        candidate, present = scored(version, self.reads), scored(champion, self.reads)
        if set(digests) != {self.data_digest}:
            return Verdict(False, other_data(version, champion, self.data_digest, candidate, present))
        return self.compared(version, champion, candidate, present)

    def compared(self, version: ModelVersion, champion: ModelVersion, candidate: Validated, present: Validated) -> Verdict:
        """Whether the version is better than the champion by more than the noise of the validation subjects."""
        scores = scores_of(version, champion, candidate, present)
        try:
            better = difference(candidate, present, confidence=self.confidence, seed=self.seed)
        except OtherSubjects as error:
            return Verdict(False, f"{error}; {by_hand(version)}")
        subjects = f"{better.subjects} validation subjects"
        interval = f"{better.value:+.6f} [{better.low:+.6f}, {better.high:+.6f}] ({self.confidence:.0%}, {subjects})"
        if better.low > 0:
            return Verdict(True, f"{scores}, a difference of {interval}: it becomes champion")
        if better.high == float("inf"):
            return Verdict(False, f"{scores}, and {subjects} are too few to tell noise from progress: {by_hand(version)}")
        return Verdict(False, f"{scores}, a difference of {interval}, which is no more than noise: the champion stays")


def scores_of(version: ModelVersion, champion: ModelVersion, candidate: Validated, present: Validated) -> str:
    """Both scores, in words."""
    score, champion_score = (each.result()["score"] for each in (candidate, present))
    return f"version {version.version} has validation score {score:.6f}, champion {champion.version} has {champion_score:.6f}"


def other_data(
    version: ModelVersion, champion: ModelVersion, data_digest: str, candidate: Validated, present: Validated
) -> str:
    """Why versions of different data are not compared: whichever people were easier would decide."""
    made_on = {each.version: each.tags.get(runs.DATA, "unknown")[:12] for each in (version, champion)}
    stated = ", ".join(f"version {number} on {digest}" for number, digest in made_on.items())
    return (
        f"data differ: {stated}, today's are {data_digest[:12]}; both scored again on today's validation subjects, "
        f"{scores_of(version, champion, candidate, present)}: {by_hand(version)}"
    )


def by_hand(version: ModelVersion) -> str:
    """How somebody makes a version the champion that is not made so by itself."""
    return f"the champion stays until python -m stages.register {version.name} --promote {version.version}"


def scored(version: ModelVersion, reads: dict[str, Path]) -> Validated:
    """A version's network on the validation subjects of today's data; `Unusable` if it has no score on them."""
    with fetched(version) as checkpoint:
        try:
            outputs = validated(checkpoint, reads)
            outputs.result()
        except (ValueError, RuntimeError, KeyError) as error:
            raise Unusable(
                version,
                f"version {version.version} of {version.name} cannot be scored on today's validation subjects ({error})",
            ) from error
    return outputs


@contextmanager
def fetched(version: ModelVersion) -> Iterator[Path]:
    """The version's checkpoint as a file for the length of a block: it has the registered SHA-256, and today's code loads it.

    Raises:
        Unusable: its files are gone, out of reach, others than were registered, or not of today's code.
    """
    name = f"version {version.version} of {version.name}"
    registered = version.tags.get(runs.CHECKPOINT)
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = download_artifacts(f"models:/{version.name}/{version.version}", dst_path=folder)
        except Exception as error:  # whatever a disk, a server or a client of some storage raises
            raise Unusable(version, f"the files of {name} cannot be fetched ({error})") from error
        checkpoint = Path(model) / CHECKPOINT_FILE
        if not checkpoint.is_file():  # MLflow takes a folder that is gone for an empty one
            raise Unusable(version, f"the files of {name} are gone: there is no {CHECKPOINT_FILE} among them")
        if (digest := file_digest(checkpoint)) != registered:
            raise Unusable(
                version,
                f"{name} must have the checkpoint with SHA-256 {registered}, got {digest}: it was damaged or replaced",
            )
        try:
            checkpoints.load(checkpoint)
        except ValueError as error:
            raise Unusable(version, f"{name} cannot be loaded ({error})") from error
        yield checkpoint


def current(client: mlflow.MlflowClient, system: str, alias: str = runs.CHAMPION) -> ModelVersion | None:
    """The version with an alias, if there is one."""
    try:
        return client.get_model_version_by_alias(system, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # the second: no such alias
            return None
        raise


def promote(client: mlflow.MlflowClient, version: ModelVersion) -> None:
    """Make a version the champion, once its files are fetched and loaded; it is no challenger any more."""
    with fetched(version):
        client.set_registered_model_alias(version.name, runs.CHAMPION, str(version.version))
    challenger = current(client, version.name, runs.CHALLENGER)
    if challenger is not None and str(challenger.version) == str(version.version):
        client.delete_registered_model_alias(version.name, runs.CHALLENGER)


def settle(client: mlflow.MlflowClient, version: ModelVersion, judge: Judge) -> tuple[ModelVersion, str]:
    """Make the version champion or challenger; the champion there is then, and why.

    Processes of one machine come here one at a time. Between machines the registry has no transaction: the champion is read
    again just before the alias is set, and the version is judged against the one that another machine has set meanwhile.

    Raises:
        Unusable: the champion cannot be judged. It keeps its alias, and the version is the challenger.
    """
    while True:
        champion = current(client, version.name)
        try:
            promoted, why = judge.verdict(version, champion)
        except Unusable as error:
            if champion is None or error.version is version:
                raise
            if _number(champion) != _number(version):
                client.set_registered_model_alias(version.name, runs.CHALLENGER, str(version.version))
            raise Unusable(champion, how_to_go_on(version, champion, error)) from error
        if _number(current(client, version.name)) != _number(champion):
            continue  # another machine has set the alias meanwhile
        if promoted:
            promote(client, version)
        elif champion is not None and _number(champion) != _number(version):
            client.set_registered_model_alias(version.name, runs.CHALLENGER, str(version.version))
        present = current(client, version.name)
        if present is not None:
            return present, why


def how_to_go_on(version: ModelVersion, champion: ModelVersion, error: Unusable) -> str:
    """What has happened to a champion that cannot be judged, and what can be done."""
    name, again = champion.name, f"dvc repro --force --single-item register@{champion.name}"
    restore = f"{error}. Version {champion.version} keeps the alias {runs.CHAMPION}. Restore its files"
    if _number(champion) == _number(version):
        return f"{restore}, or delete version {champion.version} of {name} in MLflow, and register it again: {again}"
    return (
        f"{restore}, or let version {version.version}, registered as {runs.CHALLENGER}, take its place: "
        f"python -m stages.register {name} --promote {version.version}; then {again}"
    )


def _number(version: ModelVersion | None) -> str | None:
    return None if version is None else str(version.version)
