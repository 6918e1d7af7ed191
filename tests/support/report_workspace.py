"""Outputs of the stages before the report, made up: a workspace in which the report of `reid` can be written in a second."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from conftest import ROOT
from ruamel.yaml import YAML

from people.evaluation.results import Results
from people.layouts import image_files
from stages import compare, evaluate
from stages.shared.variants import read_variants

SYSTEM, DATASET = "reid", "market1501"
HEADLINE: list[dict[str, Any]] = [
    {
        "name": "map", "title": "mAP", "value": 0.854, "low": 0.75, "high": 0.95, "baseline": 0.5,
        "baseline_title": "nearest colour histogram", "unit": "%", "better": "higher",
    },
    {
        "name": "age_mae", "title": "Age, mean error", "value": 9.6, "low": 8.0, "high": 13.5, "baseline": 13.2,
        "baseline_title": "mean age", "unit": "years", "better": "lower",
    },
]  # fmt: skip


def write(folder: Path) -> Path:
    """Fill a folder with params.yaml, profiles and the outputs that the report of SYSTEM reads."""
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "stages/profiles", folder / "stages/profiles")
    data = folder / "data"
    for name in (f"valid/{DATASET}", f"models/{SYSTEM}", f"compare/{SYSTEM}", f"studies/{SYSTEM}", "registry"):
        (data / name).mkdir(parents=True)
    photos(data / "valid" / DATASET)
    (data / "valid" / DATASET / "quarantine.csv").write_text("clip_id,fault\n")
    model(data / "models" / SYSTEM)
    variants(data / "compare" / SYSTEM)
    study(data / "studies" / SYSTEM)
    evaluate.write(data / "metrics" / SYSTEM, results(), {"selected": "trained", "validation_score": -0.5})
    (data / "metrics" / SYSTEM / "headline.json").write_text(json.dumps(HEADLINE))
    all_metrics = {"retrieval.map": 0.8541234567890123, "retrieval.map.low": 0.75, "retrieval.map.high": 0.95, "photos": 12.0}
    (data / "metrics" / SYSTEM / "all.json").write_text(json.dumps(all_metrics))
    entry = {"model": SYSTEM, "version": "3", "run_id": "run", "champion_version": "2", "why": "within noise", "new": True}
    (data / "registry" / f"{SYSTEM}.json").write_text(json.dumps(entry))
    return folder


def photos(folder: Path, split: str = "test") -> Path:
    """An index of photos: one person by three cameras, twice by the first, another by one; and a piece of junk."""
    rows = []
    for number, (subject, kind, camera) in enumerate(
        [("0002", "person", 3), ("0002", "person", 1), ("0002", "person", 1), ("0002", "person", 2), ("0007", "person", 1),
         ("junk-test", "junk", 5)]
    ):  # fmt: skip
        image = np.full((128, 64, 3), 40 * number, np.uint8)
        name = f"photo-{number}.jpg"
        (folder / name).write_bytes(image_files.encode_jpeg(image, 95))
        rows.append({
            "dataset": DATASET, "clip_id": name, "subject_id": subject, "split": split, "condition": kind, "session": 0,
            "frames": name, "frame_count": 1, "root": str(folder), "kind": kind, "camera": camera, "gender": "female",
            "age_years": np.nan,
        })  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "clips.csv", index=False)
    return folder


def model(folder: Path) -> None:
    """A history of three epochs and its summary."""
    history = {
        "epoch": [1, 2, 3], "train/identity": [1.0, 0.5, 0.4], "train/total": [9.0, 8.0, 7.0],
        "lambda/identity": [0.5, 0.7, 0.9],
        "train_error/identity": [0.6, 0.4, 0.2], "error/identity": [0.5, 0.45, 0.47],
    }  # fmt: skip
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    summary = {"epochs": 3, "best_epoch": 2, "parameters": 11853, "precision": "32-true"}
    (folder / "summary.json").write_text(json.dumps(summary))


def variants(folder: Path) -> None:
    """Two seeds of two variants over three epochs."""
    rows = [
        (name, seed, epoch, level / epoch + 0.01 * seed)
        for name, level in (("plain_sum", 0.6), ("all", 0.5))
        for seed in (1, 2)
        for epoch in (1, 2, 3)
    ]
    curves = pd.DataFrame(rows, columns=pd.Index(["variant", "seed", "epoch", "error_identity"]))
    curves.to_csv(folder / "curves.csv", index=False)
    compare.areas(curves).to_csv(folder / "areas.csv", index=False)
    (folder / "variants.json").write_text(json.dumps(read_variants(SYSTEM)))


def study(folder: Path, trials: int = 24) -> None:
    """A study of two objectives with enough trials for every figure; the fourth is pruned."""
    number = np.arange(trials)
    table = pd.DataFrame(
        {
            "number": number, "state": np.where(number == 3, "pruned", "complete"),
            "weights": np.where(number == 0, "params.yaml", None), "weighting": "fixed",
            "lambda.attributes": 0.05 * 1.3**number, "margin.identity": 0.3 + 0.02 * (number % 7), "epochs": 2,
            "identity": 0.5 + 0.01 * (number % 5), "attributes": 0.6 - 0.01 * (number % 4), "merit": -0.5 - 0.01 * (number % 6),
            "front": number < 2, "chosen": number == 1,
        }
    )  # fmt: skip
    table.to_csv(folder / "trials.csv", index=False)
    importance = pd.DataFrame({"parameter": ["lambda.attributes", "margin.identity"], "importance": [0.7, 0.3]})
    importance.to_csv(folder / "importance.csv", index=False)
    columns = ["weights", "seed", "folder", "epochs", "best_epoch", "sha256", "score"]
    pd.DataFrame([["found", 1, "found-seed1", 3, 2, "f" * 64, -0.4]], columns=pd.Index(columns)).to_csv(
        folder / "finals.csv", index=False
    )
    (folder / "params.patch").write_text(
        "--- a/params.yaml\n+++ b/params.yaml\n@@ -1 +1 @@\n-attributes: 1.0\n+attributes: 0.1\n"
    )
    best = {
        "trial": 1,
        "weights": "proposed by tpe",
        "values": {"identity": 0.51},
        "objective": {"lambda": {"attributes": 0.1}},
    }
    with (folder / "best.yaml").open("w") as file:
        YAML().dump(best, file)


def results() -> Results:
    """A table beside the paper, intervals, subgroups, curves, a gallery, and an animation."""
    shade = np.linspace(0, 255, 60 * 90).reshape(60, 90, 1).repeat(3, 2).astype(np.uint8)
    return Results(
        metrics={},
        tables={
            "retrieval": pd.DataFrame(
                {"method": ["reid", "colours", "paper's"], "source": ["ours", "baseline", "paper"], "mAP": [85.41, 50.0, 69.93],
                 "rank-1": [100.0, 9.5, np.nan], "nothing": [np.nan] * 3}
            ),
            "retrieval_intervals": pd.DataFrame(
                {"measure": ["map.official", "rank_1.official"], "value": [0.8541234, 0.5], "low": [0.75, np.nan],
                 "high": [0.95, np.nan], "baseline": [0.5, 0.25], "queries": [12, 12]}
            ),
            "subgroups": pd.DataFrame(
                {"measure": "rank-1", "group": ["everybody", "gender", "gender"], "subgroup": ["everybody", "female", "male"],
                 "people": [3, 2, 1], "recordings": [6, 4, 2], "value": [0.5, 0.75, 0.0], "low": [0.2, 0.4, np.nan],
                 "high": [0.8, 1.0, np.nan]}
            ),
        },
        curves={"roc": pd.DataFrame({"method": ["ours"] * 3 + ["gei"] * 3, "x": [0, 0.5, 1] * 2, "y": [0, 0.9, 1, 0, 0.4, 1]})},
        pictures={"wrong_answers": shade, "filters": cv2.flip(shade, 0)},
        animations={"walks": np.stack([np.roll(shade, 12 * step, axis=0) for step in range(5)])},
        captions={"title": "A title of reid", "question": "Who is it?", "retrieval": "Retrieval in %.", "walks": "Walks."},
    )  # fmt: skip
