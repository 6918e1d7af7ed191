"""Arrays, weights and small files on disk: written atomically, identified by their digests."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably: a kill at any moment leaves the old content or the new."""
    with replaced_atomic(path) as file:
        file.write(content)


@contextmanager
def replaced_atomic(path: Path) -> Iterator[BinaryIO]:
    """The same for content that is written piece by piece; after an error the old content stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def facts_digest(**facts: Any) -> str:
    """SHA-256 of named plain values: equal facts give equal digests, whatever their order."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
