"""The model card of a registered version, as Markdown, generated from its lineage and from what `evaluate` has written.

Sections follow Mitchell et al., Model Cards for Model Reporting, FAT* 2019: details, use, data, results by subgroup, limits.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from people import systems
from people.age_bands import AGE_BANDS, band_name
from people.storage.store import Store
from stages.registration import lineage
from stages.registration.lineage import Record
from stages.shared.project import params

METRICS = Path("data/metrics")
MAX_ROWS, MAX_COLUMNS = 40, 16  # of a table in the card; larger ones stay among the stage's outputs
SUBGROUP_TABLE = "subgroups"  # of every system: people.evaluation.subgroups
MAX_SHORT_CHARS, HEADLINES = 1500, 6
PROBES = ("probes", "images")  # columns with the names of probe sets, which are recordings of one condition
RENDERED = ("parametric", "kinectgait", "cmumocap")
SOURCES = {
    "parametric": "rendered people who move as the project's own walker says: nobody was recorded",
    "kinectgait": "rendered people with the recorded walks of the Kinect gait archive (Andersson and Araujo, AAAI 2015)",
    "cmumocap": "rendered people with recorded motion of CMU's motion capture archive",
    "official": "the data set's own recordings of people",
}
TERMS = {
    "parametric": "Nobody's data is in it: people, clothes and walks are drawn from a seed.",
    "kinectgait": "Cite Andersson and Araujo, AAAI 2015: its authors ask for citation; it was published under MIT until 2020.",
    "cmumocap": "Free for research and commercial projects; acknowledge NSF EIA-0196217.",
    "official": "The terms of the data set's authors hold for weights that were learned from it, too; many allow research "
    "alone. Read them before the weights leave your hands.",
}
# A table has results by a subgroup where it has a column of one of these names, or rows of this group.
SUBGROUPS = {
    "gender": ("gender",),
    "age band": ("age band", "age_band"),
    "condition": ("condition", *PROBES),
    "view": ("view", "view_deg", "probe view"),
}
LIMITS = (
    "- Rates belong to the people, cameras, places and days on which they were measured; they do not carry over to others. "
    "Measure on consenting people like those who will pass, before use (docs/responsible-use.md).",
    "- Intervals are over the test people. Where these are few they say little, and a subgroup of five people says nothing.",
    "- Gender and age, where they are told, are guesses of how the data set labels people, in its own classes, not facts.",
    "- An answer is a reason for somebody to look, not a decision about a person. Do not identify people covertly.",
)


def card(record: Record, version: str = "champion", folder: Path = METRICS) -> str:
    """The whole card of a version, from its lineage and the outputs of `evaluate` in `folder`.

    `version`: the alias or the number in the example of its use.
    """
    system = record["system"]
    sections = {
        f"Model card: {system}": details(record),
        "How to use it": usage(record, version),
        "Data": data(record),
        "Protocol": protocol(record, folder),
        "Results": results(record, folder),
        "By subgroup": subgroups(record, folder),
        "Limits": "\n".join(limits(record)),
        "Consent and licence": consent(record),
    }
    (title, first), *others = sections.items()
    return f"# {title}\n\n{first}\n" + "".join(f"\n## {name}\n\n{text}\n" for name, text in others)


def short(record: Record, version: str = "champion") -> str:
    """A description under `MAX_SHORT_CHARS` characters for the page of the version in MLflow."""
    system, metrics = record["system"], record["metrics"]
    named = with_intervals(metrics)[:HEADLINES] or list(metrics)[:HEADLINES]
    lines = [
        first_line(systems.find(system, "serving").__doc__),
        f"Data: {record['parameters']['dataset']}, {source_words(record)}. Test people are in neither training nor selection.",
        "\n".join(f"- {name}: {with_interval(metrics, name)}" for name in named),
        f"```python\n{example(record, version)}\n```",
        "Biometric data: use it on people who agreed (docs/responsible-use.md). The whole model card is model_card.md.",
    ]
    text = "\n\n".join(line for line in lines if line)
    if len(text) <= MAX_SHORT_CHARS:
        return text
    return "\n\n".join(line for line in (*lines[:2], *lines[3:]) if line)[:MAX_SHORT_CHARS]


# --- sections ---------------------------------------------------------------------------------------------------------


def details(record: Record) -> str:
    """What the model is, how it was chosen, and where it came from."""
    git, checkpoint = record["git"], record["checkpoint"]
    dirty = f", with {len(git['changed'])} files changed that were not committed" if git["dirty"] else ""
    tuned = record["study"] is not None
    rows = {
        "system": f"{record['system']}: {first_line(systems.find(record['system'], 'serving').__doc__)}",
        "checkpoint": f"{checkpoint['selected']}, SHA-256 `{checkpoint['sha256']}`",
        "loss weights": "found by a study on validation people" if tuned else "those of params.yaml",
        "chosen by": f"its score on validation people, {record['validation']['score']:.6g}",
        "registered": record["recorded"],
        "commit": f"`{git['commit']}`{dirty}" if git["commit"] else "not known: no git repository",
        "data version": f"`{record['data_digest']}`",
        "seed, precision": f"{record['seed']}, {record['precision'] or 'not recorded'}",
        "torch, machine": f"{record['packages']['torch build']}; {record['machine']['processor']}",
    }
    address = f"{record['system']}@<version>"
    return markdown(["", ""], rows.items()) + f"\n\nEverything else: `python -m stages.lineage {address}`."


def usage(record: Record, version: str) -> str:
    """Python that loads the version and calls it, and what it takes and answers."""
    serving = systems.find(record["system"], "serving")
    told = "\n".join(line.strip() for line in (serving.predict.__doc__ or "").strip().splitlines())
    return f"```python\n{example(record, version)}\n```\n\n{told}"


def example(record: Record, version: str) -> str:
    """The call in Python, with the address of the version."""
    address = f"models:/{record['system']}{'/' if version.isdigit() else '@'}{version}"
    return (
        f'import mlflow\n\nmodel = mlflow.pyfunc.load_model("{address}")  # with MLFLOW_TRACKING_URI set\n'
        'print(model.metadata.metadata["inputs"])  # names, axes and shapes of what it takes\n'
        "answers = model.predict(arrays)  # by name"
    )


def data(record: Record) -> str:
    """The source of the data and the people of each split, by gender and age where the data say so."""
    block = dataset_block(record)
    size = "".join(f", {name.replace('_', ' ')} {block[name]}" for name in ("size_hw", "frame_rate_hz") if name in block)
    lines = [f"`{record['parameters']['dataset']}`: {source_words(record)}{size}.", ""]
    clips = recordings(record)
    if clips is None:
        return "\n".join([*lines, "The data are not on this machine: people are not counted."])
    rows = [split_row(str(name), of_split) for name, of_split in clips.groupby("split", sort=False)]
    bands = [f"age {band_name(band)}" for band in AGE_BANDS]
    columns = ["split", "people", "recordings", "women", "men", "gender unknown", *bands, "age unknown"]
    return "\n".join([*lines, markdown(columns, rows)])


def protocol(record: Record, folder: Path) -> str:
    """Who is compared with whom, in the words of the captions of the results."""
    captions = read_captions(record, folder)
    names = {path.stem for path in tables(record, folder)}
    said = [f"- *{name.replace('_', ' ')}*: {text}" for name, text in captions.items() if name in names]
    head = (
        "Test people are in neither training nor selection. Decisions are fitted to galleries and training people, never to a "
        f"probe. Intervals: {interval_words(record)}."
    )
    return "\n".join([head, *([""] if said else []), *said])


def results(record: Record, folder: Path) -> str:
    """The metrics with intervals, and the tables of the evaluation."""
    metrics, parts = record["metrics"], []
    if named := with_intervals(metrics):
        rows = [
            (name, f"{metrics[name]:.4g}", f"{metrics[f'{name}.low']:.4g} to {metrics[f'{name}.high']:.4g}") for name in named
        ]
        shown = rows[:MAX_ROWS]
        rest = f"\n\n{len(rows) - len(shown)} more are in data/metrics/{record['system']}/all.json." if rows[MAX_ROWS:] else ""
        parts.append(markdown(["metric on test people", "value", "interval"], shown) + rest)
    for path in tables(record, folder):
        if path.stem.endswith("_intervals") or path.stem == SUBGROUP_TABLE:
            continue  # the same as the metrics above; the table of the next section
        table = pd.read_csv(path)
        if len(table) <= MAX_ROWS and len(table.columns) <= MAX_COLUMNS and len(table):
            parts.append(f"**{path.stem.replace('_', ' ')}**\n\n{frame(table)}")
    return "\n\n".join(parts) or "No metrics were recorded."


def subgroups(record: Record, folder: Path) -> str:
    """The results by gender and age band, in which tables those by condition and view are, and by which there are none."""
    read = {path.stem.replace("_", " "): pd.read_csv(path, dtype=str) for path in tables(record, folder)}
    conditions = condition_names(record, list(read.values()))
    lines = []
    for group, names in SUBGROUPS.items():
        there = [
            name
            for name, table in read.items()
            if set(names) & set(table.columns)
            or (name == SUBGROUP_TABLE and group in set(table["group"]))
            or (group == "view" and in_degrees(list(table.columns)))
            or (group == "condition" and "measure" in table and any(ending(each) in conditions for each in table["measure"]))
        ]
        lines.append(f"- by {group}: {'in the tables ' + ', '.join(there) if there else '**not measured**'}")
    unknown = "Where a subgroup is not measured, nothing is known about how well the model works on it."
    return "\n".join([*lines, "", *by_subgroup(folder / record["system"] / "tables" / f"{SUBGROUP_TABLE}.csv"), unknown])


def by_subgroup(path: Path) -> Iterator[str]:
    """The table of subgroups with a column for each measure; nothing where the evaluation has none."""
    if not path.is_file():
        return
    table = pd.read_csv(path)
    cells: dict[tuple[str, str, str], str] = {}
    for row in table.to_dict("records"):
        interval = "" if pd.isna(row["low"]) else f" ({row['low']:.4g} to {row['high']:.4g})"
        cells[row["group"], row["subgroup"], row["measure"]] = f"{row['value']:.4g}{interval}, n = {row['people']}"
    measures = list(dict.fromkeys(table["measure"]))
    pairs = dict.fromkeys(zip(table["group"], table["subgroup"], strict=True))
    rows = [[*pair, *(cells.get((*pair, measure), "") for measure in measures)] for pair in pairs]
    yield f"{markdown(['group', 'subgroup', *measures], rows)}\n\nn: people. Of one person there is no interval.\n"


def condition_names(record: Record, read: Sequence[pd.DataFrame]) -> set[str]:
    """The names of conditions and of probe sets as measures end with them; with a T before it that of a later session."""
    clips = recordings(record)
    plain = {str(name).upper() for name in clips["condition"].unique()} if clips is not None and "condition" in clips else set()
    probes = {str(name) for table in read for column in PROBES if column in table for name in table[column]}
    return plain | probes | {f"T{name}" for name in plain}


def ending(measure: str) -> str:
    """The last part of a measure's name."""
    return str(measure).rpartition(".")[2]


def limits(record: Record) -> Iterator[str]:
    """What a reader may not conclude."""
    source = dataset_block(record).get("source")
    if source in RENDERED:
        yield (
            "- Its people are rendered: figures tell how the method works on renderings, and nothing about how well it works "
            "on people before a camera."
        )
    yield from LIMITS
    clips = recordings(record)
    if clips is not None:
        test = clips.query("split == 'test'")
        yield f"- {people_count(test)} test people."


def consent(record: Record) -> str:
    """Whose data the weights were learned from, and under which terms."""
    terms = TERMS.get(dataset_block(record).get("source", ""), "The source of the data was not recorded; find out its terms.")
    return (
        f"{terms}\n\nGait, faces and photos of people are biometric data where they are used to tell who somebody is (GDPR, "
        "Art. 4(14) and 9). People who are told apart by this model must have agreed: who, what for, until when, and how they "
        "withdraw is in docs/responsible-use.md. Weights learned from recordings of people can tell something about them."
    )


# --- what the sections are made of -----------------------------------------------------------------------------------------


def dataset_block(record: Record) -> dict[str, Any]:
    """The block of the data set in the parameters of the stage that made it; empty where dvc did not run it."""
    name = record["parameters"]["dataset"]
    for entry in record["stages"].values():
        block = (entry.get("params") or {}).get(lineage.PARAMS, {}).get(f"datasets.{name}")
        if block is not None:
            return block
    return (params().get("datasets") or {}).get(name) or {}


def source_words(record: Record) -> str:
    """Where the people in the data are from, in words."""
    source = dataset_block(record).get("source")
    return SOURCES.get(str(source), f"people from the source {source}" if source else "from a source that was not recorded")


def recordings(record: Record) -> pd.DataFrame | None:
    """The table of what the system reads; None where it is not there."""
    path = Path(record["parameters"]["reads"]["frames"])
    return Store.open(path).clips if path.is_dir() else None


def split_row(name: str, clips: pd.DataFrame) -> list[Any]:
    """People and recordings of a split, and its people by gender and age; of pictures of several people they are unknown."""
    subjects, count = clips.drop_duplicates("subject_id"), people_count(clips)
    gender = subjects["gender"].to_numpy(object) if "gender" in clips else np.full(len(subjects), None)
    age = subjects["age_years"].to_numpy(float) if "age_years" in clips else np.full(len(subjects), np.nan)
    counts = [int((gender == value).sum()) for value in ("female", "male")]
    bands = [int(((age >= low) & (age < high)).sum()) for low, high in AGE_BANDS]
    return [name, count, len(clips), *counts, count - sum(counts), *bands, count - sum(bands)]


def people_count(clips: pd.DataFrame) -> int:
    """How many people are in recordings: subjects, or those in pictures of several people."""
    if "person_count" in clips:
        return int(np.nansum(clips["person_count"].to_numpy(float)))
    return len(np.unique(clips["subject_id"].to_numpy(str)))


def tables(record: Record, folder: Path) -> list[Path]:
    """The tables that `evaluate` has written for the system."""
    return sorted((folder / record["system"] / "tables").glob("*.csv"))


def read_captions(record: Record, folder: Path) -> dict[str, str]:
    """The captions of tables, curves and pictures by their names."""
    path = folder / record["system"] / "captions.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def in_degrees(columns: Sequence[str]) -> bool:
    """Whether columns are views."""
    return any(str(column).endswith("°") for column in columns)


def interval_words(record: Record) -> str:
    """How intervals were computed, by the settings of the score."""
    settings = record["parameters"]["score"].get("bootstrap")
    if not settings:
        return "none"
    return f"{settings['confidence']:.0%}, {settings['resamples']} bootstrap resamples of the test people"


def with_intervals(metrics: Mapping[str, float]) -> list[str]:
    """The names of the metrics that have an interval."""
    return [name for name in metrics if f"{name}.low" in metrics and f"{name}.high" in metrics]


def with_interval(metrics: Mapping[str, float], name: str) -> str:
    """A metric, with its interval where it has one."""
    if f"{name}.low" not in metrics:
        return f"{metrics[name]:.4g}"
    return f"{metrics[name]:.4g} ({metrics[f'{name}.low']:.4g} to {metrics[f'{name}.high']:.4g})"


def frame(table: pd.DataFrame) -> str:
    """A table of pandas as Markdown; a missing value is an empty cell."""
    rows = ([cell(value) for value in row] for row in table.itertuples(index=False, name=None))
    return markdown([str(column) for column in table.columns], rows)


def cell(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4g}"
    return str(value)


def markdown(columns: Sequence[str], rows: Any) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(value).replace("|", "\\|") for value in line) + " |" for line in lines)


def first_line(text: str | None) -> str:
    """The first line of a docstring."""
    return (text or "").strip().partition("\n")[0]
