"""The blocks of params.yaml whose keys dvc.yaml puts into commands of a shell."""

from pathlib import Path

from ruamel.yaml import YAML


def foreach_blocks(stages: Path) -> list[str]:
    """The blocks by whose keys the stages of a dvc.yaml are named."""
    content = YAML(typ="safe", pure=True).load(stages)["stages"]
    return sorted({stage["foreach"].removeprefix("${").removesuffix("}") for stage in content.values() if "foreach" in stage})
