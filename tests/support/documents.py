"""The project's documents, read: commands, links, and what they name."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = ("", "sh", "bash", "console")
WORDS = (
    *("python", "make", "dvc", "git", "prefect", "mlflow", "optuna", "dask", "pip", "people", "pre-commit"),
    *("curl", "sudo", "for", "set", "export", "sqlite3", "tar", "mkdir", "printf", "."),
)
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:[\w.-]*/)*(?:{'|'.join(map(re.escape, WORDS))}) \S")
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.*)$", re.MULTILINE)


def pages() -> list[Path]:
    """All Markdown files of the project."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(ROOT / name for name in names if (ROOT / name).is_file())


def commands(text: str) -> Iterator[str]:
    """The commands of a page: lines of its shell blocks, and what stands inline and begins as a command does."""
    for language, body in FENCE.findall(text):
        if language in SHELLS:
            yield from (line for line in logical_lines(body) if COMMAND.match(line))
    yield from (part for part in INLINE.findall(FENCE.sub("", text)) if COMMAND.match(part))


def logical_lines(body: str) -> Iterator[str]:
    """The lines of a shell block without comments; one that ends in a backslash, or within quotes, goes on in the next."""
    begun = ""
    for line in body.replace("\\\n", " ").splitlines():
        begun = f"{begun}\n{line}" if begun else line
        if begun.count('"') % 2 == 0:
            yield " ".join(re.sub(r"\s+#\s.*", "", begun).split()) if "\n" not in begun else begun.strip()
            begun = ""


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading)).strip().lower().replace(" ", "-") for heading in headings}


def links(text: str) -> list[str]:
    """The relative links of a page."""
    return [link for link in LINK.findall(FENCE.sub("", text)) if not re.match(r"[a-z]+:", link)]
