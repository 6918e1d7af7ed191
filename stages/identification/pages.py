"""What is known of a video's people, as plain values (results.json), and what is made of them: the page and the tables."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from people import systems
from people.evaluation import plots
from people.records import ACTIVITIES
from people.storage import write_atomic
from people.training.system import Attribute
from people.video import flow
from stages.identification import answers
from stages.identification.answers import Answer, Champion, Kinds
from stages.identification.following import Person
from stages.identification.galleries import PICTURE
from stages.identification.matching import ALL, Match, Matcher
from stages.shared.project import state

Plain = dict[str, Any]  # what JSON can hold
RESULTS, PAGE = "results.json", "index.html"
REMEMBERED = "identified.txt"  # in the project's state: the folders of results that name people of a gallery
TRACK_COLUMNS = ("track", "first_frame", "last_frame", "start_s", "end_s", "frames")
CANDIDATE_COLUMNS = ("track", "by", "rank", "name", "person", "distance", "accept_rate", "threshold")
TEMPLATES = Path(__file__).parent
PICTURES = 8  # of a strip
PICTURE_HEIGHT_PX = 96
SIMILAR_SHOWN = 3
FAST = 0.99  # quantile of the speeds, shown at full saturation
FORGOTTEN = "forgotten"  # in place of the name of a person who was taken out of the gallery


class Card(NamedTuple):
    """One track: when it was seen, pictures (PNG) by their caption, and what each system says, or why it says nothing.

    `told`: attributes by the finder.
    """

    number: int
    first_frame: int
    last_frame: int
    start_s: float
    end_s: float
    frames: int
    pictures: dict[str, bytes]
    answers: dict[str, Answer]
    told: dict[str, list[Attribute]]
    reasons: dict[str, str]
    match: Match | None

    @property
    def attributes(self) -> dict[str, list[Attribute]]:
        """By system, where it tells some."""
        return {system: answer.attributes for system, answer in self.answers.items() if answer.attributes} | self.told

    def plain(self, similar: Mapping[str, Sequence[tuple[int, float]]]) -> Plain:
        """Everything that is shown of the track."""
        pictures = {caption: encoded(png) for caption, png in self.pictures.items()}
        return {**self.told_in_tables(), "pictures": pictures, "similar": {name: list(each) for name, each in similar.items()}}

    def told_in_tables(self) -> Plain:
        """The same without pictures and similar tracks."""
        values: Plain = {name: getattr(self, name) for name in TRACK_COLUMNS[1:]}
        values = {"track": self.number, **values}
        values["attributes"] = {system: [each._asdict() for each in told] for system, told in self.attributes.items()}
        values |= {"reasons": self.reasons, "identity": None, "candidates": []}
        if self.match is not None:
            values["identity"] = {
                "name": self.match.name,
                "person": self.match.identity.person if self.match.identity else None,
                "accept_rate": self.match.candidates[ALL][0].accept_rate if self.match.candidates.get(ALL) else None,
            }
            values["candidates"] = [
                {"by": by, "rank": rank, **each._asdict(), "threshold": self.match.thresholds.get(by)}
                for by, candidates in self.match.candidates.items()
                for rank, each in enumerate(candidates, start=1)
            ]
        return values


def card(person: Person, champions: Mapping[str, Champion], matcher: Matcher | None = None) -> Card:
    """The card of a finished track."""
    track = person.track
    told = {"multipose": activity(person.activities)} if person.activities else {}
    said = {name: answers.answer(champion, person.features[champion.dataset]) for name, champion in champions.items()}
    told_apart = {name: each for name, each in said.items() if isinstance(each, Answer)}
    return Card(
        track.number,
        track.frames[0],
        track.frames[-1],
        track.times_s[0],
        track.times_s[-1],
        len(track.frames),
        strips(person.features, [each.dataset for each in champions.values() if "poses" in each.reads.values()]),
        told_apart,
        told,
        {name: each for name, each in said.items() if isinstance(each, str)},
        matcher.match(told_apart) if matcher else None,
    )


def activity(probabilities: Sequence[np.ndarray]) -> list[Attribute]:
    """What a person does for most of a track, by the mean probabilities."""
    mean = np.mean(probabilities, axis=0)
    return [Attribute("activity", ACTIVITIES[int(mean.argmax())], float(mean.max()))]


def strips(by_dataset: Mapping[str, Kinds], posed: Sequence[str] = ()) -> dict[str, bytes]:
    """Evenly spread pictures of each kind, side by side, as PNG files by their caption; `posed`: datasets with keypoints."""
    pictures: dict[str, bytes] = {}
    for dataset, features in by_dataset.items():
        for kind, caption in (
            ("crops", "Photos"),
            ("silhouettes", "Silhouettes"),
            ("foregrounds", "Foregrounds"),
            ("flow", "Flow"),
        ):
            if (arrays := features.arrays(kind)) and caption not in pictures:
                chosen = spread(next(iter(arrays.values())))
                pictures[caption] = strip(flow_pictures(chosen) if kind == "flow" else chosen)
        if dataset in posed and (arrays := features.arrays("silhouettes")):
            pictures["Poses"] = strip(pose_pictures(dataset, spread(arrays["silhouette"])))
    return pictures


def flow_pictures(stored: np.ndarray) -> list[np.ndarray]:
    """Optical flow on the colour wheel: hue is direction, saturation speed."""
    flow_px = flow.decode(stored)
    fast_px = float(np.quantile(np.hypot(flow_px[:, 0], flow_px[:, 1]), FAST))
    return [plots.flow_colours(each, fast_px) for each in flow_px]


def pose_pictures(dataset: str, silhouettes: np.ndarray) -> list[np.ndarray]:
    """Silhouettes with the keypoints that are found in them."""
    frames = np.arange(len(silhouettes), dtype=np.int32)[:, None]
    found = answers.keypoints(dataset, {"silhouette": silhouettes, "frame": frames})
    pairs = zip(silhouettes.astype(np.float32) / 255, found, strict=True)
    return [plots.with_keypoints(silhouette, joints) for silhouette, joints in pairs]


def spread(images: np.ndarray) -> np.ndarray:
    """At most `PICTURES` of these, evenly spread."""
    return images[np.unique(np.linspace(0, len(images) - 1, min(PICTURES, len(images))).round().astype(int))]


def strip(images: Iterable[np.ndarray]) -> bytes:
    """These images side by side at one height, as one PNG file."""
    tiles = []
    for image in images:
        rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        width = max(1, round(PICTURE_HEIGHT_PX * rgb.shape[1] / rgb.shape[0]))
        tiles.append(cv2.resize(rgb, (width, PICTURE_HEIGHT_PX), interpolation=cv2.INTER_LINEAR))
    _, png = cv2.imencode(".png", cv2.cvtColor(np.hstack(tiles), cv2.COLOR_RGB2BGR))
    return png.tobytes()


def similar(cards: Sequence[Card]) -> dict[int, dict[str, list[tuple[int, float]]]]:
    """For each track and system the other tracks of the video by rising distance, the nearest first."""
    found: dict[int, dict[str, list[tuple[int, float]]]] = {each.number: {} for each in cards}
    for system in dict.fromkeys(system for each in cards for system in each.answers):
        told = [each for each in cards if system in each.answers]
        if len(told) < 2:
            continue
        embedding = np.stack([each.answers[system].embedding for each in told]).astype(np.float32)
        serving: Any = systems.find(system, "serving")
        distance = serving.distances(embedding, embedding)
        for row, each in enumerate(told):
            order = [column for column in np.argsort(distance[row], kind="stable").tolist() if column != row]
            found[each.number][system] = [
                (told[column].number, float(distance[row, column])) for column in order[:SIMILAR_SHOWN]
            ]
    return found


def results(cards: Sequence[Card], matcher: Matcher | None, **video: Any) -> Plain:
    """Everything that is told of a video, with pictures of the gallery's people who are named; `video`: see the template."""
    nearest = similar(cards)
    plain = [each.plain(nearest[each.number]) for each in cards]
    named = {each["person"] for values in plain for each in values["candidates"]}
    people = {
        each.number: {"name": each.name, "picture": encoded((each.recordings[0].path / PICTURE).read_bytes())}
        for each in (matcher.people if matcher else ())
        if each.number in named
    }
    gallery = {"name": matcher.gallery, "accept_rate": matcher.accept_rate, "people": people} if matcher else None
    return {**video, "cards": plain, "gallery": gallery}


def write(folder: Path, values: Plain) -> None:
    """results.json, the page and the tables of these results."""
    write_atomic(folder / RESULTS, json.dumps(values).encode())
    write_atomic(folder / PAGE, render(values).encode())
    write_tables(folder, values["cards"], with_gallery=values["gallery"] is not None)


def write_tables(folder: Path, cards: Sequence[Plain], *, with_gallery: bool) -> None:
    """tracks.csv and tracks.parquet, a row for each track; with a gallery also candidates.csv and candidates.parquet."""
    tables = {"tracks": pd.DataFrame([row_of(each) for each in cards], columns=None if cards else list(TRACK_COLUMNS))}
    if with_gallery:
        rows = [{"track": each["track"], **candidate} for each in cards for candidate in each["candidates"]]
        tables["candidates"] = pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS))
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
        table.to_parquet(folder / f"{name}.parquet", index=False)


def row_of(values: Plain) -> Plain:
    """A track's row: when it was seen, who it is, and every attribute with its probability."""
    row: Plain = {name: values[name] for name in TRACK_COLUMNS}
    if values["identity"]:
        row |= {"identity": values["identity"]["name"], "identity.accept_rate": values["identity"]["accept_rate"]}
    for system, attributes in values["attributes"].items():
        for each in attributes:
            row[f"{system}.{each['name']}"] = each["value"]
            if each["probability"] is not None:
                row[f"{system}.{each['name']}.probability"] = each["probability"]
    return row


def forget(folder: Path, person: str) -> list[int]:
    """Take a person of a gallery out of a video's results; the tracks that were taken for the person.

    Of these tracks the pictures are taken out too.
    """
    values: Plain = json.loads((folder / RESULTS).read_text())
    gallery, tracks = values["gallery"], []
    if gallery is None or person not in gallery["people"]:
        return []
    del gallery["people"][person]
    for each in values["cards"]:
        each["candidates"] = [candidate for candidate in each["candidates"] if candidate["person"] != person]
        if each["identity"]["person"] == person:
            each["identity"], each["pictures"] = {"name": FORGOTTEN, "person": None, "accept_rate": None}, {}
            tracks.append(each["track"])
    write(folder, values)
    return tracks


def remember(folder: Path) -> None:
    """Note a folder whose results name people, so that `forget` finds it wherever it is."""
    with state(REMEMBERED).open("a") as file:
        file.write(f"{folder.resolve()}\n")


def remembered() -> list[Path]:
    """The folders that were noted."""
    noted = state(REMEMBERED)
    return list(dict.fromkeys(map(Path, noted.read_text().splitlines()))) if noted.is_file() else []


def encoded(content: bytes) -> str:
    """As text, for JSON and for addresses `data:`."""
    return base64.b64encode(content).decode()


def render(values: Plain) -> str:
    """The page of these results, as HTML; every text in it is escaped."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("page.html.j2").render(values)
