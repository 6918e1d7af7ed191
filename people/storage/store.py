"""Packed arrays of many clips: one raw file per field, an offset table and a description, memory-mapped when read.

store/meta.json   format, fields (dtype, shape of one frame, bytes, SHA-256), columns, the writer's metadata, digest
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

from people.storage import facts_digest

FORMAT = "people packed store 1"
OFFSETS = ("start", "length")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Field:
    """The number type and the shape of one frame of a field."""

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
        """The number type in the file, little endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def item_bytes(self) -> int:
        """The size of one frame in the file."""
        return self.stored_dtype.itemsize * int(np.prod(self.item_shape, dtype=np.int64))


class StoreWriter:
    """Appends clips to `<path>.partial`, renamed to `path` when the `with` block succeeds and removed when it fails.

    The bytes depend on the rows and arrays only. With `expected_frames` a disk that is too small is an OSError before the
    work starts.
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
                f"{self.path} exists and is no packed store; it is not overwritten: move it away or choose another path"
            )
        shutil.rmtree(self.partial, ignore_errors=True)  # of a killed run
        self.partial.mkdir(parents=True)
        try:
            needed, free = (self.expected_frames or 0) * self.frame_bytes, shutil.disk_usage(self.partial).free
            if needed > free:
                raise OSError(errno.ENOSPC, self._disk_full_message(needed, free))
            # Unbuffered, so that the append that fills the disk raises the error.
            self._files = {name: (self.partial / f"{name}.bin").open("wb", buffering=0) for name in self.fields}
        except BaseException:
            self._discard()
            raise
        return self

    def append(self, row: Mapping[str, Any], arrays: Mapping[str, Shaped[np.ndarray, "frame ..."]]) -> None:
        """Add one clip: its row of the table and, for every field, an array of its frames."""
        length = self._validate(row, arrays)
        for name, field in self.fields.items():
            data = np.ascontiguousarray(arrays[name], field.stored_dtype).data.cast("B")
            self._hashes[name].update(data)
            self._write(name, data)
        self.rows.append({**row, "start": self.frames, "length": length})
        self.frames += length

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finalise()
        finally:
            self._discard()

    def _validate(self, row: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> int:
        if set(arrays) != set(self.fields):
            raise ValueError(f"a clip brings the fields {sorted(self.fields)}, got {sorted(arrays)}")
        if reserved := [name for name in OFFSETS if name in row]:
            raise ValueError(f"the column {reserved[0]!r} is the store's own; rename the clip's")
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
        with self._explain_disk_full():
            while data:  # a raw file may write less than it is given
                data = data[self._files[name].write(data) :]

    def _finalise(self) -> None:
        if not self.rows:
            raise ValueError(f"no clip was appended to {self.path}; an empty store is not written: check what was read before")
        with self._explain_disk_full():
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
            "columns": {str(name): column_type(dtype) for name, dtype in table.dtypes.items()},
            "sha256": hashlib.sha256((self.partial / "clips.csv").read_bytes()).hexdigest(),
        }
        return {**facts, "digest": description_digest(facts)}

    @contextmanager
    def _explain_disk_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            written = sum(file.stat().st_size for file in self.partial.iterdir())
            free = written + shutil.disk_usage(self.partial).free
            raise OSError(
                error.errno, self._disk_full_message(max((self.expected_frames or 0) * self.frame_bytes, written), free)
            ) from error

    def _disk_full_message(self, needed: int, free: int) -> str:
        at_least = "" if self.expected_frames else "more than "
        return (
            f"no room for {self.path}: {at_least}{needed:,} bytes needed, {free:,} bytes free; nothing was kept. "
            "Free space or move the data folder to a larger disk, then run the stage again"
        )

    def _discard(self) -> None:
        for file in self._files.values():
            file.close()
        shutil.rmtree(self.partial, ignore_errors=True)


class Store:
    """A complete store, read without copies: every array is a view of a memory-mapped file."""

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
        fields = {name: map_field(path, name, description) for name in description["fields"]}
        return cls(path, description, read_clips(path, description), fields)

    def __len__(self) -> int:
        return len(self._starts)

    def __reduce__(self) -> tuple[Any, ...]:  # a worker process maps the files itself: their contents are not pickled
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
        """Compare each field's file with the SHA-256 of when it was written; ValueError where it differs."""
        for name, facts in read_description(self.path)["fields"].items():
            with (self.path / facts["file"]).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
            if actual != facts["sha256"]:
                raise ValueError(
                    f"{self.path / facts['file']} ({name}) has changed since it was written; {rewrite_hint(self.path)}"
                )


def is_store(path: Path) -> bool:
    """Whether a `StoreWriter` wrote the folder at `path`, complete or damaged."""
    try:
        return json.loads((path / "meta.json").read_text()).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def is_empty_folder(path: Path) -> bool:
    """Whether `path` is a folder without any entry."""
    return path.is_dir() and not any(path.iterdir())


def read_description(path: Path) -> dict[str, Any]:
    """The contents of meta.json; ValueError where they are not those of a complete store."""
    file = path / "meta.json"
    if not file.is_file():
        reason = "the folder was not written to its end or is no store" if path.is_dir() else "there is no such folder"
        raise ValueError(f"{file} not found, {reason}; {rewrite_hint(path)}")
    if not is_store(path):
        raise ValueError(f"{file} does not describe a {FORMAT!r}; {rewrite_hint(path)}")
    description = json.loads(file.read_text())
    expected = description_digest({key: value for key, value in description.items() if key != "digest"})
    if description.get("digest") != expected:
        raise ValueError(
            f"{file} has been altered: expected the digest {expected}, got {description.get('digest')}; {rewrite_hint(path)}"
        )
    return description


def map_field(path: Path, name: str, description: dict[str, Any]) -> np.ndarray:
    """One field's file as a memory-mapped array; ValueError where its size is wrong."""
    facts = description["fields"][name]
    file = path / facts["file"]
    size = file.stat().st_size if file.is_file() else None
    if size != facts["bytes"]:
        problem = "is missing" if size is None else f"has {size:,} bytes"
        raise ValueError(
            f"{file} {problem}, expected {facts['bytes']:,} bytes ({description['frames']:,} frames); {rewrite_hint(path)}"
        )
    shape = (description["frames"], *facts["item_shape"])
    # As a plain array: its slices cost less than a memmap's.
    return np.memmap(file, facts["dtype"], "r", shape=shape).view(np.ndarray)


def read_clips(path: Path, description: dict[str, Any]) -> pd.DataFrame:
    """The table of clips with the column types that it was written with; an empty cell is missing."""
    file, facts = path / "clips.csv", description["clips"]
    if not file.is_file():
        raise ValueError(f"{file} not found, expected {facts['count']} clips; {rewrite_hint(path)}")
    if hashlib.sha256(file.read_bytes()).hexdigest() != facts["sha256"]:
        raise ValueError(
            f"{file} is not the table that was written ({facts['count']} clips, SHA-256 {facts['sha256']}); "
            f"{rewrite_hint(path)}"
        )
    return pd.read_csv(file, dtype=facts["columns"], keep_default_na=False, na_values=[""], float_precision="round_trip")


def column_type(dtype: Any) -> str:
    """The type with which a column is read again; text is `str`, so that an id of 001 keeps its zeros."""
    if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        return {"i": "int64", "u": "int64", "f": "float64"}[dtype.kind]
    if isinstance(dtype, np.dtype) and dtype.kind == "b":
        return "bool"
    return "str"


def description_digest(facts: dict[str, Any]) -> str:
    """The digest of a store: SHA-256 of its description, which holds the SHA-256 of each file."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def stores_digest(paths: Mapping[str, Path]) -> str:
    """SHA-256 of the digests of the stores at these paths, by name."""
    return facts_digest(**{name: Store.open(path).digest for name, path in paths.items()})


def rewrite_hint(path: Path) -> str:
    """The end of error messages about a store that cannot be read: how to write it again."""
    return f"delete {path} and write it again (dvc repro; stores of the pipeline lie at data/<stage>/<dataset>)"
