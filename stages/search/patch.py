"""Found weights as a change of params.yaml: a patch, and the command that makes the same change."""

import difflib
import re
from io import BytesIO
from pathlib import Path
from typing import Any

from people.config import Block
from stages.shared.project import PARAMS, on_one_line, round_trip

NO_NEWLINE = "\\ No newline at end of file"  # in a patch, after a last line that has none


def patch(system: str, objective: Block, file: Path = PARAMS) -> str:
    """The difference of params.yaml from itself with this objective, as `git apply` takes it; empty where there is none.

    Comments are kept. A file that is written otherwise than `stages.configure` writes it is brought into that form, too.
    """
    yaml = round_trip()
    original = file.read_bytes()
    document = yaml.load(original.replace(b"\r\n", b"\n"))
    if document["systems"][system]["objective"] == objective:
        return ""
    lay(document["systems"][system]["objective"], objective)
    content = BytesIO()
    yaml.dump(document, content)
    changed = content.getvalue().replace(b"\n", b"\r\n") if b"\r\n" in original else content.getvalue()
    before, after = (re.findall(r".*\n|.+", text.decode()) for text in (original, changed))
    lines = difflib.unified_diff(before, after, f"a/{file.name}", f"b/{file.name}")
    return "".join(line if line.endswith("\n") else f"{line}\n{NO_NEWLINE}\n" for line in lines)


def lay(block: Any, values: Block) -> None:
    """Put values into a block; an inner block that goes by another name is replaced whole."""
    for key, value in values.items():
        inner = block.get(key)
        if isinstance(value, dict) and isinstance(inner, dict) and inner.get("name") == value.get("name"):
            lay(inner, value)
        elif inner != value:
            block[key] = on_one_line(value)
