"""Packed arrays of many clips: one raw file per field, an offset table and a description, memory-mapped when read.

store/meta.json   format, fields (dtype, shape of one frame, bytes, SHA-256), columns, the writer's own facts, digest
store/clips.csv   one row per clip: the caller's columns, then `start` and `length` in frames
store/flow.bin    every clip's frames end to end, C order, little endian, no header
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from people.storage.files import facts_digest

FORMAT = "people packed store 1"
OFFSETS = ("start", "length")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Field:
    """What one frame of a field is: its number type and its shape."""

    dtype: str
    item_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if np.dtype(self.dtype).kind not in "iufb":
            raise ValueError(
                f"a field holds integers, floats or booleans, got dtype {self.dtype}; store text in the clips' table"
            )
        object.__setattr__(self, "item_shape", tuple(int(size) for size in self.item_shape))
        if any(size < 1 for size in self.item_shape):
            raise ValueError(f"a field's sizes are 1 or more, got shape {self.item_shape}")

    @property
    def stored_dtype(self) -> np.dtype:
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def item_bytes(self) -> int:
        return self.stored_dtype.itemsize * int(np.prod(self.item_shape, dtype=np.int64))


class StoreWriter:
    """Appends clips to `<path>.partial`, which becomes `path` when the `with` block ends well and is removed when it does not.

    The bytes depend on the rows and arrays alone. `expected_frames`, where known, lets a disk that is too small be refused
    before the work starts.
    """

    def __init__(
        self, path: Path | str, fields: Mapping[str, Field], meta: Mapping[str, Any], *, expected_frames: int | None = None
    ) -> None:
        if not fields:
            raise ValueError("a store has at least one field, got none")
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.fields, self.meta = dict(fields), json.loads(json.dumps(dict(meta), allow_nan=False))
        self.frame_bytes = sum(field.item_bytes for field in self.fields.values())
        self.expected_frames, self.frames, self.rows = expected_frames, 0, []
        self._files, self._hashes = {}, {name: hashlib.sha256() for name in self.fields}

    def __enter__(self) -> "StoreWriter":
        if self.path.exists() and not is_store(self.path) and not is_empty_folder(self.path):
            raise ValueError(
                f"{self.path} exists and is no packed store; it is not overwritten: move it away or name another place"
            )
        shutil.rmtree(self.partial, ignore_errors=True)  # what a killed run left
        self.partial.mkdir(parents=True)
        try:
            needed, free = (self.expected_frames or 0) * self.frame_bytes, shutil.disk_usage(self.partial).free
            if needed > free:
                raise OSError(errno.ENOSPC, self._no_room(needed, free))
            # Unbuffered, so that a full disk is noticed by the append that filled it.
            self._files = {name: (self.partial / f"{name}.bin").open("wb", buffering=0) for name in self.fields}
        except BaseException:
            self._abandon()
            raise
        return self

    def append(self, row: Mapping[str, Any], arrays: Mapping[str, Shaped[np.ndarray, "frame ..."]]) -> None:
        """Add one clip: its row of the table and, for every field, an array of its frames."""
        length = self._checked_length(row, arrays)
        for name, field in self.fields.items():
            data = np.ascontiguousarray(arrays[name], field.stored_dtype).data.cast("B")
            self._hashes[name].update(data)
            self._write(name, data)
        self.rows.append({**row, "start": self.frames, "length": length})
        self.frames += length

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._abandon()

    def _checked_length(self, row: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> int:
        if set(arrays) != set(self.fields):
            raise ValueError(f"a clip brings the fields {sorted(self.fields)}, got {sorted(arrays)}")
        if taken := [name for name in OFFSETS if name in row]:
            raise ValueError(f"the column {taken[0]!r} is the store's own; rename the clip's")
        if self.rows and list(row) != (columns := list(self.rows[0])[: -len(OFFSETS)]):
            raise ValueError(f"every clip has the columns {columns}, got {list(row)}")
        for name, field in self.fields.items():
            array = arrays[name]
            if array.dtype != np.dtype(field.dtype) or array.shape[1:] != field.item_shape:
                expected = f"{field.dtype} of shape (frame, {', '.join(map(str, field.item_shape))})"
                raise ValueError(f"field {name!r} takes {expected}, got {array.dtype} of shape {array.shape}")
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(f"all fields of a clip have the same number of frames, at least 1; got {lengths}")
        return next(iter(lengths.values()))

    def _write(self, name: str, data: memoryview) -> None:
        with self._explained():
            while data:  # a raw file may take less than it is given
                data = data[self._files[name].write(data) :]

    def _finish(self) -> None:
        if not self.rows:
            raise ValueError(f"no clip was appended to {self.path}; an empty store is not written: check what was read before")
        with self._explained():
            for file in self._files.values():
                os.fsync(file.fileno())
            table = pd.DataFrame(self.rows)
            table.to_csv(self.partial / "clips.csv", index=False)
            (self.partial / "meta.json").write_text(json.dumps(self._description(table), indent=1, sort_keys=True) + "\n")
        shutil.rmtree(self.path, ignore_errors=True)
        os.replace(self.partial, self.path)

    def _description(self, table: pd.DataFrame) -> dict[str, Any]:
        fields = {
            name: {
                "file": f"{name}.bin",
                "dtype": field.stored_dtype.str,
                "item_shape": list(field.item_shape),
                "bytes": self.frames * field.item_bytes,
                "sha256": self._hashes[name].hexdigest(),
            }
            for name, field in self.fields.items()
        }
        facts = {"format": FORMAT, "frames": self.frames, "fields": fields, "meta": self.meta}
        facts["clips"] = {
            "count": len(table),
            "columns": {str(name): kind(dtype) for name, dtype in table.dtypes.items()},
            "sha256": hashlib.sha256((self.partial / "clips.csv").read_bytes()).hexdigest(),
        }
        return {**facts, "digest": digest(facts)}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            written = sum(file.stat().st_size for file in self.partial.iterdir())
            free = written + shutil.disk_usage(self.partial).free
            raise OSError(
                error.errno, self._no_room(max((self.expected_frames or 0) * self.frame_bytes, written), free)
            ) from error

    def _no_room(self, needed: int, free: int) -> str:
        at_least = "" if self.expected_frames else "more than "
        return (
            f"no room for {self.path}: {at_least}{needed:,} bytes needed, {free:,} bytes free; nothing was kept. "
            "Free space or move the data folder to a larger disk, then run the stage again"
        )

    def _abandon(self) -> None:
        for file in self._files.values():
            file.close()
        shutil.rmtree(self.partial, ignore_errors=True)


class Store:
    """A complete store, read without copying: every array is a view of a memory-mapped file."""

    def __init__(self, path: Path, description: dict[str, Any], clips: pd.DataFrame, fields: dict[str, np.ndarray]) -> None:
        self.path, self.clips, self._fields = path, clips, fields
        self.meta: dict[str, Any] = description["meta"]
        self.digest: str = description["digest"]
        self._starts, self._lengths = clips["start"].to_numpy(), clips["length"].to_numpy()

    @classmethod
    def open(cls, path: Path | str) -> "Store":
        """The store at `path`; a `ValueError` names the file that is missing, cut short or not a store's."""
        path = Path(path)
        description = read_description(path)
        fields = {name: mapped(path, name, description) for name in description["fields"]}
        return cls(path, description, read_clips(path, description), fields)

    def __len__(self) -> int:
        return len(self._starts)

    def __reduce__(self) -> tuple[Any, ...]:  # a worker process maps the files itself instead of being sent their contents
        return Store.open, (self.path,)

    def clip(self, index: int, field: str) -> Shaped[np.ndarray, "frame ..."]:
        """The frames of one clip, a view."""
        start = self._starts[index]
        return self.field(field)[start : start + self._lengths[index]]

    def field(self, name: str) -> Shaped[np.ndarray, "frame ..."]:
        """The frames of all clips end to end, a view."""
        if name not in self._fields:
            raise ValueError(f"{self.path} has the fields {', '.join(self._fields)}, not {name!r}")
        return self._fields[name]

    def verify(self) -> None:
        """Read every byte and compare it with the SHA-256 kept when it was written."""
        for name, facts in read_description(self.path)["fields"].items():
            with (self.path / facts["file"]).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != facts["sha256"]:
                raise ValueError(f"{self.path / facts['file']} ({name}) has changed since it was written; {rewrite(self.path)}")


def is_store(path: Path) -> bool:
    """Whether the folder at `path` is one that a `StoreWriter` wrote, whole or damaged."""
    try:
        return json.loads((path / "meta.json").read_text()).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def read_description(path: Path) -> dict[str, Any]:
    """The contents of meta.json, refused where they are not a complete store's."""
    file = path / "meta.json"
    if not file.is_file():
        there = "the folder was not written to its end or is no store" if path.is_dir() else "there is no such folder"
        raise ValueError(f"{file} not found, {there}; {rewrite(path)}")
    if not is_store(path):
        raise ValueError(f"{file} does not describe a {FORMAT!r}; {rewrite(path)}")
    description = json.loads(file.read_text())
    expected = digest({key: value for key, value in description.items() if key != "digest"})
    if description.get("digest") != expected:
        raise ValueError(
            f"{file} has been altered: its digest should be {expected}, it says {description.get('digest')}; {rewrite(path)}"
        )
    return description


def mapped(path: Path, name: str, description: dict[str, Any]) -> np.ndarray:
    """One field's file as an array that reads from the disk where it is touched."""
    facts = description["fields"][name]
    file = path / facts["file"]
    found = file.stat().st_size if file.is_file() else None
    if found != facts["bytes"]:
        came = "is missing" if found is None else f"has {found:,} bytes"
        raise ValueError(
            f"{file} {came}, expected {facts['bytes']:,} bytes ({description['frames']:,} frames); {rewrite(path)}"
        )
    shape = (description["frames"], *facts["item_shape"])
    return np.memmap(file, facts["dtype"], "r", shape=shape).view(
        np.ndarray
    )  # slices of a plain array cost less than a memmap's


def read_clips(path: Path, description: dict[str, Any]) -> pd.DataFrame:
    """The table of clips with the column types that it was written with; an empty cell is missing."""
    file, facts = path / "clips.csv", description["clips"]
    if not file.is_file():
        raise ValueError(f"{file} not found, expected {facts['count']} clips; {rewrite(path)}")
    if hashlib.sha256(file.read_bytes()).hexdigest() != facts["sha256"]:
        raise ValueError(
            f"{file} is not the table that was written ({facts['count']} clips, SHA-256 {facts['sha256']}); {rewrite(path)}"
        )
    return pd.read_csv(file, dtype=facts["columns"], keep_default_na=False, na_values=[""], float_precision="round_trip")


def kind(dtype: Any) -> str:
    """The type with which a column is read back; text is `str`, so that an id of 001 keeps its zeros."""
    if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        return {"i": "int64", "u": "int64", "f": "float64"}[dtype.kind]
    if isinstance(dtype, np.dtype) and dtype.kind == "b":
        return "bool"
    return "str"


def digest(facts: dict[str, Any]) -> str:
    """One value for a store's whole content: SHA-256 of its description, which holds the SHA-256 of each file."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def stores_digest(paths: Mapping[str, Path]) -> str:
    """What the stores at these paths hold, in one value."""
    return facts_digest(**{name: Store.open(path).digest for name, path in paths.items()})


def rewrite(path: Path) -> str:
    """What to do about a store that cannot be read: the stage is named by the folder above the dataset's."""
    return f"delete {path} and write it again (dvc repro; stores of the pipeline lie at data/<stage>/<dataset>)"
