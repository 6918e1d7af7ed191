"""Change params.yaml by name, keeping its comments: a profile of values laid over it, or single values.

What does not exist is refused, but for the whole block of a dataset that people/datasets has: a profile adds it below `add`.

python -m stages.configure --profile paper
python -m stages.configure --profile real --set datasets.tumgaid.archive=/data/kinect-gait.tar.xz
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter

from people import datasets
from stages.shared.project import PARAMS

PROFILES = Path(__file__).parent / "profiles"
BLOCKS_PER_DATASET = ("datasets", "validate", "flow", "silhouettes", "poses", "crops")

Change = tuple[tuple[str, ...], Any]

# Keys of earlier releases (a * is any one key), and what does their work now.
RENAMED = {
    "systems.*.training.batches.people": "systems.*.training.batches.identities",
    "systems.*.training.batches.clips": "systems.*.training.batches.samples_each",
    "systems.gaittake.model.keypoints": "systems.gaittake.data.keypoints",
    "systems.gaittake.model.classifier": "systems.gaittake.objective.lambda.cross_entropy (the head is there if it is not 0)",
    "systems.reid.model.tasks": "systems.reid.objective.lambda (a task is there if its weight is not 0)",
    "systems.reid.data.junk": "systems.reid.objective.lambda.junk (junk is read if it is not 0)",
}


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


def parse(text: str) -> Change:
    """`a.b=1e-3` as the key (`a`, `b`) and the number."""
    key, separator, value = text.partition("=")
    if not separator:
        raise SystemExit(f"--set wants KEY=VALUE, got {text!r}; for example systems.dmt.training.epochs=30")
    return tuple(key.split(".")), YAML(typ="safe").load(value)


def leaves(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[Change]:
    """Every value of a nested mapping with the keys that lead to it; a dataset's block below `add` is one value."""
    for key, value in tree.items():
        if isinstance(value, dict) and not (len(above) == 2 and above[0] == "add"):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def configure(path: Path, changes: list[Change]) -> list[str]:
    """Write the changes to the file at once, and only if every key exists; the lines say what was changed."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    yaml.representer.add_representer(type(None), _null)
    document = yaml.load(path)
    if old := [(key, new) for old, new in RENAMED.items() for key in present(document, old.split("."))]:
        names = "\n".join(f"  {'.'.join(key)}: now {new.replace('*', key[1])}" for key, new in old)
        raise SystemExit(f"{path} has keys of an earlier release. Rename or remove them:\n{names}\nNothing was changed.")
    lines = []
    for key, value in changes:
        if key[0] == "add":
            lines += add(document, key[1:], value)
            continue
        block = document
        for depth, name in enumerate(key):
            if not isinstance(block, dict) or name not in block:
                there = ", ".join(block) if isinstance(block, dict) else "no block"
                raise SystemExit(
                    f"{path} has no {'.'.join(key[: depth + 1])}; at that place there is {there}.{renamed(key)} Nothing was "
                    "changed."
                )
            if depth < len(key) - 1:
                block = block[name]
        if block[key[-1]] != value:
            lines.append(f"{'.'.join(key)}: {block[key[-1]]} -> {value}")
            block[key[-1]] = on_one_line(value)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        yaml.dump(document, file)
    os.replace(partial, path)
    return lines or ["nothing to change"]


def present(block: Any, pattern: Sequence[str], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The keys in a document that match a pattern of keys, in which * is any."""
    if not pattern:
        return [above]
    if not isinstance(block, dict):
        return []
    keys = list(block) if pattern[0] == "*" else [pattern[0]] if pattern[0] in block else []
    return [match for key in keys for match in present(block[key], pattern[1:], (*above, key))]


def renamed(key: tuple[str, ...]) -> str:
    """A sentence on what a key of an earlier release is called now; nothing for other keys."""
    for old, new in RENAMED.items():
        parts = old.split(".")
        if len(parts) <= len(key) and all(part in ("*", name) for part, name in zip(parts, key, strict=False)):
            return f" It is now {new.replace('*', key[1])}."
    return ""


def add(document: dict[str, Any], key: tuple[str, ...], block: Any) -> list[str]:
    """Set a dataset's whole block in the document, whether there was one or not; a line says so if that changes anything."""
    kinds = [kind for kind in BLOCKS_PER_DATASET if kind in document]
    if len(key) != 2 or key[0] not in kinds or key[1] not in datasets.names() or not isinstance(block, dict):
        raise SystemExit(
            f"add.{'.'.join(key)} is no whole block of one of {', '.join(kinds)} for one of the datasets "
            f"{', '.join(datasets.names())}. Nothing was changed."
        )
    if document[key[0]].get(key[1]) == block:
        return []
    document[key[0]][key[1]] = CommentedMap({name: on_one_line(value) for name, value in block.items()})
    return [f"{'.'.join(key)}: its whole block is set"]


def _null(representer: RoundTripRepresenter, _: None) -> Any:
    """Nothing written as a word: ruamel would leave the place empty."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def on_one_line(value: Any) -> Any:
    """Lists and short mappings as params.yaml writes them."""
    if not isinstance(value, list | dict):
        return value
    line = CommentedSeq(value) if isinstance(value, list) else CommentedMap(value)
    line.fa.set_flow_style()
    return line


if __name__ == "__main__":
    main()
