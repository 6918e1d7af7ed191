"""Judge one system on its test subjects: trained with params.yaml's weights or with found ones, by validation score.

    python -m stages.evaluate dmt

writes data/metrics/<system>.json, the headline figures that DVC shows, and data/metrics/<system>/: all.json (every metric),
headline.json (the headline figures with titles, intervals and baselines), tables/, curves/, pictures/, animations/,
captions.json and selected.json (which checkpoint was judged, and why). data/plots/<system>/headline.csv and ranking/ are what
`dvc plots show` draws. Where the search has trained several weights to the end,
all of them are judged for the tables `weights`.
"""

import argparse
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from people import checkpoints, datasets, systems
from people.config import build
from people.evaluation.headline import Entry
from people.evaluation.results import Results
from people.storage import file_digest
from stages.search.settings import SCORE, Search, merit
from stages.shared import weights_comparison
from stages.shared.project import ERROR, output, params
from stages.shared.weights_comparison import FOUND, PARAMS

FRAME_MS = 100  # how long a picture of an animation is shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", help="one of the systems in params.yaml")
    system = parser.parse_args().system
    seed = params("seed")
    selected = select(system, seed)
    results = judge(system, Path(selected["checkpoint"]), seed)
    refuse_undefined(system, results.metrics)
    tables, captions = compare_weights(system, seed, {selected["checkpoint"]: results.metrics})
    results = replace(results, tables=results.tables | tables, captions=results.captions | captions)
    headline = systems.find(system, "score").headline_figures(results.metrics)
    with output(Path("data/metrics", system)) as folder:
        write(folder, results, selected)
        (folder / "headline.json").write_text(as_json(headline))
    with output(Path("data/metrics", f"{system}.json")) as file:
        file.write_text(as_json(shown(headline)))
    with output(Path("data/plots", system, "headline.csv")) as file:
        bars(headline).to_csv(file, index=False)
    with output(Path("data/plots", system, "ranking")) as folder:
        folder.mkdir()
        for name, ranks in rank_curves(results.curves).items():
            ranks.to_csv(folder / f"{name}.csv", index=False)
    print(f"{system}: the {selected['selected']} checkpoint, validation score {selected['validation_score']:.4f}")
    for name, table in results.tables.items():
        print(
            f"\n{name.replace('_', ' ')}\n{table.to_string(index=False, na_rep='', float_format=lambda value: f'{value:.4g}')}"
        )


def judge(system: str, path: Path, seed: int) -> Results:
    """The results of a checkpoint under the dataset's protocol, on its test people."""
    network, checkpoint = checkpoints.load(path)
    data, score = systems.find(system, "data"), systems.find(system, "score")
    return score.evaluate(
        network.to(device()),
        checkpoint["spec"],
        checkpoint["statistics"],
        {slot: Path(path) for slot, path in params("systems", system, "reads").items()},
        build(data.Config, checkpoint["config"]["data"]),
        build(score.Config, params("score", system)),
        datasets.find(params("systems", system, "dataset")),
        seed,
    )


def select(system: str, seed: int) -> dict[str, Any]:
    """The network of the stage train, or that of found weights trained from the same seed where those have the higher merit.

    The merit is that of the search, of validation people: the mean over all seeds from which both were trained to the end.
    """
    folder, search = Path("data/studies", system), build(Search, params("search", system))
    finals = pd.read_csv(folder / "finals.csv")
    paths = {"trained": Path("data/models", system, "checkpoint.pt")}
    found = folder / "finals" / f"{FOUND}-seed{seed}" / "checkpoint.pt"
    if found.is_file():
        paths["tuned"] = found
    weights = {name: {"trained": PARAMS, "tuned": FOUND}[name] for name in paths}
    seeds = set.intersection(*(set(finals.loc[finals["weights"] == whose, "seed"]) for whose in weights.values())) - {seed}
    merits, scores = {}, {}
    for name, path in paths.items():
        validation = checkpoints.read(path)["validation"]
        scores[name] = float(validation["score"])
        others = finals[(finals["weights"] == weights[name]) & finals["seed"].isin(sorted(seeds))]
        rows = [{SCORE: scores[name], **{f"{ERROR}{error}": value for error, value in validation["errors"].items()}}]
        rows += [dict(zip(others.columns, row, strict=True)) for row in others.itertuples(index=False)]
        merits[name] = float(np.mean([merit(search, row) for row in rows]))
    if undefined := [name for name, score in scores.items() if not math.isfinite(score)]:
        raise ValueError(f"a validation score must be a finite number, got {scores}: train {' and '.join(undefined)} again")
    best = max(merits, key=lambda name: merits[name])
    return {
        "selected": best,
        "checkpoint": paths[best].as_posix(),
        "sha256": file_digest(paths[best]),
        "validation_score": scores[best],
        "validation_scores": scores,
        "merits": merits,
    }


def compare_weights(system: str, seed: int, known: dict[str, dict[str, float]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Tables of all final trainings on test people beside the network of the stage train, and their captions.

    Nothing where the search has trained no weights from several seeds and no others than it found. `known`: metrics by the path
    of a checkpoint that was judged already.
    """
    folder, score = Path("data/studies", system), systems.find(system, "score")
    finals = pd.read_csv(folder / "finals.csv")
    if len(finals) < 2:
        return {}, {}
    paths = [(PARAMS, seed, Path("data/models", system, "checkpoint.pt"))]
    paths += [
        (str(row["weights"]), int(row["seed"]), folder / "finals" / row["folder"] / "checkpoint.pt")
        for row in finals.to_dict("records")
    ]
    rows = []
    for weights, one, path in tqdm(paths, desc=f"{system}: weights on test people", mininterval=1.0):
        metrics = known.get(path.as_posix()) or judge(system, path, seed).metrics
        rows.append((weights, one, float(checkpoints.read(path)["validation"]["score"]), metrics))
    runs = weights_comparison.runs_table(rows, score.COLUMNS)
    tables = {
        weights_comparison.MEANS: weights_comparison.means(runs),
        weights_comparison.DIFFERENCES: weights_comparison.differences(runs, score.COLUMNS, score.LOWER_IS_BETTER),
        weights_comparison.RUNS: runs,
    }
    return tables, weights_comparison.CAPTIONS


def refuse_undefined(system: str, metrics: dict[str, float]) -> None:
    """An error that names the metrics that are NaN or infinite: JSON has no such numbers, and no metric may be one."""
    if undefined := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise ValueError(
            f"{system}: {len(undefined)} of {len(metrics)} metrics are not defined on this split, such as "
            f"{', '.join(undefined[:3])}: expected finite numbers; give the split more people, clips and labels"
        )


def shown(headline: Sequence[Entry]) -> dict[str, dict[str, float]]:
    """What `dvc metrics show` prints: of each headline figure the value, and the baseline where there is one."""
    return {
        entry["name"]: {"value": entry["value"]} | ({} if entry["baseline"] is None else {"baseline": entry["baseline"]})
        for entry in headline
    }


def bars(headline: Sequence[Entry]) -> pd.DataFrame:
    """The headline figures as DVC draws them: panel, series (ours, or the baseline where there is one), value, low and high."""
    rows = []
    for entry in headline:
        factor, unit = (100, "%") if entry["unit"] == "%" else (1, entry["unit"])
        panel = f"{entry['title']}, {unit}" if unit else entry["title"]
        numbers = {"value": entry["value"], "low": entry["low"], "high": entry["high"]}
        ours = {name: None if number is None else factor * number for name, number in numbers.items()}
        rows.append({"panel": panel, "series": "ours", **ours})
        if entry["baseline"] is not None:
            rows.append({"panel": panel, "series": "baseline", "value": factor * entry["baseline"]})
    return pd.DataFrame(rows, columns=["panel", "series", "value", "low", "high"])


def rank_curves(curves: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The curves of cumulative match among these as DVC draws them: panel, series, rank and value."""
    columns = ["panel", "series", "rank", "value"]
    return {
        name: pd.DataFrame(curve.melt("rank", var_name="series").assign(panel=name.replace("_", " ")), columns=columns)
        for name, curve in curves.items()
        if "rank" in curve
    }


def device() -> torch.device:
    """A GPU where there is one, told to compute the same every time; a CPU does by itself."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    return torch.device("cuda")


def write(folder: Path, results: Results, selected: dict[str, Any]) -> None:
    for name in ("tables", "curves", "pictures", "animations"):
        (folder / name).mkdir(parents=True)
    for name, table in results.tables.items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)
    for name, curve in results.curves.items():
        curve.to_csv(folder / "curves" / f"{name}.csv", index=False)
    for name, picture in results.pictures.items():
        _, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        (folder / "pictures" / f"{name}.png").write_bytes(png.tobytes())
    for name, frames in results.animations.items():
        animation = cv2.Animation()
        animation.frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames]
        animation.durations = [FRAME_MS] * len(frames)
        _, webp = cv2.imencodeanimation(".webp", animation)
        (folder / "animations" / f"{name}.webp").write_bytes(webp.tobytes())
    (folder / "all.json").write_text(as_json(results.metrics))
    (folder / "captions.json").write_text(as_json(results.captions))
    (folder / "selected.json").write_text(as_json(selected))


def as_json(values: Any) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


if __name__ == "__main__":
    main()
