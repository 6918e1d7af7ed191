"""The files of a dataset's archive, for every reader: which are listed, how links are followed, how text is decoded.

Names are compared without regard to upper and lower case. Files that systems put beside data (`._001.png`, `.DS_Store`,
`Thumbs.db`, `desktop.ini`, `__MACOSX/`) are no part of an archive.
"""

import codecs
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

_IGNORED = re.compile(r"(?:^|/)(?:\._[^/]*|\.ds_store|thumbs\.db|desktop\.ini|__macosx)(?:/|$)", re.IGNORECASE)
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
LINKS = ("raw", "archives")  # data/raw/archives/<dataset> is a link to the dataset's official archive


def is_ignored(path: str) -> bool:
    """Whether a file or one of its folders is of a system and not of the archive; `path` has slashes."""
    return _IGNORED.search(path) is not None


def walk(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder at or below `top` and the names of its files, in order; links are followed.

    A link to a folder that contains it, and a link to nothing, are errors.
    """
    yield from _walk(top, {})


def _walk(folder: Path, above: dict[tuple[int, int], Path]) -> Iterator[tuple[Path, list[str]]]:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise ValueError(
            f"{folder} is a link to {above[identity]}, in which it lies: following it would never end; remove the link"
        )
    folders, names = _entries(folder)
    yield folder, names
    for name in folders:
        yield from _walk(folder / name, {**above, identity: folder})


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """The names of a folder's folders and files, links included, each in order."""
    folders, names = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_ignored(entry.name):
                continue
            if entry.is_symlink() and not os.path.exists(entry.path):
                raise ValueError(
                    f"{entry.path} is a link to {os.readlink(entry.path)}, where there is nothing; mount or restore that, or "
                    "remove the link"
                )
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file():
                names.append(entry.name)
    return sorted(folders), sorted(names)


def children(folder: Path) -> list[Path]:
    """The files and folders in a folder, in order, links included; none where there is no such folder."""
    if not folder.is_dir():
        return []
    folders, names = _entries(folder)
    return [folder / name for name in sorted([*folders, *names])]


def named(folder: Path, name: str) -> list[Path]:
    """The files and folders in a folder that are called `name` in upper or lower case."""
    return [path for path in children(folder) if path.name.lower() == name.lower()]


def find(folder: Path, name: str) -> Path | None:
    """The one file or folder in a folder that is called `name` in upper or lower case; None where there is none."""
    paths = named(folder, name)
    if len(paths) > 1:
        raise ValueError(f"{folder} has {' and '.join(path.name for path in paths)}, expected one {name}; remove the others")
    return paths[0] if paths else None


def located(root: Path) -> Path:
    """The folder of an archive that an index names: the link to an official archive, or what stands for it on this machine.

    Where there is no link `data/raw/archives/casiab`, the environment variable `PEOPLE_ARCHIVE_CASIAB` names the folder.
    """
    if root.parts[-3:-1] != LINKS or root.exists():
        return root
    variable = f"PEOPLE_ARCHIVE_{root.name.upper()}"
    named = os.environ.get(variable)
    if named and (folder := Path(named).expanduser()).exists():
        return folder
    fault = f"{variable} names {named}, where there is nothing" if named else f"{root} has to be a link to it"
    raise ValueError(
        f"the official archive of {root.name} is not on this machine: {fault}; set {variable} to its folder, or link it: "
        f"ln -sfn <folder> {root}"
    )


def read_text(path: Path) -> str:
    """A text file as `decode_text` reads it."""
    return decode_text(path.read_bytes(), str(path))


def decode_text(content: bytes, where: str) -> str:
    """Text in UTF-8 with or without a byte order mark, or in UTF-16 with one; every line ends in a newline character alone.

    `where` names the file in the error for anything else.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
        fault = f"{encoding} text has a zero byte at character {text.index(chr(0))}" if "\0" in text else ""
    except UnicodeDecodeError as error:
        text, fault = "", str(error)
    if fault:
        raise ValueError(f"{where}: expected text in UTF-8, or in UTF-16 with a byte order mark, but {fault}; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_csv(content: bytes, where: str, expected: str, **options: Any) -> pd.DataFrame:
    """A table of the text of a CSV file; `where` and `expected` name the file and its columns in errors."""
    try:
        return pd.read_csv(io.StringIO(decode_text(content, where)), **options)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{where}: expected {expected}, but {error}; fetch the file again") from None
