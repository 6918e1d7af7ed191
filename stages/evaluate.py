"""Judge one system on its test subjects: the better of the trained and the best tuned checkpoint, by validation score.

    python -m stages.evaluate dmt

writes data/metrics/<system>.json and data/metrics/<system>/: tables/, curves/, pictures/, animations/, captions.json and
selected.json (which checkpoint was judged, and why).
"""

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

import cv2
import torch

from people import checkpoints, datasets, systems
from people.config import build
from people.evaluation.results import Results
from people.storage import file_digest
from stages.shared.project import output, params

FRAME_MS = 100  # how long a picture of an animation is shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", help="one of the systems in params.yaml")
    system = parser.parse_args().system
    selected = select(
        {"trained": Path("data/models", system, "checkpoint.pt"), "tuned": Path("data/studies", system, "checkpoint.pt")}
    )
    network, checkpoint = checkpoints.load(Path(selected["checkpoint"]))
    data, score = systems.find(system, "data"), systems.find(system, "score")
    results = score.evaluate(
        network.to(device()),
        checkpoint["spec"],
        checkpoint["statistics"],
        {slot: Path(path) for slot, path in params("systems", system, "reads").items()},
        build(data.Config, checkpoint["config"]["data"]),
        build(score.Config, params("systems", system, "score")),
        datasets.find(params("systems", system, "dataset")),
        params("seed"),
    )
    refuse_undefined(system, results.metrics)
    with output(Path("data/metrics", system)) as folder:
        write(folder, results, selected)
    with output(Path("data/metrics", f"{system}.json")) as file:
        file.write_text(as_json(results.metrics))
    print(f"{system}: the {selected['selected']} checkpoint, validation score {selected['validation_score']:.4f}")
    for name, table in results.tables.items():
        print(
            f"\n{name.replace('_', ' ')}\n{table.to_string(index=False, na_rep='', float_format=lambda value: f'{value:.4g}')}"
        )


def select(candidates: dict[str, Path]) -> dict[str, Any]:
    """The candidate with the highest score on validation subjects; of equals the first."""
    scores = {name: float(checkpoints.read(path)["validation"]["score"]) for name, path in candidates.items()}
    if undefined := [name for name, score in scores.items() if not math.isfinite(score)]:
        raise ValueError(f"a validation score must be a finite number, got {scores}: train {' and '.join(undefined)} again")
    best = max(scores, key=lambda name: scores[name])
    path = candidates[best]
    return {
        "selected": best,
        "checkpoint": path.as_posix(),
        "sha256": file_digest(path),
        "validation_score": scores[best],
        "validation_scores": scores,
    }


def refuse_undefined(system: str, metrics: dict[str, float]) -> None:
    """An error that names the metrics that are NaN or infinite: JSON has no such numbers, and no metric may be one."""
    if undefined := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise ValueError(
            f"{system}: {len(undefined)} of {len(metrics)} metrics are not defined on this split, such as "
            f"{', '.join(undefined[:3])}: expected finite numbers; give the split more people, clips and labels"
        )


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
    (folder / "captions.json").write_text(as_json(results.captions))
    (folder / "selected.json").write_text(as_json(selected))


def as_json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


if __name__ == "__main__":
    main()
