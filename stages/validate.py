"""Checks a dataset's index against its schema, its rules and its files; faulty clips go to a quarantine table.

python -m stages.validate tumgaid
"""

import json
from pathlib import Path

from tqdm import tqdm

from people import datasets, schemas
from stages.shared.executors import pool
from stages.shared.project import argument, output, params
from stages.shared.quarantine import fail_beyond

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
        if "people" in clips:
            rules.append(schemas.labelled(dataset.people, executor))
        good, quarantine = schemas.check(clips, *rules, schemas.decodable(dataset.frames, executor, done=bar.update))
    fail_beyond(limits["max_bad_share"], key, key, quarantine, clips["clip_id"])
    with output(Path("data/valid", key)) as folder:
        folder.mkdir()
        good.to_csv(folder / "clips.csv", index=False)
        quarantine.to_csv(folder / "quarantine.csv", index=False)
        (folder / "summary.json").write_text(json.dumps(schemas.summary(clips, good, quarantine), indent=1) + "\n")
    print(f"{key}: {len(good)} valid clips in data/valid/{key}/clips.csv, {len(clips) - len(good)} in quarantine")


if __name__ == "__main__":
    main(argument("dataset", __doc__))
