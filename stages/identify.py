"""People in a video: found, followed, and described by the trained systems.

    python -m stages.identify video.mp4
    python -m stages.identify rtsp://camera/stream --out identified/door

The source is a video file, a folder of images, or a camera's address. Into the folder --out go tracks.csv and tracks.parquet
(one row a track), boxes.parquet (one row a person a frame), annotated.mp4, and index.html, one page with a card for every
track. Systems whose champion is registered describe the tracks; others are named as missing. Ctrl-C ends with what there is.
"""

import argparse
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from people import systems
from people.config import build
from people.video import sources
from people.video.finders import Finder
from people.video.tracking import Track
from stages.identification import answers, following, pages
from stages.identification.annotated import AnnotatedVideo
from stages.identification.champions import champion_checkpoint
from stages.identification.detectors import detector
from stages.identification.following import Config, Person, Progress
from stages.shared.project import params, remove

TRACK_COLUMNS = ("track", "first_frame", "last_frame", "start_s", "end_s", "frames")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", help="a video file, a folder of images, or a camera's address")
    parser.add_argument("--out", type=Path, help="the folder to write to (identified/<name of the source>)")
    parser.add_argument("--finder", choices=following.FINDERS, help="who finds people; identify.finder in params.yaml")
    parser.add_argument("--rate", type=float, help="frames a second of a folder of images (25)")
    parser.add_argument("--seconds", type=float, help="end after so much of the source")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        type=system_and_file,
        metavar="SYSTEM=FILE",
        help="this one in place of the registered champion",
    )
    arguments = parser.parse_args()
    given = dict(arguments.checkpoint)
    try:
        config = build(Config, params("identify") | ({"finder": arguments.finder} if arguments.finder else {}))
        refuse_unused(given, config)
        source = sources.open_source(arguments.source, rate_hz=arguments.rate)
        out = arguments.out or Path("identified", folder_name(source.name))
        champions, missing = find_champions(config.systems, given)
        fault = identify(source, config, champions, missing, out, seconds=arguments.seconds, detector=detector(config, given))
    except ValueError as error:
        sys.exit(str(error))
    if fault:
        sys.exit(f"{fault}; what was seen before is in {out}")


def system_and_file(text: str) -> tuple[str, str]:
    """SYSTEM=FILE in its two parts."""
    system, equals, file = text.partition("=")
    if not (system and equals and file):
        raise argparse.ArgumentTypeError(f"expected SYSTEM=FILE, such as reid=data/models/reid/checkpoint.pt, got {text!r}")
    return system, file


def refuse_unused(given: Mapping[str, str], config: Config) -> None:
    """Refuse a checkpoint that nothing would use."""
    used = [*config.systems, *(["multipose"] if config.finder == "multipose" else [])]
    if unused := [system for system in given if system not in used]:
        raise ValueError(
            f"--checkpoint {unused[0]}=...: nothing would use it; identify.systems are {', '.join(config.systems)}"
        )


def folder_name(source: str) -> str:
    """A folder's name of that of a source, which may be an address."""
    return re.sub(r"[^\w.-]+", "-", Path(source).stem).strip("-.") or "camera"


def find_champions(names: Sequence[str], given: dict[str, str]) -> tuple[list[answers.Champion], dict[str, str]]:
    """The systems that describe tracks, and why others do not."""
    champions, missing = [], {}
    for name in names:
        try:
            checkpoint = Path(given[name]) if name in given else champion_checkpoint(name)
            champions.append(answers.load(name, checkpoint))
        except ValueError as error:
            if name in given:
                raise
            missing[name] = str(error)
    return champions, missing


def identify(
    source: sources.Source,
    config: Config,
    champions: Sequence[answers.Champion],
    missing: dict[str, str],
    out: Path,
    *,
    seconds: float | None = None,
    detector: Finder | None = None,
) -> str:
    """Write everything about a video's people to a folder; why it ended early, or nothing."""
    progress, stopped = Progress(), Event()
    cards: list[pages.Card] = []
    by_name = {each.system: each for each in champions}
    features = answers.feature_configs(champions, config.max_frames)
    partial = prepared(out)
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
                    cards.append(pages.card(event, by_name))
                    boxes.add(event.track)
                    write_tables(partial, cards)
                else:
                    video.add(event.frame.rgb, event.frame.time_s, event.boxes_xyxy_px, event.numbers, source.rate_hz)
                    bar.update()
        cards.sort(key=lambda each: each.number)
        write_tables(partial, cards)
        (partial / "index.html").write_text(page(source, config, progress, cards, missing))
        remove(out)
        partial.replace(out)
    finally:
        signal.signal(signal.SIGINT, before)
    print(f"{out}: {len(cards)} people in {progress.frames} frames, {out / 'index.html'}")
    return progress.fault


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


def write_tables(folder: Path, cards: Sequence[pages.Card]) -> None:
    """tracks.csv and tracks.parquet: a row for each track."""
    table = pd.DataFrame([row_of(each) for each in cards], columns=None if cards else list(TRACK_COLUMNS))
    table.to_csv(folder / "tracks.csv", index=False)
    table.to_parquet(folder / "tracks.parquet", index=False)


def page(
    source: sources.Source, config: Config, progress: Progress, cards: Sequence[pages.Card], missing: dict[str, str]
) -> str:
    """The page of the video, as HTML."""
    servings = {system: systems.find(system, "serving") for each in cards for system in each.answers}
    return pages.render(
        source=source.name,
        rate_hz=source.rate_hz,
        frames=progress.frames,
        size_hw=progress.size_hw,
        fault=progress.fault,
        cards=cards,
        similar=pages.similar(cards, servings),
        missing=missing,
        finder=config.finder,
    )


def row_of(card: pages.Card) -> dict[str, Any]:
    """A track's row: when it was seen, and every attribute with its probability."""
    row: dict[str, Any] = {name: getattr(card, name) for name in TRACK_COLUMNS[1:]}
    row = {"track": card.number, **row}
    for system, attributes in card.attributes.items():
        for each in attributes:
            row[f"{system}.{each.name}"] = each.value
            if each.probability is not None:
                row[f"{system}.{each.name}.probability"] = each.probability
    return row


if __name__ == "__main__":
    main()
