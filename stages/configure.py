"""Change params.yaml by name, keeping its comments: a profile of values laid over it, or single values.

python -m stages.configure --profile paper
python -m stages.configure --profile real --set datasets.tumgaid.archive=/data/kinect-gait.tar.xz
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from stages.common import PARAMS

PROFILES = Path(__file__).parent / "profiles"


def main() -> None:
    profiles = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", action="append", default=[], choices=profiles, help="a set of values in stages/profiles/")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one value, e.g. systems.dmt.training.epochs=30"
    )
    arguments = parser.parse_args()
    changes = [change for name in arguments.profile for change in leaves(YAML(typ="safe").load(PROFILES / f"{name}.yaml"))]
    changes += [parse(text) for text in arguments.set]
    for line in configure(PARAMS, changes):
        print(line)


def parse(text: str) -> tuple[tuple[str, ...], Any]:
    """`a.b=1e-3` as the key (`a`, `b`) and the number."""
    key, separator, value = text.partition("=")
    if not separator:
        raise SystemExit(f"--set wants KEY=VALUE, got {text!r}; for example systems.dmt.training.epochs=30")
    return tuple(key.split(".")), YAML(typ="safe").load(value)


def leaves(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a nested mapping with the keys that lead to it."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def configure(path: Path, changes: list[tuple[tuple[str, ...], Any]]) -> list[str]:
    """Write the changes to the file at once, and only if every key exists; the lines say what was changed."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    document = yaml.load(path)
    lines = []
    for key, value in changes:
        block = document
        for depth, part in enumerate(key):
            if not isinstance(block, dict) or part not in block:
                there = ", ".join(block) if isinstance(block, dict) else "no block"
                raise SystemExit(
                    f"{path} has no {'.'.join(key[: depth + 1])}; at that place there is {there}. Nothing was changed."
                )
            if depth < len(key) - 1:
                block = block[part]
        if block[key[-1]] != value:
            lines.append(f"{'.'.join(key)}: {block[key[-1]]} -> {value}")
            block[key[-1]] = on_one_line(value)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        yaml.dump(document, file)
    os.replace(partial, path)
    return lines or ["nothing to change"]


def on_one_line(value: Any) -> Any:
    """Lists as params.yaml writes them."""
    if not isinstance(value, list):
        return value
    line = CommentedSeq(value)
    line.fa.set_flow_style()
    return line


if __name__ == "__main__":
    main()
