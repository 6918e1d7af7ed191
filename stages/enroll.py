"""Put a person into a gallery, with which `identify` compares people; every recording needs the person's consent.

    people enroll staff "Ada Lovelace" --consent "signed form 12 of 2026-11-02" --video ada.mp4
    people enroll staff "Ada Lovelace" --consent "..." --video gate.mp4 --track 3
    people enroll staff "Ada Lovelace" --consent "..." --video folder-of-clips
    people enroll staff "person 001" --consent "..." --subject casiab/001
    people enroll staff --refresh

A video shows the person alone, or --track says which of its tracks is the person: the number that `identify` gives. A folder
holds videos, or folders of images, of the person; a folder of images is one recording. A subject of a dataset is taken from its
stores. What the systems of `identify` read is kept in data/galleries/<gallery>, with embeddings by the registered champions;
--refresh embeds everybody again after a champion has changed. `dvc add` records each version of the gallery, and
`people forget` takes a person out of all of them.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import NamedTuple

import numpy as np

from people.config import build
from people.layouts.image_files import sorted_images
from people.storage.store import Store
from people.tracking import sources
from people.tracking.finders import Finder
from people.tracking.track_features import FIELDS
from people.tracking.track_features import Config as FeatureConfig
from stages.identification import answers, arguments, following, galleries, pages
from stages.identification.answers import Champion
from stages.identification.detectors import detector
from stages.identification.following import Config, Person, Progress
from stages.identification.galleries import Embedding, Gallery, Origin, StoredFeatures
from stages.shared.project import argument_parser, params

CLIPS = 8  # of a dataset's subject


class Shown(NamedTuple):
    """A recording that is to be enrolled: where it comes from, and by dataset what the systems read of it."""

    source: str
    features: dict[str, StoredFeatures]


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("gallery", help="the gallery's name; a new one is made")
    parser.add_argument("name", nargs="?", help="the person's name; more recordings are added to those of the same name")
    parser.add_argument("--consent", help="what the person has consented to, and where that is kept")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--video", type=Path, help="a video file, a folder of images, or a folder of such")
    shown.add_argument("--subject", metavar="DATASET/SUBJECT", help="a subject of a dataset, from its stores")
    shown.add_argument("--refresh", action="store_true", help="embed everybody again, by the champions of today")
    parser.add_argument("--track", type=int, help="which track of the video is the person")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"of a subject, evenly spread over all ({CLIPS})")
    arguments.add(parser)
    asked = parser.parse_args()
    if asked.refresh == bool(asked.name) or (asked.name and not (asked.video or asked.subject)):
        parser.error("wants NAME with --video or --subject, or --refresh without a name")
    if asked.track is not None and not asked.video:
        parser.error("--track goes with --video")
    try:
        config = build(Config, params("identify") | arguments.settings(asked.finder))
        given = dict(asked.checkpoint)
        champions, missing = answers.find(config.systems, given)
        gallery = Gallery.existing(asked.gallery) if asked.refresh else Gallery.named(asked.gallery)
        configs = answers.feature_configs(config.systems, config.max_frames)
        if asked.refresh:
            refresh(gallery, champions, configs)
        else:
            consent = checked_consent(asked.consent)
            name = galleries.check_name(asked.name)
            recordings = (
                of_subject(asked.subject, config.systems, asked.clips)
                if asked.subject
                else of_videos(asked.video, config, configs, detector(config, given), asked.track)
            )
            enroll(gallery, name, consent, list(recordings), champions, configs)
    except ValueError as error:
        sys.exit(str(error))
    for system, reason in missing.items():
        print(f"{system} has not embedded anybody: {reason}", file=sys.stderr)


def checked_consent(text: str | None) -> str:
    """The note of consent; a `ValueError` where there is none."""
    if not (text or "").strip():
        raise ValueError(
            "--consent is required: say what the person has consented to and where that is kept, such as "
            "--consent 'signed form 12 of 2026-11-02, until 2027-11-02' (docs/responsible-use.md)"
        )
    return (text or "").strip()


def enroll(
    gallery: Gallery,
    name: str,
    consent: str,
    recordings: Sequence[Shown],
    champions: Sequence[Champion],
    configs: Mapping[str, FeatureConfig],
) -> None:
    """Add these recordings of the person; none if one of them shows too little."""
    embedded = [galleries.embed(each.features, champions) for each in recordings]
    for shown, embeddings in zip(recordings, embedded, strict=True):
        if not shown.features:
            raise ValueError(f"{shown.source} shows too little of a person: no system can read anything of it")
        for champion, embedding in embeddings.items():
            if isinstance(embedding, str):
                print(f"{shown.source}: {champion.system} has no embedding: {embedding}", file=sys.stderr)
    with gallery.locked():
        add(gallery, name, consent, recordings, embedded, configs)
        gallery.save()
    count = len(gallery.person(name).recordings)
    print(f"{gallery.path}: {name} has {count} recordings, {len(recordings)} of them new; commit {gallery.record} to keep it")


def add(
    gallery: Gallery,
    name: str,
    consent: str,
    recordings: Sequence[Shown],
    embeddings: Sequence[Mapping[Champion, Embedding]],
    configs: Mapping[str, FeatureConfig],
) -> None:
    """Write these recordings with their embeddings into the gallery's folder."""
    now, digests = datetime.now(UTC).isoformat(timespec="seconds"), galleries.settings_digests(configs)
    for shown, by_champion in zip(recordings, embeddings, strict=True):
        origin = Origin(shown.source, now, consent, {dataset: digests[dataset] for dataset in shown.features})
        picture = next(iter(pages.strips(shown.features).values()), b"")
        gallery.add(name, origin, shown.features, picture, by_champion)


def refresh(gallery: Gallery, champions: Sequence[Champion], configs: Mapping[str, FeatureConfig]) -> None:
    """Embed every recording by these champions; older embeddings are deleted."""
    digests = galleries.settings_digests(configs)
    recordings = [(person, recording) for person in gallery.people() for recording in person.recordings]
    for person, recording in recordings:
        origin = recording.origin
        if changed := [name for name, digest in origin.settings.items() if digests.get(name, digest) != digest]:
            raise ValueError(
                f"the recording {origin.source} of {person.name} was made with other settings of {', '.join(changed)} than "
                f"params.yaml has now; forget {person.name} and enroll again, or restore the settings"
            )
    with gallery.locked():
        for _, recording in recordings:
            recording.replace(galleries.embed(recording.features(), champions))
        gallery.save()
    print(
        f"{gallery.path}: {len(recordings)} recordings embedded by {', '.join(each.system for each in champions) or 'nobody'}"
    )


def of_videos(
    path: Path, config: Config, configs: Mapping[str, FeatureConfig], finder: Finder | None, track: int | None
) -> Iterator[Shown]:
    """The recordings of one person in a video, or in every video of a folder."""
    inside = videos_in(path)
    if inside != [path] and track is not None:
        raise ValueError(f"{path} has {len(inside)} recordings, and --track says a track of one: name the video itself")
    for each in inside:
        yield of_video(each, config, configs, finder, track)


def videos_in(path: Path) -> list[Path]:
    """The path itself if it is a video or a folder of images; else every video file and folder of images in it, by name."""
    if not path.is_dir() or sorted_images(each.name for each in path.iterdir()):
        return [path]
    inside = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    if not inside:
        raise ValueError(f"{path} is an empty folder; expected images, videos, or folders of images")
    return inside


def of_video(
    path: Path, config: Config, configs: Mapping[str, FeatureConfig], finder: Finder | None, track: int | None
) -> Shown:
    """The one person in a video, or the one of this track."""
    source, progress = sources.open_source(str(path)), Progress()
    events = following.follow(source, config, configs, progress, Event(), detector=finder)
    people = {each.track.number: each for each in events if isinstance(each, Person)}
    if progress.fault:
        raise ValueError(f"{progress.fault}; nobody is enrolled from a part of a video")
    seen = ", ".join(
        f"{number} ({each.track.times_s[0]:.1f} to {each.track.times_s[-1]:.1f} s)" for number, each in sorted(people.items())
    )
    if track is None and len(people) != 1:
        raise ValueError(
            f"{path} must show one person, it has {len(people)} tracks: {seen or 'nobody was found'}; "
            "choose one with --track (identify shows them)"
        )
    if track is not None and track not in people:
        raise ValueError(f"{path} has no track {track}; it has {seen or 'none'}")
    person = people[track] if track is not None else next(iter(people.values()))
    kept = {
        dataset: StoredFeatures(kinds)
        for dataset, features in person.features.items()
        if (kinds := {kind: arrays for kind in FIELDS if (arrays := features.arrays(kind))})
    }
    return Shown(str(path) if track is None else f"{path}, track {track}", kept)


def of_subject(text: str, names: Sequence[str], count: int) -> Iterator[Shown]:
    """Recordings of a dataset's subject, evenly spread over those that the stores of these systems have."""
    dataset, _, subject = text.partition("/")
    kinds = sorted(
        {kind for name in names for own, reads in [answers.reading(name)] if own == dataset for kind in reads.values()}
    )
    if not kinds or not subject:
        datasets = sorted({answers.reading(name)[0] for name in names})
        raise ValueError(
            f"--subject wants DATASET/SUBJECT of a dataset that a system reads ({', '.join(datasets)}), got {text!r}"
        )
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for kind in kinds:
        if kind in FIELDS:  # poses are made of silhouettes
            for recording, arrays in stored(kind, dataset, subject).items():
                found.setdefault(recording, {})[kind] = arrays
    if not found:
        raise ValueError(f"{dataset} has no subject {subject!r} in its stores; see data/index/{dataset}")
    chosen = np.unique(np.linspace(0, len(found) - 1, min(max(count, 1), len(found))).round().astype(int))
    for index in chosen:
        recording = sorted(found)[index]
        yield Shown(f"{dataset}/{recording}", {dataset: StoredFeatures(found[recording])})


def stored(kind: str, dataset: str, subject: str) -> dict[str, dict[str, np.ndarray]]:
    """By recording the fields of one kind: of each clip, or of the photos of each camera."""
    store = Store.open(Path("data", kind, dataset))
    rows = np.flatnonzero(store.clips["subject_id"] == subject)
    if kind != "crops":
        return {
            str(store.clips["clip_id"].iloc[row]): {field: np.array(store.clip(row, field)) for field in FIELDS[kind]}
            for row in rows.tolist()
        }
    by_camera: dict[str, list[np.ndarray]] = {}
    for row in rows.tolist():
        by_camera.setdefault(f"{subject}, camera {store.clips['camera'].iloc[row]}", []).append(store.clip(row, "image"))
    return {camera: {"image": np.concatenate(photos)} for camera, photos in by_camera.items()}


if __name__ == "__main__":
    main()
