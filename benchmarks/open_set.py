"""Open-set identification of people whom no system has seen: long rendered videos of real walks, a gallery, and strangers.

    python -m benchmarks.open_set hold-out ARCHIVE OUT --people 30
    python -m benchmarks.open_set run ARCHIVE OUT/held-out.txt --folder films --seeds 3

`hold-out` copies an archive of walks (kinectgait) without some people, for all datasets of a workspace to be made of; `run`, in
that workspace, trains each system from every seed and compares the people who were held out. Half of them are enrolled from one
video, in which they pass one after the other in both directions; in other videos, at another place and from other walks, all
pass, two or more in the picture at a time, once in the clothes of the enrolment and once in other ones. Videos are found,
followed and compared as `identify` does it.

rank-1: of the tracks of enrolled people, those whose nearest person is right. TAR: those that are right and nearer than all but
1 % of the tracks of strangers. With the threshold of the validation people: `named` rightly, and of the strangers `unknown`.
Intervals are bootstrapped over people, seeds together.
"""

import argparse
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import av
import numpy as np
import pandas as pd
import torch

from people.config import build
from people.evaluation import bootstrap
from people.layouts.archives import members
from people.records import Motion
from people.serving.open_set import impostors
from people.storage import write_atomic
from people.storage.serialization import serialize
from people.synth.body.shape import estimate_height_m
from people.synth.film import Film, Passage, crossing_frames, enter_at, render_film
from people.synth.motion import kinectgait
from people.tracking import sources, tracker
from people.training import loop
from people.training.fabric import launch
from stages.identification import answers, following
from stages.identification.answers import Answer, Champion
from stages.identification.champions import Trained
from stages.identification.following import Config, Progress
from stages.identification.galleries import Enrolled, Person
from stages.identification.matching import ALL, Matcher
from stages.shared.project import params
from stages.training.problem import Trainings

SIZE_HW = (240, 320)
RATE_HZ = 25
SYSTEMS = ("gaittake", "reid", "gaitnet")
CLOTHES = ("same clothes", "other clothes")
VIEWS_DEG = (90.0, 270.0)
AWAY_M = (0.0, 0.8)  # drawn for each passage
FOLLOW_ON = 0.55  # of a passage, after which the next person enters a video of probes
GAP = 12  # frames between two people of the video of the enrolment
MIN_IOU, MIN_SHARE = 0.3, 0.5  # of a track's boxes with those of one passage, and of its frames
FALSE_ACCEPT_RATE = 0.01
RESAMPLING = {"resamples": 2000, "confidence": 0.95, "seed": 0}


class Probe(NamedTuple):
    """A track of a held-out person: who it is (an index), in which clothes, and what the systems say."""

    person: int
    clothes: str
    said: dict[str, Answer]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command", metavar="{hold-out,run,figures}")
    hold = commands.add_parser("hold-out")
    hold.add_argument("archive", type=Path)
    hold.add_argument("out", type=Path)
    hold.add_argument("--people", type=int, default=30)
    run = commands.add_parser("run")
    run.add_argument("archive", type=Path)
    run.add_argument("held_out", type=Path)
    run.add_argument("--folder", type=Path, required=True, help="for videos and checkpoints; what is there is not made again")
    run.add_argument("--seeds", type=int, default=3)
    run.add_argument("--first-seed", type=int, default=0)
    run.add_argument("--systems", default=",".join(SYSTEMS))
    tables = commands.add_parser("figures")
    tables.add_argument("archive", type=Path)
    tables.add_argument("held_out", type=Path)
    tables.add_argument("--folder", type=Path, required=True, help="in which seeds were run, also by several processes")
    asked = parser.parse_args()
    if asked.command == "hold-out":
        hold_out(asked.archive, asked.out, asked.people)
        return
    if asked.command == "figures":
        show(asked.folder, walks_of(asked.archive, asked.held_out.read_text().split()))
        return
    names, held_out = asked.systems.split(","), asked.held_out.read_text().split()
    walks = walks_of(asked.archive, held_out)
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        rows = judged_seed(seed, walks, asked.folder / f"seed-{seed}", names)
        pd.DataFrame(rows).to_csv(asked.folder / f"tracks-{seed}.csv", index=False)
    show(asked.folder, walks)


def show(folder: Path, walks: Mapping[str, Sequence[Motion]]) -> None:
    """Print the measures of all seeds in a folder, and for all systems together those of each sex."""
    table = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("tracks-*.csv"))], ignore_index=True)
    names = list(dict.fromkeys(table["by"]))
    print(figures(table, names).to_string(index=False))
    order = {seed: people_of(seed, walks) for seed in table["seed"].unique().tolist()}
    indices = table["person"].str.partition("-")[2].astype(int)
    who = [order[seed][index] for seed, index in zip(table["seed"].tolist(), indices.tolist(), strict=True)]
    for sex in ("female", "male"):
        part = table[[walks[name][0].sex == sex for name in who]]
        print(f"\n{sex}, {len({name for name in who if walks[name][0].sex == sex})} people")
        print(figures(part, [ALL]).to_string(index=False))


def hold_out(archive: Path, out: Path, count: int) -> None:
    """Write the archive without some people, drawn by their numbers, and the list of these."""
    files = members(archive, re.compile(r"/(Person\d+/\d+\.txt|person-data\.csv)$"), expected="the Kinect gait archive")
    people = sorted({Path(name).parent.name for name in files if name.endswith(".txt")})
    drawn = np.random.default_rng(0).permutation([name for name in people if enough(walks_of(archive, [name]), name)])
    chosen = sorted(drawn[:count].tolist())
    for name, content in files.items():
        if Path(name).parent.name not in chosen:
            target = (
                out / "GenderBMIData" / Path(name).name
                if name.endswith(".csv")
                else out / "Data" / "/".join(Path(name).parts[-2:])
            )
            write_atomic(target, content)
    (out / "held-out.txt").write_text("\n".join(chosen) + "\n")
    print(f"{out}: {len(people) - count} of {len(people)} people; held out: {', '.join(chosen)}")


def walks_of(archive: Path, people: Sequence[str]) -> dict[str, list[Motion]]:
    """Of each person the longest motion of every recorded walk, the longest first, with one height."""
    found: dict[str, dict[str, Motion]] = {name: {} for name in people}
    for motion in all_motions(archive):
        if motion.subject_id in found:
            walks, walk = found[motion.subject_id], re.sub(r"\D", "", motion.walk_id)
            if walk not in walks or len(motion) > len(walks[walk]):
                walks[walk] = motion
    made = {}
    for name, walks in found.items():
        longest = sorted(walks.values(), key=lambda motion: -len(motion))
        height_m = next((motion.height_m for motion in longest if motion.height_m), None)
        height_m = height_m or (round(estimate_height_m(longest[0]), 2) if longest else None)
        made[name] = [replace(motion, height_m=height_m) for motion in longest]
    return made


_motions: dict[Path, list[Motion]] = {}


def all_motions(archive: Path) -> list[Motion]:
    """The archive's walks, read once."""
    if archive not in _motions:
        _motions[archive] = kinectgait.read(archive, frame_rate_hz=RATE_HZ)
    return _motions[archive]


def enough(walks: Mapping[str, Sequence[Motion]], name: str) -> bool:
    """Whether a person has two recorded walks that can be shown crossing the picture."""
    try:
        for motion in walks[name][:2]:
            for view_deg in VIEWS_DEG:
                enter_at(Passage(name, motion, 0, 0, view_deg, AWAY_M[1], 0.0), 0, size_hw=SIZE_HW)
    except ValueError:
        return False
    return len(walks[name]) >= 2


def judged_seed(seed: int, walks: Mapping[str, Sequence[Motion]], folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Everything about one seed: a row for each track of the probes and each system."""
    folder.mkdir(parents=True, exist_ok=True)
    people = people_of(seed, walks)
    count = len(people) // 2
    champions = [trained(name, seed, folder) for name in names]
    config = build(Config, params("identify"))
    embedded = tracks_of(enrolment(people[:count], walks, seed, folder), champions, config)
    probes = [
        Probe(person, clothes, said)
        for clothes_number, clothes in enumerate(CLOTHES)
        for view_deg in VIEWS_DEG
        for person, said in tracks_of(probe_film(people, walks, seed, clothes_number, view_deg, folder), champions, config)
    ]
    print(
        f"seed {seed}: {len(embedded)} tracks of {count} people enrolled in {2 * count} passages; {len(probes)} tracks of "
        f"{len(people)} people in {len(CLOTHES) * len(VIEWS_DEG) * len(people)} passages"
    )
    matcher = gallery_of(embedded, champions, count)
    return [row for probe in probes for row in rows_of(probe, matcher, seed, count)]


def people_of(seed: int, walks: Mapping[str, Sequence[Motion]]) -> list[str]:
    """The held-out people in the order of this seed; the first half is enrolled."""
    return [str(name) for name in np.random.default_rng([seed, 7]).permutation(sorted(walks))]


def trained(system: str, seed: int, folder: Path) -> Champion:
    """The best epoch of a training from this seed, with the distances of its validation people."""
    file, reads = folder / f"{system}.pt", Trainings(system).reads
    if not file.is_file():
        trainings, epoch = Trainings(system), None
        phases = trainings.phases()
        checkpoints = folder / f"{system}-unfinished"
        fabric = launch(trainings.config)
        for epoch in loop.fit_phases(phases, seed=seed, fabric=fabric, checkpoint_folder=checkpoints, on_step=nothing):
            print(f"{system}, seed {seed}: epoch {epoch.number}", flush=True)
        assert epoch is not None
        write_atomic(file, serialize(epoch.best))
        shutil.rmtree(checkpoints, ignore_errors=True)
    return answers.load(system, Trained(file, f"seed {seed}", impostors(file, reads)))


def nothing(*_: Any, **__: Any) -> None:
    """No progress bar."""


def enrolment(
    people: Sequence[str], walks: Mapping[str, Sequence[Motion]], seed: int, folder: Path
) -> tuple[Path, pd.DataFrame]:
    """A video in which they pass one after the other, in both directions, in the clothes of the first day."""

    def follow_on(frames: range) -> int:
        return frames.stop + GAP

    each = [(index, view_deg) for index in range(len(people)) for view_deg in VIEWS_DEG]
    return film(people, each, [walks[name][0] for name in people], 0, follow_on, 2 * seed, seed, folder / "enrolment")


def probe_film(
    people: Sequence[str], walks: Mapping[str, Sequence[Motion]], seed: int, session: int, view_deg: float, folder: Path
) -> tuple[Path, pd.DataFrame]:
    """A video in which everybody passes, the next one entering before the one before has left."""

    def follow_on(frames: range) -> int:
        return frames.start + round(FOLLOW_ON * len(frames))

    order = np.random.default_rng([seed, 11, session, int(view_deg)]).permutation(len(people)).tolist()
    each = [(index, view_deg) for index in order]
    name = folder / f"probes-{session}-{view_deg:g}"
    return film(people, each, [walks[who][1] for who in people], session, follow_on, 2 * seed + 1, seed, name)


def film(
    people: Sequence[str],
    passages: Sequence[tuple[int, float]],
    motions: Sequence[Motion],
    session: int,
    follow_on: Callable[[range], int],
    place: int,
    seed: int,
    path: Path,
) -> tuple[Path, pd.DataFrame]:
    """A video of these passages (person, view), made once, and the boxes of everybody in it."""
    video, boxes = path.with_suffix(".mp4"), path.with_suffix(".parquet")
    if boxes.is_file():
        return video, pd.read_parquet(boxes)
    draw, made, frame, last = np.random.default_rng([seed, 5, session]), [], 10, 0
    for index, view_deg in passages:
        passage = Passage(
            people[index], motions[index], 1000 * seed + index, session, view_deg, float(draw.uniform(*AWAY_M)), 0.0
        )
        made.append(enter_at(passage, frame, size_hw=SIZE_HW))
        shown = crossing_frames(made[-1], size_hw=SIZE_HW)
        frame, last = follow_on(shown), max(last, shown.stop)
    rows = []
    whole = Film(tuple(made), last + 10, RATE_HZ, place, seed + 100 * session)
    with av.open(str(video), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(RATE_HZ))
        stream.height, stream.width, stream.pix_fmt, stream.options = *SIZE_HW, "yuv420p", {"crf": "16"}
        for number, each in enumerate(render_film(whole, size_hw=SIZE_HW)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(each.image_rgb, format="rgb24")))
            rows += [(number, passages[person.passage][0], *person.box_xyxy_px.tolist()) for person in each.people]
        container.mux(stream.encode(None))
    table = pd.DataFrame(rows, columns=["frame", "person", "x0", "y0", "x1", "y1"])
    table.to_parquet(boxes, index=False)
    return video, table


def tracks_of(
    made: tuple[Path, pd.DataFrame], champions: Sequence[Champion], config: Config
) -> list[tuple[int, dict[str, Answer]]]:
    """The tracks that are found in a video, whose they are, and what the systems say of each."""
    video, boxes = made
    features = answers.feature_configs([each.system for each in champions], config.max_frames)
    found, by_frame = [], dict(iter(boxes.groupby("frame")))
    for event in following.follow(sources.open_source(str(video)), config, features, Progress(), Event()):
        if isinstance(event, following.Person) and (person := owner(event, by_frame)) is not None:
            said = {each.system: answers.answer(each, event.features[each.dataset]) for each in champions}
            found.append((person, {system: answer for system, answer in said.items() if isinstance(answer, Answer)}))
    return found


def owner(event: following.Person, by_frame: Mapping[Any, pd.DataFrame]) -> int | None:
    """The person to whom most boxes of a track belong, or None."""
    votes: dict[int, int] = {}
    for frame, box in zip(event.track.frames, event.track.boxes_xyxy_px, strict=True):
        if frame in by_frame:
            rows = by_frame[frame]
            overlap = tracker.iou(np.asarray(box, np.float64)[None], rows[["x0", "y0", "x1", "y1"]].to_numpy(np.float64))[0]
            if overlap.max() >= MIN_IOU:
                person = int(rows["person"].iloc[int(overlap.argmax())])
                votes[person] = votes.get(person, 0) + 1
    best = max(votes, key=votes.__getitem__, default=None)
    return best if best is not None and votes[best] >= MIN_SHARE * len(event.track.frames) else None


def gallery_of(embedded: Sequence[tuple[int, dict[str, Answer]]], champions: Sequence[Champion], count: int) -> Matcher:
    """The enrolled people, in memory."""
    people = [Person(Path(str(index)), str(index), ()) for index in range(count)]
    systems = {}
    for champion in champions:
        rows = [(person, said[champion.system].embedding) for person, said in embedded if champion.system in said]
        embedding = np.stack([each for _, each in rows]).astype(np.float32)
        systems[champion.system] = (champion, Enrolled(embedding, np.array([person for person, _ in rows])))
    return Matcher("held out", people, systems, FALSE_ACCEPT_RATE)


def rows_of(probe: Probe, matcher: Matcher, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """What each system, and all together, say of one track."""
    match = matcher.match(probe.said)
    for by, candidates in match.candidates.items():
        nearest = candidates[0]
        yield {
            "seed": seed,
            "person": f"{seed}-{probe.person}",
            "clothes": probe.clothes,
            "by": by,
            "enrolled": probe.person < count,
            "right": nearest.name == str(probe.person),
            "distance": nearest.distance,
            "accepted": nearest.accept_rate is not None and nearest.accept_rate <= FALSE_ACCEPT_RATE,
        }


def figures(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """By clothes and system: the measures, in % with their intervals."""
    rows = []
    for clothes in CLOTHES:
        for by in names:
            part = table[(table["clothes"] == clothes) & (table["by"] == by)].copy()
            for seed, own in part.groupby("seed"):
                strangers = np.sort(own.loc[~own["enrolled"], "distance"].to_numpy())
                limit = strangers[int(FALSE_ACCEPT_RATE * len(strangers))]
                part.loc[part["seed"] == seed, "near"] = own["distance"] < limit
            known, strange = part[part["enrolled"]], part[~part["enrolled"]]
            rows.append({
                "clothes": clothes, "by": by, "tracks": len(known), "strangers": len(strange),
                "rank-1": share(known, known["right"]),
                "TAR at 1 % FAR": share(known, known["right"] & known["near"].astype(bool)),
                "named": share(known, known["right"] & known["accepted"]),
                "named wrongly": share(known, ~known["right"] & known["accepted"]),
                "unknown": share(strange, ~strange["accepted"]),
                "spread of rank-1": spread(known),
            })  # fmt: skip
    return pd.DataFrame(rows)


def share(part: pd.DataFrame, hits: pd.Series) -> str:
    """A share in % with its interval over people."""
    values = hits.to_numpy(float)

    def weighted(weights: np.ndarray) -> float:
        return float(np.average(values, weights=weights)) if weights.sum() else float("nan")

    estimated = bootstrap.estimate(weighted, part["person"].to_numpy(str), **RESAMPLING)
    return " ".join([f"{100 * estimated.value:.0f}", f"[{100 * estimated.low:.0f}, {100 * estimated.high:.0f}]"])


def spread(known: pd.DataFrame) -> str:
    """Rank-1 in % of each seed."""
    return "/".join(f"{100 * own['right'].mean():.0f}" for _, own in known.groupby("seed"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
