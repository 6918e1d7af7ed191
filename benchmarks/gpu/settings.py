"""The systems' settings as plain data, so that the benchmark needs no parser of YAML: benchmarks/gpu/settings.json.

python -m benchmarks.gpu.settings        writes the file again, after params.yaml or a profile has changed

"paper" are the sizes of the papers (params.yaml under the profile paper), "tiny" those of the profile small.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("settings.json")
PROFILES = {"paper": "paper", "tiny": "small"}
PARTS = ("data", "model", "objective", "training")
SIZE_KEYS = {
    "tumgaid": "flow",
    "casiab": "silhouettes",
    "market1501": "crops",
    "fvg": "foregrounds",
    "coco": "scenes",
}  # the stage whose frames a system reads


def load(size: str) -> dict[str, Any]:
    """By system its blocks data, model, objective and training, `stored_size_hw` of a frame, and `subjects` to train on."""
    return json.loads(FILE.read_text())[size]


def written() -> str:
    """What the file should hold, from params.yaml and the profiles; needs the packages of the stages."""
    return json.dumps({size: of_profile(name) for size, name in PROFILES.items()}, indent=1) + "\n"


def of_profile(profile: str) -> dict[str, Any]:
    from ruamel.yaml import YAML

    from stages.configure import PROFILES as FOLDER
    from stages.configure import configure, leaves
    from stages.shared.project import PARAMS

    yaml = YAML(typ="safe", pure=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        shutil.copy(PARAMS, path)
        configure(path, list(leaves(YAML(typ="safe").load(FOLDER / f"{profile}.yaml"))))
        params = yaml.load(path)
    return {name: of_system(block, params) for name, block in params["systems"].items()}


def of_system(block: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """One system's blocks; trained weights that a network would start from are left out: there is no internet to be had."""
    dataset = block["dataset"]
    parts = {part: dict(block[part]) for part in PARTS}
    if "weights" in parts["model"]:
        parts["model"]["weights"] = ""
    facts = {
        "dataset": dataset,
        "stored_size_hw": params[SIZE_KEYS[dataset]][dataset]["size_hw"],
        "subjects": params["datasets"][dataset]["subjects"]["train"],
    }
    return {**facts, **parts}


if __name__ == "__main__":
    FILE.write_text(written())
    print(f"wrote {FILE}")
