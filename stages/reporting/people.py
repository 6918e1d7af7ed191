"""Who is in the data: the people of each split, and frames or photos of some of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from people import datasets
from stages.reporting import images, titles

FRAMES_SHOWN, STRIPS_SHOWN = 6, 9
KINDS = {"person": "people", "distractor": "strangers, who are in the gallery alone", "junk": "false detections (junk)"}
SOURCES = {
    "parametric": "Rendered people of a parametric walker: nobody was recorded. Figures tell how the method works on "
    "renderings; those of a paper beside them were taken on other people, and are shown for orientation.",
    "official": "The dataset's own recordings of people.",
}
RECORDED = (
    "People rendered from recorded walks of real people ({source}): the motion, and where known sex, age and height, are of "
    "these people; bodies, hair and clothes are synthetic. Figures of a paper beside them were taken on other people, and are "
    "shown for orientation."
)
KIND_OF_DATA = {"parametric": "rendered people of a parametric walker", "official": "official recordings"}


def source_words(source: str) -> str:
    """Where the people are from, and what that means for the figures."""
    return SOURCES.get(source) or RECORDED.format(source=source)


def source_title(source: str) -> str:
    """Where the people are from, in a few words."""
    return KIND_OF_DATA.get(source) or f"people rendered from recorded walks ({source})"


def clip_table(folder: Path) -> pd.DataFrame:
    """The index of a dataset's valid clips."""
    return pd.read_csv(folder / "clips.csv", dtype={"subject_id": str})


def splits(clips: pd.DataFrame) -> pd.DataFrame:
    """For each split the number of people, women, people of known age and clips, and the mean age; of scenes the people."""
    rows = []
    for split, of_split in clips.groupby("split", sort=False):
        if "person_count" in of_split:
            counts = of_split["person_count"].to_numpy(float)
            rows.append({"split": split, "images": len(of_split), "people in them": int(np.nansum(counts))})
            continue
        labelled = of_split.query("kind == 'person'") if "kind" in of_split else of_split  # without distractors and junk
        people = labelled.groupby("subject_id").first()
        ages_years = people["age_years"].dropna()
        rows.append(
            {
                "split": split,
                "people": len(people),
                "women": int(np.count_nonzero(people["gender"].to_numpy() == "female")),
                "age known": len(ages_years) or None,
                "mean age, years": round(ages_years.mean(), 1) if len(ages_years) else None,
                "recordings": len(of_split),
            }
        )
    order = {name: rank for rank, name in enumerate(("train", "validation", "test"))}
    return pd.DataFrame(sorted(rows, key=lambda row: order.get(row["split"], len(order))))


def counts(clips: pd.DataFrame) -> dict[str, Any]:
    """How many people are in each split; of scenes the people in them."""
    table = splits(clips)
    what = "people" if "people" in table else "people in them"
    return {str(row["split"]): int(row[what]) for row in table.to_dict("records")}


def strips(clips: pd.DataFrame) -> dict[str, Markup]:
    """Captioned strips of frames, or of photos, of people of the test split, or where it is empty of validation."""
    split = "test" if "test" in set(clips["split"]) else "validation"
    clips = clips.query(f"split == {split!r}")
    if "person_count" in clips:
        return scene_strips(clips)
    return photo_strips(clips) if set(clips["frame_count"]) == {1} else clip_strips(clips)


def clip_strips(clips: pd.DataFrame) -> dict[str, Markup]:
    """A strip of frames for each condition and session, from the subject who has the most clips."""
    found = {}
    subject = most_frequent_subject(clips)
    chosen = clips.query(f"subject_id == {subject!r}").drop_duplicates(["session", "condition"])
    for clip in chosen.sort_values(by=["session"], kind="stable").head(STRIPS_SHOWN).to_dict("records"):
        frames_rgb = frames(clip)
        shown = [frames_rgb[round(i)] for i in np.linspace(0, len(frames_rgb) - 1, FRAMES_SHOWN)]
        caption = titles.condition(clip["condition"], clip["session"])
        caption = f"{caption[:1].upper()}{caption[1:]}"
        found[caption] = image(shown, f"{FRAMES_SHOWN} frames of test person {subject}: {caption.lower()}")
    return found


def photo_strips(photos: pd.DataFrame) -> dict[str, Markup]:
    """A strip of photos for each kind, one by each camera, from the subject who has the most of them."""
    found = {}
    for kind, group in photos.groupby("condition", sort=False):
        group = group.query(f"subject_id == {most_frequent_subject(group)!r}")
        chosen = group.drop_duplicates("camera").sort_values(by="camera").to_dict("records")
        cameras = ", ".join(str(photo["camera"]) for photo in chosen)
        words = "One of the test people" if kind == "person" else titles.plain(KINDS.get(str(kind), str(kind)))
        caption = f"{words}, by camera {cameras}" if len(chosen) == 1 else f"{words}, by cameras {cameras}"
        found[caption] = image(
            [frames(photo)[0] for photo in chosen], f"Photos side by side: {caption[:1].lower()}{caption[1:]}"
        )
    return found


def scene_strips(scenes: pd.DataFrame) -> dict[str, Markup]:
    """A strip of images for each number of labelled people in them, the first ones."""
    found = {}
    for count, group in scenes.sort_values(by="person_count", kind="stable").groupby("person_count"):
        people = "nobody" if count == 0 else "one person" if count == 1 else f"{count} people"
        shown = [frames(scene)[0] for scene in group.head(FRAMES_SHOWN).to_dict("records")]
        found[f"Images with {people}"] = image(shown, f"{len(shown)} test images with {people}, side by side")
    return found


def image(frames_rgb: list[np.ndarray], alt: str) -> Markup:
    """Frames side by side."""
    return images.markup(images.encode(images.strip(frames_rgb)), alt)


def most_frequent_subject(clips: pd.DataFrame) -> str:
    """The subject with the most clips; of equals the first by name."""
    return str(clips["subject_id"].value_counts(sort=True).sort_index(kind="stable").idxmax())


def frames(clip: dict[str, Any]) -> list[np.ndarray]:
    """The frames of a clip, in RGB."""
    return list(datasets.find(clip["dataset"]).frames(Path(clip["root"]), clip["frames"]))
