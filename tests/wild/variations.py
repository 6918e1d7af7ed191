"""What people do to archives: each variation changes an archive on the disk, and says what should come out of it."""

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.wild.layouts import Layout

SYSTEM_FILES = (
    *("._0001.png", "._0001.jpg", "._001-nm-01-090.avi", "._001.zip", "._001.npz", "._annotations_train.csv"),
    *("._PrbA.mat", "._PrbZ.mat", "._000000001.jpg", "._mpii_joints_activities.csv", "._person_keypoints_train2017.json"),
    *(".DS_Store", "Thumbs.db", "desktop.ini"),
)


class Variation(NamedTuple):
    """`error`: what the reader's error says, "" where all clips are read; `unread`: what is named as left unread.

    `packs`: whether the data are in a zip file, which not all layouts have.
    """

    change: Callable[[Path, Layout], object]
    error: str = ""
    unread: str = ""
    packs: bool = False


def plain(root: Path, layout: Layout) -> None:
    pass


def folder_of_data(root: Path, layout: Layout) -> Path:
    path = root / layout.data
    return path if path.is_dir() else path.parent


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def system_files(root: Path, layout: Layout) -> None:
    for folder, _, _ in list(os.walk(root)):
        for name in SYSTEM_FILES:
            Path(folder, name).write_bytes(b"\0\5\x16\7")
    (folder_of_data(root, layout) / "__MACOSX").mkdir()
    (folder_of_data(root, layout) / "__MACOSX/._0001.png").write_bytes(b"\0\5\x16\7")


def pack(root: Path, layout: Layout, compression: int = zipfile.ZIP_STORED) -> Path:
    """The folder of data as a zip file in its place, with what macOS adds beside every file."""
    folder = root / (layout.deep if layout.dataset in ("casiab", "oumvlp", "fvg") else layout.data)
    above, path = folder.parent, folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(path for path in (folder, *folder.rglob("*")) if path.is_file()):
            name = file.relative_to(above if layout.dataset != "casiab" else folder).as_posix()
            archive.write(file, name)
            archive.write(file, f"__MACOSX/{name.rpartition('/')[0]}/._{file.name}")
    remove(folder)
    return path


def cut_zip(root: Path, layout: Layout) -> None:
    path = pack(root, layout)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def linked(root: Path, inside: str) -> Path:
    """A folder or file moved out of the archive, and a link to it in its place."""
    elsewhere = root.parent / "elsewhere" / Path(inside).name
    elsewhere.parent.mkdir()
    shutil.move(root / inside, elsewhere)
    (root / inside).symlink_to(elsewhere)
    return elsewhere


def linked_data(root: Path, layout: Layout) -> None:
    linked(root, layout.data)


def linked_person(root: Path, layout: Layout) -> None:
    linked(root, layout.deep)


def link_to_itself(root: Path, layout: Layout) -> None:
    deep = root / layout.deep
    (deep if deep.is_dir() else root).joinpath("again").symlink_to(folder_of_data(root, layout))


def link_to_nothing(root: Path, layout: Layout) -> None:
    remove(linked(root, layout.deep))


def a_file_in(root: Path, layout: Layout) -> str:
    deep = root / layout.deep
    return min(path for path in (deep, *deep.rglob("*")) if path.is_file()).relative_to(root).as_posix()


def linked_file(root: Path, layout: Layout) -> None:
    linked(root, a_file_in(root, layout))


def linked_lost_file(root: Path, layout: Layout) -> None:
    remove(linked(root, a_file_in(root, layout)))


def linked_text(root: Path, layout: Layout) -> None:
    linked(root, layout.text[-1])


def upper_case(root: Path, layout: Layout) -> None:
    for folder, _, names in list(os.walk(root)):
        for name in names:
            stem, ending = os.path.splitext(name)
            Path(folder, name).rename(Path(folder, stem + ending.upper()))
    top = layout.data.partition("/")[0]
    (path,) = (path for path in root.iterdir() if path.name.lower() == top.lower())
    path.rename(root / path.name.swapcase())


def text_as(encoding: str, extra: str = "", newline: str = "\n") -> Callable[[Path, Layout], None]:
    def change(root: Path, layout: Layout) -> None:
        for name in layout.text:
            text = (root / name).read_text() + extra
            (root / name).write_bytes(text.replace("\n", newline).encode(encoding))

    return change


def other_archive(root: Path, layout: Layout) -> None:
    (folder_of_data(root, layout) / "008.rar").write_bytes(b"Rar!\x1a\7\0")
    (folder_of_data(root, layout) / "008.tgz").write_bytes(b"\x1f\x8b\x08\0")


VARIATIONS = {
    "plain": Variation(plain),
    "files of systems beside the data": Variation(system_files),
    "a zip file made on macOS": Variation(pack, packs=True),
    "a zip file cut short": Variation(cut_zip, error=r"expected a whole zip file", packs=True),
    "the folder of data is a link": Variation(linked_data),
    "a folder in it is a link": Variation(linked_person),
    "a link to a folder above itself": Variation(link_to_itself, error=r"again is a link to .*, in which it lies"),
    "a link to nothing": Variation(link_to_nothing, error=r"is a link to .*, where there is nothing"),
    "a file in it is a link": Variation(linked_file),
    "a file in it is a link to nothing": Variation(linked_lost_file, error=r"is a link to .*, where there is nothing"),
    "a file of text is a link": Variation(linked_text),
    "upper-case names": Variation(upper_case),
    "text with a byte order mark and CRLF": Variation(text_as("utf-8-sig", newline="\r\n")),
    "text in UTF-16": Variation(text_as("utf-16")),
    "text in Latin-1": Variation(text_as("latin-1", extra="\xe9\n"), error=r"expected text in UTF-8"),
    "packed in a way that is not read": Variation(other_archive, unread=r"008\.rar.*008\.tgz"),
}
