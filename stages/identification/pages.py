"""The page of a video: a card for every track, with what was seen of the person and what the systems say."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from people.records import ACTIVITIES
from people.training.system import Attribute
from stages.identification import answers
from stages.identification.answers import Answer, Champion
from stages.identification.following import Person

TEMPLATES = Path(__file__).parent
PICTURES = 8  # of a strip
PICTURE_HEIGHT_PX = 96
SIMILAR_SHOWN = 3


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

    @property
    def attributes(self) -> dict[str, list[Attribute]]:
        """By system, where it tells some."""
        return {system: answer.attributes for system, answer in self.answers.items() if answer.attributes} | self.told


def card(person: Person, champions: Mapping[str, Champion]) -> Card:
    """The card of a finished track."""
    track = person.track
    told = {"multipose": activity(person.activities)} if person.activities else {}
    said = {name: answers.answer(champion, person.features[champion.dataset]) for name, champion in champions.items()}
    return Card(
        track.number,
        track.frames[0],
        track.frames[-1],
        track.times_s[0],
        track.times_s[-1],
        len(track.frames),
        strips(person),
        {name: each for name, each in said.items() if isinstance(each, Answer)},
        told,
        {name: each for name, each in said.items() if isinstance(each, str)},
    )


def activity(probabilities: Sequence[np.ndarray]) -> list[Attribute]:
    """What a person does for most of a track, by the mean probabilities."""
    mean = np.mean(probabilities, axis=0)
    return [Attribute("activity", ACTIVITIES[int(mean.argmax())], float(mean.max()))]


def strips(person: Person) -> dict[str, bytes]:
    """Evenly spread pictures of each kind, side by side."""
    pictures: dict[str, bytes] = {}
    for features in person.features.values():
        for kind, caption in (("crops", "Photos"), ("silhouettes", "Silhouettes"), ("foregrounds", "Foregrounds")):
            arrays = features.arrays(kind)
            if arrays and caption not in pictures:
                pictures[caption] = strip(next(iter(arrays.values())))
    return pictures


def strip(images: np.ndarray) -> bytes:
    """Some of these images at one height, as one PNG file."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(PICTURES, len(images))).round().astype(int))
    tiles = []
    for image in images[chosen]:
        rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        width = max(1, round(PICTURE_HEIGHT_PX * rgb.shape[1] / rgb.shape[0]))
        tiles.append(cv2.resize(rgb, (width, PICTURE_HEIGHT_PX), interpolation=cv2.INTER_LINEAR))
    _, png = cv2.imencode(".png", cv2.cvtColor(np.hstack(tiles), cv2.COLOR_RGB2BGR))
    return png.tobytes()


def similar(cards: Sequence[Card], champions: Mapping[str, Any]) -> dict[int, dict[str, list[tuple[int, float]]]]:
    """For each track and system the other tracks of the video by rising distance, the nearest first."""
    found: dict[int, dict[str, list[tuple[int, float]]]] = {each.number: {} for each in cards}
    for system, serving in champions.items():
        told = [each for each in cards if system in each.answers]
        if len(told) < 2:
            continue
        embedding = np.stack([each.answers[system].embedding for each in told]).astype(np.float32)
        distance = serving.distances(embedding, embedding)
        for row, each in enumerate(told):
            order = [column for column in np.argsort(distance[row], kind="stable").tolist() if column != row]
            found[each.number][system] = [
                (told[column].number, float(distance[row, column])) for column in order[:SIMILAR_SHOWN]
            ]
    return found


def render(**values: Any) -> str:
    """The page of these values, as HTML; every text in it is escaped."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True)
    environment.filters["data"] = lambda content: base64.b64encode(content).decode()
    return environment.get_template("page.html.j2").render(**values)
