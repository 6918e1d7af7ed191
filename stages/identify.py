"""People in a video: found, followed, and described by the trained systems.

    people identify video.mp4
    people identify video.mp4 --gallery staff
    people identify rtsp://camera/stream --out identified/door

The source is a video file, a folder of images, or a camera's address. Into the folder --out go tracks.csv and tracks.parquet
(one row a track), boxes.parquet (one row a person a frame), annotated.mp4, and index.html, one page with a card for every
track. Systems whose champion is registered describe the tracks; others are named as missing. With a gallery (`stages.enroll`)
each track gets the name of the nearest person there, or is unknown; candidates.csv and candidates.parquet list the nearest.
Ctrl-C ends with what there is.
"""

import math
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from people.config import build
from people.tracking import sources
from people.tracking.finders import Finder
from people.tracking.track_features import Config as FeatureConfig
from people.tracking.tracker import Track
from stages.identification import answers, arguments, following, pages
from stages.identification.annotated import AnnotatedVideo
from stages.identification.detectors import detector
from stages.identification.following import Config, Person, Progress
from stages.identification.galleries import Gallery
from stages.identification.matching import Matcher
from stages.shared.project import argument_parser, params, remove

SLOWER = 0.1  # than a dataset's clips: a source of fewer frames a second is told to be slow


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("source", help="a video file, a folder of images, or a camera's address")
    parser.add_argument("--out", type=Path, help="the folder to write to (identified/<name of the source>)")
    parser.add_argument("--gallery", help="the people to compare with: a gallery made by stages.enroll")
    arguments.add(parser)
    parser.add_argument("--masks", choices=following.MASKS, help="whose masks; identify.masks in params.yaml")
    parser.add_argument("--rate", type=float, help="frames a second of a folder of images (25)")
    parser.add_argument("--seconds", type=float, help="end after so much of the source")
    asked = parser.parse_args()
    given = dict(asked.checkpoint)
    try:
        config = build(Config, params("identify") | arguments.settings(asked.finder, asked.masks))
        refuse_unused(given, config)
        gallery = Gallery.existing(asked.gallery) if asked.gallery is not None else None
        source = sources.open_source(asked.source, rate_hz=asked.rate)
        out = asked.out or Path("identified", folder_name(source.name))
        champions, missing = answers.find(config.systems, given)
        matcher = Matcher.of(gallery, champions, config.false_accept_rate) if gallery else None
        finder = detector(config, given)
        fault = identify(source, config, champions, missing, out, seconds=asked.seconds, detector=finder, matcher=matcher)
    except ValueError as error:
        sys.exit(str(error))
    if fault:
        sys.exit(f"{fault}; what was seen before is in {out}")


def refuse_unused(given: Mapping[str, str], config: Config) -> None:
    """Refuse a checkpoint that nothing would use."""
    used = [*config.systems, *(["multipose"] if config.finder == "multipose" else [])]
    if unused := [system for system in given if system not in used]:
        raise ValueError(
            f"--checkpoint {unused[0]}=...: nothing would use it; identify.systems are {', '.join(config.systems)}"
        )


def shown_name(source: str) -> str:
    """What a page calls a source: a file without its folders, which are nobody else's business."""
    return Path(source).name if Path(source).exists() else source


def folder_name(source: str) -> str:
    """A folder's name of that of a source, which may be an address."""
    return re.sub(r"[^\w.-]+", "-", Path(source).stem).strip("-.") or "camera"


def identify(
    source: sources.Source,
    config: Config,
    champions: Sequence[answers.Champion],
    missing: dict[str, str],
    out: Path,
    *,
    seconds: float | None = None,
    detector: Finder | None = None,
    matcher: Matcher | None = None,
) -> str:
    """Write everything about a video's people to a folder; why it ended early, or nothing."""
    progress, stopped = Progress(), Event()
    cards: list[pages.Card] = []
    by_name = {each.system: each for each in champions}
    features = answers.feature_configs(by_name, config.max_frames)
    partial = prepared(out)
    if matcher:
        pages.remember(out)
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)  # a second Ctrl-C ends at once, as where a camera does not answer

    signal.signal(signal.SIGINT, stop)
    try:
        with (
            AnnotatedVideo(partial / "annotated.mp4") as video,
            BoxTable(partial / "boxes.parquet") as boxes,
            tqdm(total=source.count, desc=source.name, unit="frame", mininterval=1.0) as bar,
        ):
            for event in following.follow(source, config, features, progress, stopped, detector=detector, until_s=seconds):
                if isinstance(event, Person):
                    cards.append(pages.card(event, by_name, matcher))
                    boxes.add(event.track)
                    pages.write_tables(partial, [each.told_in_tables() for each in cards], with_gallery=matcher is not None)
                else:
                    video.add(event.frame.rgb, event.frame.time_s, event.boxes_xyxy_px, event.numbers, source.rate_hz)
                    bar.update()
        cards.sort(key=lambda each: each.number)
        pages.write(
            partial,
            pages.results(
                cards,
                matcher,
                source=shown_name(source.name),
                rate_hz=source.rate_hz,
                frames=progress.frames,
                size_hw=list(progress.size_hw),
                fault=progress.fault,
                missing=missing,
                notes=slow_notes(source.rate_hz, features),
                finder=config.finder,
            ),
        )
        remove(out)
        partial.replace(out)
    finally:
        signal.signal(signal.SIGINT, before)
    print(f"{out}: {len(cards)} people in {progress.frames} frames, {out / 'index.html'}")
    return progress.fault


def slow_notes(rate_hz: float, features: Mapping[str, FeatureConfig]) -> list[str]:
    """For every dataset with more frames a second than the source what that means."""
    return [
        f"It has {rate_hz:.3g} frames a second, {dataset} has {each.frame_rate_hz:.3g}: gait looks faster than in training"
        for dataset, each in features.items()
        if (each.silhouette or each.flow) and rate_hz < (1 - SLOWER) * each.frame_rate_hz < math.inf
    ]


def prepared(out: Path) -> Path:
    """An empty folder beside `out`, in which everything is written before it takes its name; it stays if the run is killed."""
    if out.exists() and not (out / "tracks.csv").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{out} exists and is no earlier result of this command; it is not overwritten: name another --out")
    partial = out.with_name(out.name + ".partial")
    remove(partial)
    partial.mkdir(parents=True)
    return partial


class BoxTable:
    """boxes.parquet, written track by track: one row for every frame in which a person was seen."""

    SCHEMA = pa.schema(
        [("track", pa.int32()), ("frame", pa.int64()), ("time_s", pa.float64())]
        + [(side, pa.float32()) for side in ("x0", "y0", "x1", "y1")]
        + [("score", pa.float32())]
    )

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, self.SCHEMA)

    def __enter__(self) -> "BoxTable":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, track: Track) -> None:
        """All boxes of a finished track."""
        sides = np.stack(track.boxes_xyxy_px).astype(np.float32).T
        columns = [np.full(len(track.frames), track.number, np.int32), track.frames, track.times_s, *sides, track.scores]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self.SCHEMA, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self.SCHEMA))


if __name__ == "__main__":
    main()
