"""Galleries: the people whom `identify` knows, in a folder of data/galleries that DVC versions.

A gallery has a folder for each person, named by a random number, with the person's name in person.json; in it a folder for each
recording: recording.json (when, of what, with whose consent), features.npz (what the systems read of it), picture.png, and for
each system and checkpoint <system>-<first 12 digits of its SHA-256>.npy, the embedding, or .txt, why there is none. Names are
text and never part of a path.
"""

import json
import re
import secrets
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from people.storage import facts_digest, write_atomic
from people.tracking.track_features import Config as FeatureConfig
from stages.identification.answers import Answer, Champion, Kinds, answer
from stages.shared.project import file_lock, output, remove, state

GALLERIES = Path("data/galleries")
NAME_CHARS = 200
REFUSAL = ".txt"  # in place of an embedding: why there is none
Embedding = np.ndarray | str  # of a recording, or why it has none
PERSON, RECORDING, FEATURES, PICTURE = "person.json", "recording.json", "features.npz", "picture.png"


@dataclass(frozen=True)
class Origin:
    """Where a recording comes from, when it was enrolled, and what the person has consented to; `settings`: of its features."""

    source: str
    enrolled: str
    consent: str
    settings: dict[str, str]


class Recording(NamedTuple):
    """One recording of one person in a gallery."""

    path: Path
    origin: Origin

    def features(self) -> dict[str, "StoredFeatures"]:
        """By dataset what the systems read."""
        found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
        with np.load(self.path / FEATURES, allow_pickle=False) as file:
            for key in file.files:
                dataset, kind, field = key.split("/")
                found.setdefault(dataset, {}).setdefault(kind, {})[field] = file[key]
        return {dataset: StoredFeatures(kinds) for dataset, kinds in found.items()}

    def embedding(self, champion: Champion) -> np.ndarray | None:
        """The embedding by this checkpoint; None if it could not embed the recording, KeyError if it was never asked to."""
        file = self.path / f"{champion.system}-{champion.digest[:12]}.npy"
        if file.is_file():
            return np.load(file, allow_pickle=False)
        if file.with_suffix(REFUSAL).is_file():
            return None
        others = sorted({path.stem.partition("-")[2] for path in self.path.glob(f"{champion.system}-*")})
        raise KeyError(", ".join(others) or "none")

    def replace(self, embeddings: Mapping[Champion, Embedding]) -> None:
        """These embeddings in place of all others by the same systems."""
        for champion, embedding in embeddings.items():
            for older in self.path.glob(f"{champion.system}-*"):
                older.unlink()
            write_embeddings(self.path, {champion: embedding})


class Person(NamedTuple):
    """One person of a gallery."""

    path: Path
    name: str
    recordings: tuple[Recording, ...]

    @property
    def number(self) -> str:
        """The random number of the person."""
        return self.path.name


@dataclass(frozen=True)
class StoredFeatures:
    """The features of one recording by their kind, as `track_features.Features` has them."""

    kinds: Mapping[str, Mapping[str, np.ndarray]]

    def arrays(self, kind: str) -> dict[str, np.ndarray]:
        """The fields of one kind; empty where there are none."""
        return dict(self.kinds.get(kind, {}))


@dataclass(frozen=True, eq=False)
class Gallery:
    """A gallery on disk."""

    path: Path

    @staticmethod
    def named(name: str) -> "Gallery":
        """The gallery of this name, which need not exist; a `ValueError` for what is no name of a folder."""
        if not re.fullmatch(r"\w[\w-]{0,99}", name, re.ASCII):
            raise ValueError(f"{name!r} cannot name a gallery; expected letters, digits, _ and -, such as 'staff'")
        return Gallery(GALLERIES / name)

    @staticmethod
    def existing(name: str) -> "Gallery":
        """The same, with somebody in it; a `ValueError` that names the galleries otherwise."""
        gallery = Gallery.named(name)
        if not gallery.path.is_dir():
            present = [each.name for each in Gallery.others(gallery)]
            is_recorded = gallery.record.is_file()
            remedy = f"dvc checkout {gallery.record}" if is_recorded else f"python -m stages.enroll {name} NAME --video ..."
            raise ValueError(f"there is no gallery {name!r}, only {', '.join(present) or 'none at all'}: {remedy}")
        if not gallery.people():
            raise ValueError(f"the gallery {name!r} is empty: python -m stages.enroll {name} NAME --video ...")
        return gallery

    @staticmethod
    def others(than: "Gallery") -> list["Gallery"]:
        """All other galleries, by name."""
        names = sorted(path.name for path in GALLERIES.glob("*/") if "." not in path.name)
        return [Gallery.named(name) for name in names if name != than.name]

    @property
    def name(self) -> str:
        """The gallery's name."""
        return self.path.name

    @property
    def record(self) -> Path:
        """The file by which git knows the gallery's version."""
        return self.path.with_name(f"{self.path.name}.dvc")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For one process that changes the gallery; what a killed one has left beside it is deleted first."""
        with file_lock(state(f"gallery-{self.name}.lock")):
            for left in self.path.parent.glob(f"{self.name}.*/"):
                remove(left)
            yield

    def people(self) -> list[Person]:
        """Everybody, by name."""
        if not self.path.is_dir():
            return []
        return sorted((read_person(path) for path in self.path.iterdir() if path.is_dir()), key=lambda each: each.name)

    def has(self, name: str) -> bool:
        """Whether somebody of this name is in it."""
        return any(each.name == name for each in self.people())

    def person(self, name: str) -> Person:
        """The person of this name; a `ValueError` that names the nearest ones otherwise."""
        people = {each.name: each for each in self.people()}
        if name not in people:
            raise ValueError(
                f"nobody in the gallery {self.name!r} is called {name!r}; there are {', '.join(map(repr, people))}"
            )
        return people[name]

    def add(
        self,
        name: str,
        origin: Origin,
        features: Mapping[str, "StoredFeatures"],
        picture: bytes,
        embeddings: Mapping[Champion, Embedding],
    ) -> Recording:
        """Add a recording of the person of this name, who may be new; it appears as a whole or not at all."""
        known = {each.name: each.path for each in self.people()}
        folder = known.get(name) or self.path / secrets.token_hex(16)
        recording = Recording(folder / secrets.token_hex(8), origin)
        with output(self.path.with_name(f"{self.name}.{recording.path.name}")) as made:
            target = made / recording.path.name
            target.mkdir(parents=True)
            arrays = {
                f"{dataset}/{kind}/{field}": values
                for dataset, stored in features.items()
                for kind, fields in stored.kinds.items()
                for field, values in fields.items()
            }
            save: Any = np.savez_compressed
            save(target / FEATURES, **arrays)
            (target / PICTURE).write_bytes(picture)
            write_json(target / RECORDING, asdict(origin))
            write_embeddings(target, embeddings)
            write_json(made / PERSON, {"name": name})
        made = self.path.with_name(f"{self.name}.{recording.path.name}")
        self.path.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            (made / recording.path.name).replace(recording.path)
            shutil.rmtree(made)
        else:
            made.replace(folder)
        return recording

    def save(self) -> None:
        """Record the folder's content as a version: `dvc add`, which writes the file for git."""
        try:
            dvc("add", "--quiet", str(self.path))
        except ValueError as error:
            raise ValueError(f"{self.path} is changed, but this version is not recorded: {error}") from error


class Enrolled(NamedTuple):
    """The embeddings of one system: rows of recordings, and of each row the index of its person among the gallery's people."""

    embedding: np.ndarray
    person: np.ndarray


def enrolled(people: Sequence[Person], champion: Champion, gallery: str) -> Enrolled | None:
    """The gallery as this checkpoint embeds it; None if it has nothing that the system reads.

    Raises:
        ValueError: a recording was embedded by another checkpoint, not by this one, or its embedding cannot be compared.
    """
    rows, owners, recordings = [], [], []
    for index, person in enumerate(people):
        for recording in person.recordings:
            try:
                embedding = recording.embedding(champion)
            except KeyError as error:
                raise ValueError(
                    f"the gallery {gallery!r} was not embedded by {champion.version} of {champion.system} "
                    f"({champion.digest[:12]}), but by {error.args[0]}: python -m stages.enroll {gallery} --refresh"
                ) from error
            except (ValueError, EOFError) as error:  # what NumPy raises for a file that is damaged or cut off
                raise damaged(gallery, person, recording, champion, f"is no array of numbers ({error})") from error
            if embedding is not None:
                rows.append(embedding)
                owners.append(index)
                recordings.append(recording)
    if not rows:
        return None
    expected = Counter(each.shape for each in rows).most_common(1)[0][0]
    for embedding, index, recording in zip(rows, owners, recordings, strict=True):
        if fault := embedding_fault(embedding, expected):
            raise damaged(gallery, people[index], recording, champion, fault)
    return Enrolled(np.stack(rows).astype(np.float32), np.array(owners))


def embedding_fault(embedding: np.ndarray, expected: tuple[int, ...]) -> str:
    """Why an embedding cannot be compared with others of this shape; nothing if it can."""
    if embedding.dtype.kind != "f":
        return f"must be floating-point numbers, is {embedding.dtype}"
    if embedding.shape != expected:
        return f"must have the shape {expected} of most others, has {embedding.shape}"
    with np.errstate(over="ignore"):
        finite = np.isfinite(embedding.astype(np.float32))
    return "" if finite.all() else f"must be finite float32 numbers, {(~finite).sum()} of {finite.size} are NaN or infinite"


def damaged(gallery: str, person: Person, recording: Recording, champion: Champion, fault: str) -> ValueError:
    """The error for an embedding that cannot be compared: of whom it is, why, and what to do."""
    return ValueError(
        f"the gallery {gallery!r}: the embedding by {champion.system} of {person.name}, recording {recording.path.name}, "
        f"{fault}: python -m stages.enroll {gallery} --refresh embeds everybody again"
    )


def embed(features: Mapping[str, Kinds], champions: Iterable[Champion]) -> dict[Champion, Embedding]:
    """The embedding by each champion, or why it has none."""
    embeddings: dict[Champion, Embedding] = {}
    for champion in champions:
        own = features.get(champion.dataset)
        said = answer(champion, own) if own else f"the recording has nothing that is made as {champion.dataset} is"
        embeddings[champion] = said.embedding if isinstance(said, Answer) else said
    return embeddings


def write_embeddings(folder: Path, embeddings: Mapping[Champion, Embedding]) -> list[Path]:
    """A file for each champion, by its system and checkpoint: the embedding, or the reason why there is none."""
    written = []
    for champion, embedding in embeddings.items():
        file = folder / f"{champion.system}-{champion.digest[:12]}.npy"
        if isinstance(embedding, str):
            file = file.with_suffix(REFUSAL)
            file.write_text(embedding + "\n")
        else:
            np.save(file, embedding)
        written.append(file)
    return written


def settings_digests(configs: Mapping[str, FeatureConfig]) -> dict[str, str]:
    """By dataset what features are made with, as a digest: other settings make other features."""
    return {dataset: facts_digest(**asdict(config))[:16] for dataset, config in configs.items()}


def read_person(path: Path) -> Person:
    """A person's folder."""
    name = json.loads((path / PERSON).read_text())["name"]
    recordings = sorted(file.parent for file in path.glob(f"*/{RECORDING}"))
    origins = [Origin(**json.loads((each / RECORDING).read_text())) for each in recordings]
    return Person(path, name, tuple(map(Recording, recordings, origins)))


def check_name(name: str) -> str:
    """A person's name: any text of one line; a `ValueError` otherwise."""
    if not name.strip() or name != name.strip() or len(name) > NAME_CHARS or not name.isprintable():
        raise ValueError(f"{name[:NAME_CHARS]!r} cannot be a person's name; expected one line of 1 to {NAME_CHARS} characters")
    return name


def write_json(path: Path, values: object) -> None:
    """Readable JSON."""
    write_atomic(path, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


def dvc(*arguments: str) -> str:
    """Run dvc when other dvc commands have ended; what it printed, or a `ValueError` with the reason why it failed."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ValueError(f"`dvc {' '.join(arguments)}` failed ({reason[0] if reason else done.returncode}); run it again")
    return done.stdout
