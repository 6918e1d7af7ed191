"""A measure by gender and by age band of the test people, with bootstrap intervals over the people of each subgroup.

Every system writes one table, `TABLE`, with a row for each measure and subgroup. A person whose label is not known belongs to
the subgroup `UNKNOWN`, so that the subgroups of a kind are a partition: the mean of their values, weighted by recordings, is
the value of everybody. A kind of which no label at all is known is left out.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num, Shaped

from people.age_bands import AGE_BANDS, band_name
from people.config import Block
from people.evaluation import bootstrap, crossview, finite
from people.evaluation.crossview import CrossViewRanks
from people.evaluation.results import Results
from people.records import ATTRIBUTES, GENDERS

TABLE = "subgroups"
GENDER, AGE_BAND, EVERYBODY = "gender", "age band", "everybody"  # the kinds of subgroups
UNKNOWN = "unknown"
Labels = Shaped[np.ndarray, " recording"]  # names of subgroups
COLUMNS = ("measure", "group", "subgroup", "people", "recordings", "value", "low", "high")


def record(
    results: Results,
    measure: str,
    subjects: Shaped[np.ndarray, " recording"],
    values: Num[np.ndarray, " recording"] | Bool[np.ndarray, " recording"],
    clips: pd.DataFrame,
    resampling: Block,
) -> None:
    """Add the rows of a measure to the results' table of subgroups; without any known label there is none to add."""
    rows = by_subgroup(measure, subjects, values, clips, resampling)
    if len(rows):
        parts = [results.tables[TABLE], rows] if TABLE in results.tables else [rows]
        results.tables[TABLE] = pd.concat(parts, ignore_index=True)


def record_across_views(
    results: Results, measure: str, probe_sets: Sequence[CrossViewRanks], clips: pd.DataFrame, resampling: Block
) -> None:
    """Rank-1 over the probes of all sets: of a probe the mean over its galleries; probes without any are left out.

    Every probe counts once. The papers average over probe views first, so that theirs differs where views have unequally many.
    """
    subjects = np.concatenate([ranks.subject for ranks in probe_sets])
    values = np.concatenate([crossview.row_nan_means(ranks.hits_within(1)) for ranks in probe_sets])
    is_compared = ~np.isnan(values)
    record(results, measure, subjects[is_compared], values[is_compared], clips, resampling)


def by_subgroup(
    measure: str,
    subjects: Shaped[np.ndarray, " recording"],
    values: Num[np.ndarray, " recording"] | Bool[np.ndarray, " recording"],
    clips: pd.DataFrame,
    resampling: Block,
) -> pd.DataFrame:
    """The mean of `values` over everybody's recordings, then over those of each gender and age band; columns `COLUMNS`.

    `values`: of each recording (a probe) 1 if it is right and 0 if not, a share of comparisons that are right, or an error;
    `subjects`: whose it is. Every recording counts once. Labels are those of the subjects in the index `clips`.
    `resampling`: resamples, confidence and seed of the bootstrap. Of fewer than two people there is no interval (NaN).
    """
    numbers = values.astype(float)
    finite.check(f"the values of {measure!r}", numbers)
    if not len(numbers):
        return pd.DataFrame(columns=pd.Index(COLUMNS))
    partitions = list(_partitions(subjects, clips))
    everybody = [(EVERYBODY, np.full(len(subjects), EVERYBODY, dtype=object), (EVERYBODY,))] if partitions else []
    rows = []
    for group, names, order in [*everybody, *partitions]:
        for subgroup in order:
            if (is_member := names == subgroup).any():
                of_subgroup = _row(subjects[is_member], numbers[is_member], resampling)
                rows.append({"measure": measure, "group": group, "subgroup": subgroup, **of_subgroup})
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def genders(people: pd.DataFrame) -> Labels:
    """The gender of each row of an index, `UNKNOWN` where it is not known."""
    return _known(people, "gender", GENDERS)


def age_bands(people: pd.DataFrame) -> Labels:
    """The age band of each row of an index by `age_years`, else the class of the attribute `age`, else `UNKNOWN`."""
    names = _known(people, "age", ATTRIBUTES["age"])
    if "age_years" in people:
        ages_years = people["age_years"].to_numpy(float)
        for low, high in AGE_BANDS:
            names[(ages_years >= low) & (ages_years < high)] = band_name((low, high))
    return names


def _partitions(
    subjects: Shaped[np.ndarray, " recording"], clips: pd.DataFrame
) -> Iterator[tuple[str, Labels, tuple[str, ...]]]:
    """Kinds with a known label: the name, each recording's subgroup, and the subgroups' order."""
    people = clips.drop_duplicates("subject_id").set_index("subject_id").loc[subjects]
    bands = (*map(band_name, AGE_BANDS), *ATTRIBUTES["age"])
    for group, names, order in ((GENDER, genders(people), GENDERS), (AGE_BAND, age_bands(people), bands)):
        if (names != UNKNOWN).any():
            yield group, names, (*order, UNKNOWN)


def _known(people: pd.DataFrame, column: str, classes: tuple[str, ...]) -> Labels:
    values = people[column].to_list() if column in people else [None] * len(people)
    return np.array([value if value in classes else UNKNOWN for value in values], dtype=object)


def _row(
    subjects: Shaped[np.ndarray, " recording"], values: Float[np.ndarray, " recording"], resampling: Block
) -> dict[str, int | float]:
    """The mean over recordings and its interval over people, from each person's sum and number of recordings."""
    people, codes = np.unique(subjects, return_inverse=True)
    sums, counts = np.bincount(codes, values), np.bincount(codes)
    estimated = bootstrap.estimate(lambda weights: float(weights @ sums / (weights @ counts)), people, **resampling)
    if len(people) < 2:
        estimated = estimated._replace(low=float("nan"), high=float("nan"))
    return {"people": len(people), "recordings": len(values), **estimated._asdict()}
