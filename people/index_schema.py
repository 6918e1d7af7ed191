"""The schema of an index of clips: its columns, their types, and what every single row keeps."""

import pandera.pandas as pa
from pandera.typing import Series

from people.records import ATTRIBUTES, GENDERS


class Clips(pa.DataFrameModel):
    """The index: one row per clip. Empty gender, age, view or frame rate, or another attribute, means that it is not known."""

    dataset: Series[str]
    clip_id: Series[str] = pa.Field(str_length={"min_value": 1})
    subject_id: Series[str] = pa.Field(str_length={"min_value": 1})
    split: Series[str] = pa.Field(isin=["train", "validation", "test"])
    sequence: Series[str]
    condition: Series[str]
    session: Series[int] = pa.Field(ge=0)
    view_deg: Series[float] = pa.Field(in_range={"min_value": 0, "max_value": 360, "include_max": False}, nullable=True)
    gender: Series[str] = pa.Field(isin=list(GENDERS), nullable=True)
    age_years: Series[float] = pa.Field(in_range={"min_value": 0, "max_value": 130}, nullable=True)
    frames: Series[str] = pa.Field(str_length={"min_value": 1})
    frame_count: Series[int] = pa.Field(ge=1)
    frame_rate_hz: Series[float] = pa.Field(gt=0, nullable=True)
    height_px: Series[int] = pa.Field(ge=0)  # 0 where the first image does not decode, which `decodable` then names
    width_px: Series[int] = pa.Field(ge=0)
    root: Series[str]
    content: Series[str] | None  # digest of the clip's files
    masks: Series[str] | None  # locations, in datasets with silhouettes, true keypoints and empty scenes
    keypoints: Series[str] | None
    background: Series[str] | None
    people: Series[str] | None  # location of an image's annotations
    person_count: Series[int] | None = pa.Field(ge=0)  # annotated, without regions of many people
    license: Series[str] | None  # URL of the image's licence, "" where it is not known
    kind: Series[str] | None = pa.Field(isin=["person", "distractor", "junk"])  # in datasets of photos
    role: Series[str] | None = pa.Field(isin=["train", "query", "gallery"])
    camera: Series[int] | None = pa.Field(ge=1)


CLIPS = Clips.to_schema().add_columns(
    {
        name: pa.Column(str, pa.Check.isin(classes), nullable=True, required=False)
        for name, classes in ATTRIBUTES.items()
        if name != "gender"
    }
)
