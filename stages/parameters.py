"""Every parameter in params.yaml as a document: default, type, unit and meaning.

    python -m stages.parameters docs/parameters.md

A meaning is what params.yaml says beside the parameter, or else what the docstring of its configuration says of it. Parameters
of one kind, such as the number of epochs of every system, share theirs. A parameter without a meaning is refused.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from people.storage import write_atomic
from stages.shared.param_docs import Sources, meaning_and_notes, sources
from stages.shared.project import PARAMS, round_trip

LEAVES = ("archives", "phases", "reads")  # blocks whose keys are names that a user chooses
BY_NAME = ("datasets", "validate", "flow", "silhouettes", "poses", "crops", "foregrounds", "scenes", "compare", "search")
COMMON = ("dataset", "reads", "training")  # of every system, with the same meaning
UNITS = {
    "_hz": "1/s",
    "_px": "px",
    "_deg": "degrees",
    "_m": "m",
    "_s": "s",
    "_years": "years",
    "_hw": "px: height, width",
    "_share": "share",
    "epochs": "epochs",
    "learning_rate": "",
}
INTRODUCTION = """# Parameters

All parameters of [params.yaml](../params.yaml), with their defaults. `python -m stages.configure --set KEY=VALUE` changes one,
and refuses a key or a value that does not exist; `--profile NAME` lays a named set of changes over them. `*` stands for the
name of a dataset or of a system. Where defaults differ, each has its name. In brackets: what others have.

This page is written by `python -m stages.parameters docs/parameters.md`, from the comments of params.yaml and the docstrings of
the code that reads it.
"""

Key = tuple[str, ...]


class Parameter(NamedTuple):
    """One parameter of params.yaml: its keys, its default, and the comment on its line."""

    key: Key
    value: Any
    comment: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="the document to write, docs/parameters.md")
    file = parser.parse_args().file
    write_atomic(file, document(PARAMS).encode())
    print(f"{file}: written")


def document(path: Path) -> str:
    """The document of a params.yaml; a ValueError lists the parameters without a meaning."""
    text = path.read_text()
    values = round_trip().load(text)
    known, groups = sources(values), {}
    for parameter in parameters(values, (), text.splitlines(), known):
        groups.setdefault(pattern(parameter.key), []).append(parameter)
    missing, sections = [], {}
    for key, group in groups.items():
        row = table_row(key, group, known)
        if not row[-1]:
            missing.append(".".join(key))
        sections.setdefault(section(key), []).append("| " + " | ".join(row) + " |")
    if missing:
        raise ValueError(f"these parameters have no meaning: {', '.join(missing)}; write it beside each in params.yaml")
    head = "| parameter | default | type | unit | meaning |\n|---|---|---|---|---|"
    tables = [f"## {title}\n\n{head}\n" + "\n".join(rows) for title, rows in sections.items()]
    return "\n".join([INTRODUCTION, "\n\n".join([*tables, kinds_table(known)]), ""])


def parameters(block: Any, above: Key, lines: list[str], known: Sources) -> Iterator[Parameter]:
    """Every parameter of a block in its order: values, and blocks on one line that no configuration describes."""
    for name, value in block.items():
        key, number = (*above, str(name)), block.lc.key(name)[0]
        described = key in known.blocks or not is_on_one_line(value)
        if isinstance(value, Mapping) and value and name not in LEAVES and described:
            yield from parameters(value, key, lines, known)
        else:
            yield Parameter(key, value, "" if is_on_one_line(block) else comment_at(lines, number))


def is_on_one_line(value: Any) -> bool:
    """Whether params.yaml has a block or a list on one line, in brackets."""
    return isinstance(value, CommentedMap | CommentedSeq) and bool(value.fa.flow_style())


def comment_at(lines: list[str], number: int) -> str:
    """The comment that ends a line, with the lines of nothing but comment that continue it."""
    _, separator, comment = lines[number].partition(" #")
    following = iter(lines[number + 1 :])
    while separator and (line := next(following, "").strip()).startswith("#"):
        comment += " " + line.lstrip("# ")
    return comment.strip()


def pattern(key: Key) -> Key:
    """The key with a * for the name of a dataset, or of a system where all have this parameter."""
    kind, part = key[0], key[2:3]
    is_shared = kind in BY_NAME or (kind == "systems" and part and part[0] in COMMON)
    return (kind, "*", *key[2:]) if is_shared else key


def section(key: Key) -> str:
    """The title of the table that a parameter stands in."""
    if key[0] == "systems":
        return f"systems.*.{key[2]}" if key[1] == "*" else f"systems.{key[1]}"
    return f"{key[0]}.*" if key[0] in BY_NAME else key[0] if key[0] in ("identify", "score") else "the whole pipeline"


def table_row(key: Key, group: list[Parameter], known: Sources) -> list[str]:
    """The cells of one parameter; the last is empty if nothing says what it means."""
    comments, sentences, notes = [], [], []
    for parameter in group:
        own, of_papers = meaning_and_notes(parameter.comment)
        comments += own
        sentences += known.sentences(parameter.key)
        name = f"{parameter.key[1]}, " if key[1:2] == ("*",) and len(group) > 1 else ""
        notes += [f"{name}{note}" for note in of_papers]
    meaning = ". ".join(text.rstrip(".") for text in dict.fromkeys(comments or sentences))
    told = f" ({'; '.join(dict.fromkeys(notes))})" if notes and meaning else ""
    unit = next((unit for end, unit in UNITS.items() if key[-1].endswith(end)), "")
    return [f"`{'.'.join(key)}`", defaults(key, group), known.type_of(group[0].key, group[0].value), unit, cell(meaning + told)]


def defaults(key: Key, group: list[Parameter]) -> str:
    """The default, or each with the names of those that have it."""
    by_value: dict[str, list[str]] = {}
    for parameter in group:
        by_value.setdefault(inline(parameter.value), []).append(parameter.key[1] if len(parameter.key) > 1 else "")
    if len(by_value) == 1:
        return f"`{next(iter(by_value))}`"
    return "; ".join(f"{', '.join(names)} `{value}`" for value, names in by_value.items())


def inline(value: Any) -> str:
    """A value as params.yaml would have it on one line; long blocks by their keys."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name}: {inline(each)}" for name, each in value.items())
        return "{" + (inner if len(inner) < 90 else ", ".join(f"{name}: …" for name in value)) + "}"
    if isinstance(value, list):
        named = [each["name"] if isinstance(each, Mapping) and "name" in each else inline(each) for each in value]
        return f"[{', '.join(named)}]"
    texts = {None: "null", True: "true", False: "false", "": '""'}
    return texts[value] if value is None or isinstance(value, bool) or value == "" else str(value)


def kinds_table(known: Sources) -> str:
    """The blocks that are one of several kinds, by their name or their keys."""
    rows = [f"| `{where}` | `{name}` | {cell(text)} |" for where, name, text in known.kinds()]
    return "\n".join(["## Blocks of several kinds", "", "| block | kind | meaning |", "|---|---|---|", *rows])


def cell(text: str) -> str:
    """A text in a cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    main()
