"""Unfinished work on disk: a state file is whole, belongs to the run that asks for it, or is refused."""

import hashlib
import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

MAGIC = b"people state 1\n"
DIGEST_BYTES = 32


def key(**facts: Any) -> str:
    """SHA-256 of everything that a run's result follows from, so that its state is never taken for another run's."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def source_digest(folder: Path) -> str:
    """SHA-256 of the Python sources below a folder, their names included: changed code never continues an old state."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def serialized(value: Any) -> bytes:
    """The value as a file for `torch.load(weights_only=True)`; equal values give equal bytes, however they came about."""
    buffer = io.BytesIO()
    torch.save(canonical(value), buffer)
    return buffer.getvalue()


def canonical(value: Any) -> Any:
    """A copy on the CPU that shares nothing: pickle refers to objects that occur twice, and a reloaded value has other ones."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    if isinstance(value, Mapping):
        return {canonical(name): canonical(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, str):
        return sys.intern(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return float(value) if isinstance(value, float) else int(value)  # a NumPy float would need NumPy to be unpickled
    raise ValueError(f"a state holds tensors, numbers, text, lists and mappings, got {type(value).__name__}; convert it first")


def save(path: Path, state: Mapping[str, Any], run_key: str) -> None:
    """Write the state beside its place, push it to the disk, then move it there: a kill at any moment leaves a whole file."""
    content = serialized({"key": run_key, "state": state})
    write(path, MAGIC + hashlib.sha256(content).digest() + content)


def write(path: Path, content: bytes) -> None:
    """Replace a file at once, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, run_key: str) -> dict[str, Any]:
    """The state that `save` wrote for the same run; anything else is refused with the reason."""
    content = path.read_bytes()
    remedy = f"delete {path.parent} to start this run from its beginning"
    if not content.startswith(MAGIC):
        raise ValueError(f"{path} is not a state file of this project (it begins with {content[:16]!r}); {remedy}")
    digest, content = content[len(MAGIC) :][:DIGEST_BYTES], content[len(MAGIC) + DIGEST_BYTES :]
    found = hashlib.sha256(content).digest()
    if found != digest:
        raise ValueError(
            f"{path} is half-written or damaged: SHA-256 {digest.hex()[:12]} expected, {found.hex()[:12]} found "
            f"in {len(content):,} bytes; {remedy}"
        )
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if loaded["key"] != run_key:
        raise ValueError(f"{path} belongs to run {loaded['key'][:12]}, asked for was {run_key[:12]}; {remedy}")
    return loaded["state"]
