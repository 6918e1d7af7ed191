"""Unfinished work on disk: a state file is whole, belongs to the run that asks for it, or is refused."""

import ast
import functools
import hashlib
import io
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from people.storage import replaced_atomic
from people.storage.serialization import serialize_to

MAGIC = b"people state 1\n"
DIGEST_BYTES = 32
LIBRARY = Path(__file__).parent.parent


def save(path: Path, state: Mapping[str, Any], run_key: str) -> None:
    """Write the state of a run that `run_key` names; a kill at any moment leaves a whole file."""
    with replaced_atomic(path) as file:
        file.write(MAGIC + bytes(DIGEST_BYTES))
        content = _Digested(file)
        serialize_to(content, {"key": run_key, "state": state})
        file.seek(len(MAGIC))
        file.write(content.digest.digest())


class _Digested:
    """A file to which one appends, and the digest of what has been."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, content: Any) -> int:
        self.digest.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def load(path: Path, run_key: str) -> dict[str, Any]:
    """The state that `save` wrote for the same run; anything else is refused with the reason."""
    content = path.read_bytes()
    remedy = f"delete {path.parent} to start this run from its beginning"
    if not content.startswith(MAGIC):
        raise ValueError(f"{path} is not a state file of this project (it begins with {content[:16]!r}); {remedy}")
    digest, content = content[len(MAGIC) :][:DIGEST_BYTES], content[len(MAGIC) + DIGEST_BYTES :]
    actual = hashlib.sha256(content).digest()
    if actual != digest:
        raise ValueError(
            f"{path} is half-written or damaged: SHA-256 {digest.hex()[:12]} expected, {actual.hex()[:12]} computed "
            f"in {len(content):,} bytes; {remedy}"
        )
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if loaded["key"] != run_key:
        raise ValueError(f"{path} belongs to run {loaded['key'][:12]}, expected {run_key[:12]}; {remedy}")
    return loaded["state"]


def source_digest(modules: Collection[str]) -> str:
    """SHA-256 of the library's sources that these modules can reach, their names included.

    Changed code never continues an old state; code that the modules cannot reach may change meanwhile.
    """
    content = hashlib.sha256()
    for name, path in sorted(reachable(modules).items()):
        content.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()


def reachable(modules: Collection[str]) -> dict[str, Path]:
    """The library's modules that these can import at any depth, in functions too, with their files; themselves among them."""
    files: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = source_file(name)
        if path is None or name in files:
            continue
        files[name] = path
        waiting += imported(name, path)
        if "." in name:
            waiting.append(name.rpartition(".")[0])  # a package is run before what is in it
    return files


def source_file(module: str) -> Path | None:
    """The source of a module of the library, None if there is no such module."""
    path = LIBRARY.joinpath(*module.split(".")[1:])
    if module.split(".")[0] != LIBRARY.name:
        return None
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def imported(module: str, path: Path) -> tuple[str, ...]:
    """What a module's source imports by name; `from people import x` may name a module or a value: both are listed."""
    return _names_of(path.read_bytes(), module)


@functools.cache
def _names_of(source: bytes, module: str) -> tuple[str, ...]:
    return tuple(_names(ast.parse(source), module))


def _names(tree: ast.AST, module: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports by a relative name; the library names modules from the top"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
