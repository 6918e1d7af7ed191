"""Videos of rendered people as files of their own: the pipeline keeps a person's in one zip file."""

import zipfile
from fnmatch import fnmatch
from pathlib import Path


def unpacked(project: Path, pattern: str, folder: Path) -> list[Path]:
    """CASIA-B's rendered videos whose names match, in order, in a folder of their own."""
    found = []
    for path in sorted((project / "data/raw/casiab/video").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            found += [Path(archive.extract(name, folder)) for name in sorted(archive.namelist()) if fnmatch(name, pattern)]
    return found
