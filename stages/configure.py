"""Change params.yaml by name, keeping its comments: a profile of values, single values, or weights that were found.

What does not exist is refused, but for the whole block of a dataset that people/datasets has: a profile adds it below `add`.

    people configure --profile paper
    people configure --profile real --set datasets.tumgaid.archive=/data/kinect-gait.tar.xz
    people configure --from data/studies/dmt/best.yaml
"""

import os
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from people import datasets
from people.storage import write_atomic
from stages.shared.project import PARAMS, argument_parser, on_one_line, round_trip

PROFILES = Path(__file__).parent / "profiles"
BLOCKS_PER_DATASET = ("datasets", "validate", "flow", "silhouettes", "poses", "crops", "foregrounds", "scenes")
PATHS = ("archive", "weights")  # keys whose value is the path of a file or folder
NAME = re.compile(r"[a-z][a-z0-9_]*")

Change = tuple[tuple[str, ...], Any]

# Keys of earlier releases (a * is any one key), and what does their work now.
RENAMED = {
    "systems.*.compare": "compare.* (variants: people/systems/*/variants.yaml)",
    "systems.*.search": "search.*",
    "systems.*.score": "score.*",
    "systems.*.training.batches.people": "systems.*.training.batches.identities",
    "systems.*.training.batches.clips": "systems.*.training.batches.samples_each",
    "systems.gaittake.model.keypoints": "systems.gaittake.data.keypoints",
    "systems.gaittake.model.classifier": "systems.gaittake.objective.lambda.cross_entropy (the head is there if it is not 0)",
    "systems.reid.model.tasks": "systems.reid.objective.lambda (a task is there if its weight is not 0)",
    "systems.reid.objective.uncertainty": "systems.reid.objective.weighting (a block: name, equation, bounds)",
    "systems.reid.objective.bounds": "systems.reid.objective.weighting (a block: name, equation, bounds)",
    "systems.reid.data.junk": "systems.reid.objective.lambda.junk (junk is read if it is not 0)",
}


def main() -> None:
    profiles = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    parser = argument_parser(__doc__)
    parser.add_argument("--profile", action="append", default=[], choices=profiles, help="a set of values in stages/profiles/")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one value, e.g. systems.dmt.training.epochs=30"
    )
    parser.add_argument(
        "--from",
        action="append",
        default=[],
        type=Path,
        dest="found",
        metavar="FILE",
        help="the objective of a best.yaml of tune",
    )
    arguments = parser.parse_args()
    changes = [change for name in arguments.profile for change in profile(name)]
    changes += [parse(text) for text in arguments.set]
    changes += [change for file in arguments.found for change in found_objective(file)]
    for line in configure(PARAMS, changes):
        print(line)


def profile(name: str) -> list[Change]:
    """The changes of a profile."""
    return list(leaves(YAML(typ="safe").load(PROFILES / f"{name}.yaml")))


def found_objective(file: Path) -> list[Change]:
    """The values of the objective that a study found, from its best.yaml; a block that goes by its name is one value."""
    try:
        found = YAML(typ="safe", pure=True).load(file.read_text())
        system, objective = found["system"], dict(found["objective"])
    except (OSError, UnicodeError, YAMLError, KeyError, TypeError, ValueError) as error:
        raise SystemExit(
            f"--from wants a best.yaml that `python -m stages.tune SYSTEM` wrote, {file} is none ({error}). "
            "Nothing was changed."
        ) from error
    above, named = ("systems", system, "objective"), {key for key, value in objective.items() if names_itself(value)}
    plain = {key: value for key, value in objective.items() if key not in named}
    return [*leaves(plain, above), *(((*above, key), objective[key]) for key in named)]


def names_itself(block: Any) -> bool:
    """Whether a block goes by its name."""
    return isinstance(block, dict) and "name" in block


def parse(text: str) -> Change:
    """`a.b=1e-3` as the key (`a`, `b`) and the number. The value of a path is its text: in `x: y` there is no block."""
    name, separator, value = text.partition("=")
    key = tuple(name.split("."))
    if not separator:
        raise SystemExit(f"--set wants KEY=VALUE, got {text!r}; for example systems.dmt.training.epochs=30")
    if key[-1] in PATHS and not value.startswith(("'", '"')):
        return key, value
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise SystemExit(f"--set {text}: the value is not YAML ({error}); quote a text that has such characters") from error


def leaves(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[Change]:
    """Every value of a nested mapping with the keys that lead to it; a dataset's block below `add` is one value."""
    for key, value in tree.items():
        if isinstance(value, dict) and not (len(above) == 2 and above[0] == "add"):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def configure(path: Path, changes: list[Change], *, is_checked: bool = True) -> list[str]:
    """Write the changes to the file at once, and only if every key exists and every block stays one that its stage takes.

    The lines say what was changed. Without `is_checked` blocks are taken as they are, and nothing of the systems is imported.
    """
    yaml = round_trip()
    original = path.read_bytes()
    document = yaml.load(original.replace(b"\r\n", b"\n"))
    refuse_old_keys(path, document)
    before = deepcopy(document)
    lines, changed = [], {}
    for key, value in changes:
        if key[0] == "add":
            lines += add(document, key[1:], value)
            changed[key[1:]] = "its whole block"
            continue
        value = os.path.expanduser(value) if key[-1] in PATHS and isinstance(value, str) else value
        lines += replace(path, document, key, value)
        changed[key] = value
    try:
        check_names(document)
        if is_checked:
            from stages.shared.param_blocks import check_changed  # the systems, and PyTorch with them

            check_changed(document, before, changed)
    except ValueError as error:
        raise SystemExit(f"{error}. Nothing was changed.") from error
    content = BytesIO()
    yaml.dump(document, content)
    write_atomic(path, content.getvalue().replace(b"\n", b"\r\n") if b"\r\n" in original else content.getvalue())
    return lines or ["nothing to change"]


def refuse_old_keys(path: Path, document: dict[str, Any]) -> None:
    """Exit with the new name of every key of an earlier release in the document."""
    if old := [(key, new) for old, new in RENAMED.items() for key in present(document, old.split("."))]:
        names = "\n".join(f"  {'.'.join(key)}: now {new.replace('*', key[1])}" for key, new in old)
        raise SystemExit(f"{path} has keys of an earlier release. Rename or remove them:\n{names}\nNothing was changed.")


def replace(path: Path, document: dict[str, Any], key: tuple[str, ...], value: Any) -> list[str]:
    """Replace a value of the document, which must be there; a line says so if that changes anything."""
    block = document
    for depth, name in enumerate(key):
        if not isinstance(block, dict) or name not in block:
            there = ", ".join(map(str, block)) if isinstance(block, dict) else "no block"
            from stages.shared.param_blocks import nearest

            guess = nearest(name, block) if isinstance(block, dict) else ""
            missing = f"{path} has no {'.'.join(key[: depth + 1])}; at that place there is {there}{guess}"
            raise SystemExit(f"{missing}.{renamed(key)} Nothing was changed.")
        if depth < len(key) - 1:
            block = block[name]
    old = block[key[-1]]
    if old == value and isinstance(old, bool) == isinstance(value, bool):  # 1.0 == True
        return []
    lines = [f"{'.'.join(key)}: {old} -> {value}"]
    block[key[-1]] = on_one_line(value)
    return lines


def check_names(document: dict[str, Any]) -> None:
    """Refuse a dataset or system with characters that mean something to a shell: dvc.yaml puts the name into commands.

    And a system that some stage would find nothing of.
    """
    for kind in ("archives", *BLOCKS_PER_DATASET, "systems"):
        for name in document.get(kind) or {}:
            if not NAME.fullmatch(str(name)):
                raise ValueError(f"{kind}.{name}: a name must be lower-case letters, digits and _, beginning with a letter")
    for kind in ("compare", "search", "score"):
        if kind in document and (odd := sorted(set(document[kind]) ^ set(document["systems"]))):
            there = ", ".join(document["systems"])
            raise ValueError(f"{kind} must have the systems {there}, and no others: see {', '.join(odd)}")


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


if __name__ == "__main__":
    main()
