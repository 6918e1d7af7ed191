"""Checks a dataset's index against its schema, its rules and its files; faulty clips go to a quarantine table.

python -m stages.validate tumgaid
"""

import json
import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from people import datasets, schemas
from stages.shared.executors import pool
from stages.shared.project import output, params, state

MAX_LISTED = 20
RULES = {  # by the name of their limits in params.yaml, where a dataset sets those that apply to it
    "age_years": lambda years: schemas.ages_within(*years),
    "min_frames": schemas.at_least_frames,
}


def main(key: str) -> None:
    dataset, limits = datasets.find(key), params("validate", key)
    rules = [rule(limits[name]) for name, rule in RULES.items() if name in limits]
    if unknown := sorted(set(limits) - {*RULES, "max_bad_share"}):
        raise ValueError(f"validate.{key}.{unknown[0]} is no rule: there are {', '.join(RULES)}; correct params.yaml")
    clips = schemas.load(Path("data/index", key, "clips.csv"))
    with pool() as (executor, _), tqdm(total=len(clips), desc=f"validating {key}", unit="clip", mininterval=1.0) as bar:
        good, quarantine = schemas.check(clips, *rules, schemas.decodable(dataset.frames, executor, done=bar.update))
    bad_share = len(set(quarantine["clip_id"])) / len(set(clips["clip_id"]))
    if bad_share > limits["max_bad_share"] or good.empty:
        fail(key, quarantine, bad_share, limits["max_bad_share"])
    with output(Path("data/valid", key)) as folder:
        folder.mkdir()
        good.to_csv(folder / "clips.csv", index=False)
        quarantine.to_csv(folder / "quarantine.csv", index=False)
        (folder / "summary.json").write_text(json.dumps(schemas.summary(clips, good, quarantine), indent=1) + "\n")
    print(f"{key}: {len(good)} valid clips in data/valid/{key}/clips.csv, {len(clips) - len(good)} in quarantine")


def fail(key: str, quarantine: pd.DataFrame, bad_share: float, max_bad_share: float) -> None:
    """Exit with the faults in words; the table is kept in the state folder, as a failed stage has no outputs."""
    table = state("quarantine", f"{key}.csv")
    quarantine.to_csv(table, index=False)
    rows = quarantine.to_dict("records")
    lines = ["  {clip_id}: {rule}; {column} is {value}; {remedy}".format(**row) for row in rows[:MAX_LISTED]]
    more = [f"  ... and {len(rows) - MAX_LISTED} more"] if len(rows) > MAX_LISTED else []
    limit = f"validate.{key}.max_bad_share allows {max_bad_share:.1%}"
    title = f"{key}: {bad_share:.1%} of the clips are bad, {limit}; all are in {table}:"
    raise SystemExit("\n".join([title, *lines, *more]))


if __name__ == "__main__":
    main(sys.argv[1])
