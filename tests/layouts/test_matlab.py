"""MATLAB files: what SciPy writes is read as SciPy reads it, and what claims too much is refused before SciPy acts on it."""

import io
import random
import struct
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from people.layouts import limits, matlab

HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
CELL, STRUCT, OBJECT, TEXT, SPARSE, DOUBLE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 6, 16, 17
INT8, UINT8, INT32, UINT32, FLOAT64, MATRIX, COMPRESSED = 1, 2, 5, 6, 9, 14, 15


def element(kind: int, content: bytes, *, claims: int | None = None) -> bytes:
    return struct.pack("<II", kind, len(content) if claims is None else claims) + content + bytes(-len(content) % 8)


def array(array_class: int, dimensions: tuple[int, ...], *body: bytes, name: bytes = b"x") -> bytes:
    flags = element(UINT32, struct.pack("<II", array_class, 0))
    size = element(INT32, struct.pack(f"<{len(dimensions)}i", *dimensions))
    return element(MATRIX, b"".join((flags, size, element(INT8, name), *body)))


def packed(variable: bytes) -> bytes:
    content = zlib.compress(variable, 9)
    return struct.pack("<II", COMPRESSED, len(content)) + content


def no_fields(dimensions: tuple[int, ...]) -> bytes:
    return array(STRUCT, dimensions, element(INT32, struct.pack("<i", 32)), element(INT8, b""))


def deep(levels: int) -> bytes:
    """A number in a cell in a cell ..."""
    innermost, head = array(DOUBLE, (1, 1), element(FLOAT64, bytes(8))), array(CELL, (1, 1))[8:]
    sizes = [len(innermost) + level * (8 + len(head)) + len(head) for level in reversed(range(levels))]
    return b"".join(struct.pack("<II", MATRIX, size) + head for size in sizes) + innermost


def read(path: Path, *variables: bytes) -> dict[str, Any]:
    path.write_bytes(HEADER + b"".join(variables))
    return matlab.read(path, "numbers", squeeze_me=True)


VARIABLES = {
    "numbers": np.arange(24.0).reshape(2, 3, 4),
    "integers": np.arange(-3, 4, dtype=np.int16),
    "complex": np.array([1 + 2j, 3 - 4j]),
    "truth": np.array([True, False]),
    "text": "Häuser",
    "lines": np.array(["one", "three"]),
    "empty": np.zeros((0, 3)),
    "cells": np.array([1.5, "two", np.arange(3)], dtype=object),
    "struct": {"a": 1, "b": {"c": "deep", "d": np.array(["x", 2], dtype=object)}},
}


@pytest.mark.parametrize("do_compression", [False, True])
def test_plain_values_are_read_as_scipy_reads_them(tmp_path: Path, do_compression: bool) -> None:
    path = tmp_path / "plain.mat"
    scipy.io.savemat(path, VARIABLES, do_compression=do_compression)
    expected, variables = scipy.io.loadmat(path), matlab.read(path, "everything")
    assert variables.keys() == expected.keys()
    for name in VARIABLES:
        assert repr(variables[name]) == repr(expected[name])


def test_published_files_are_read_as_scipy_reads_them(real_data: Path) -> None:
    paths = sorted(real_data.rglob("*.mat"))
    assert paths
    for path in paths:
        expected, variables = scipy.io.loadmat(path), matlab.read(path, "everything")
        for name in expected.keys() - {"__header__"}:
            np.testing.assert_equal(variables[name], expected[name])


def test_a_file_of_the_other_byte_order_is_read(tmp_path: Path) -> None:
    body = struct.pack(">IIII", UINT32, 8, DOUBLE, 0) + struct.pack(">IIii", INT32, 8, 1, 2)
    body += struct.pack(">HH4s", 1, INT8, b"x\0\0\0") + struct.pack(">IIdd", FLOAT64, 16, 1.5, -2.0)
    path = tmp_path / "big.mat"
    path.write_bytes(HEADER[:124] + b"\x01\x00MI" + struct.pack(">II", MATRIX, len(body)) + body)
    assert matlab.read(path, "numbers")["x"].tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        (array(OBJECT, (1, 1), element(INT8, b"inline")), "an object"),
        (array(FUNCTION, (1, 1), array(DOUBLE, (1, 1), element(FLOAT64, bytes(8)))), "a function handle"),
        (array(OPAQUE, (1, 1), element(INT8, b"java"), element(INT8, b"java.lang.Runtime")), "an object"),
        (array(CELL, (1, 2), array(DOUBLE, (1, 1), element(FLOAT64, bytes(8))), array(OPAQUE, (1, 1))), "an object"),
        (array(18, (1, 1)), "an array of class 18"),
    ],
)
@pytest.mark.parametrize("change", [bytes, packed])
def test_objects_and_functions_are_refused_by_name(tmp_path: Path, variable: bytes, found: str, change: Any) -> None:
    message = rf"odd\.mat: expected numbers, but it cannot be read \(it holds {found}, and only numbers, text, cells"
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "odd.mat", change(variable))


def test_a_sparse_matrix_is_refused_by_name(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "sparse.mat", {"x": scipy.sparse.csc_array(np.eye(3))})
    with pytest.raises(ValueError, match=r"sparse\.mat: .*it holds a sparse matrix"):
        matlab.read(tmp_path / "sparse.mat", "numbers")


MANY = (2**31 - 1, 1)
CLAIMS = {
    "a struct of many entries without fields": (no_fields(MANY), "claims 2,147,483,647 cells, fields or characters"),
    "many structs in a few cells": (array(CELL, (1, 9), *[no_fields((200_000, 1))] * 9), "claims 1,200,009 cells"),
    "a product that overflows": (no_fields((2**31 - 1,) * 8), r"claims [\d,]+ cells"),
    "many cells": (array(CELL, MANY), "claims 2,147,483,647 cells"),
    "text without characters": (array(TEXT, MANY, element(INT8, b"")), "claims 2,147,483,647 cells"),
    "fields of many names": (
        array(STRUCT, (0, 0), element(INT32, struct.pack("<i", 1)), element(INT8, b"a" * 100_000)),
        "a struct has 100,000 fields, and at most 4,096",
    ),
    "names of no length": (array(STRUCT, (1, 1), element(INT32, bytes(4)), element(INT8, b"a")), "length of a struct's field"),
    "cells in cells": (deep(200_000), "more than 16 deep"),
    "data of an unknown type": (array(DOUBLE, (1, 1), element(77_000, bytes(8))), "got data of type"),
    "data that are not there": (
        array(DOUBLE, (1, 2**28), element(FLOAT64, bytes(8), claims=2**31)),
        "data of 2,147,483,648 bytes",
    ),
    "more entries than data": (array(DOUBLE, (1, 2**28), element(FLOAT64, bytes(8))), "cannot reshape"),
    "negative dimensions": (array(DOUBLE, (-1, 8), element(FLOAT64, bytes(8))), r"the dimensions \(-1, 8\)"),
    "33 dimensions": (array(DOUBLE, (1,) * 33, element(FLOAT64, bytes(8))), "2 to 32 dimensions"),
    "a variable that is not there": (element(MATRIX, b"", claims=2**31), "a variable ends at byte 2,147,483,784 of 136"),
    "no array": (element(UINT8, b"abc"), "got data of type 2"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_small_file_that_claims_much_is_refused_at_once(tmp_path: Path, name: str) -> None:
    variable, message = CLAIMS[name]
    started_s = time.process_time()
    tracemalloc.start()
    for change in (bytes, packed):
        if change is packed and name in ("a variable that is not there", "no array"):
            continue
        with pytest.raises(ValueError, match=rf"claims\.mat: expected numbers, but it cannot be read \(.*{message}"):
            read(tmp_path / "claims.mat", change(variable))
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()
    assert time.process_time() - started_s < 3


def test_a_compressed_variable_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    gigabytes = bytes(64 << 20)
    packer = zlib.compressobj(9)
    head = array(DOUBLE, (1, 2**29))[:-8]
    content = packer.compress(head[:4] + struct.pack("<I", 2**32 - 16) + head[8:])
    content += b"".join(packer.compress(gigabytes) for _ in range(8)) + packer.flush()
    honest = array(DOUBLE, (1, 2), element(FLOAT64, bytes(16)))
    liar = zlib.compress(honest + gigabytes)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb\.mat: .*it unpacks to 4,294,967,288 bytes, and at most 536,870,912 are read"):
        read(tmp_path / "bomb.mat", struct.pack("<II", COMPRESSED, len(content)) + content)
    with pytest.raises(ValueError, match=r"bomb\.mat: .*does not unpack to the 72 bytes that it claims"):
        read(tmp_path / "bomb.mat", struct.pack("<II", COMPRESSED, len(liar)) + liar)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate variable")
def test_several_variables_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = array(DOUBLE, (1, 1000), element(FLOAT64, bytes(8000)))
    assert read(tmp_path / "three.mat", *[packed(variable)] * 3)["x"].shape == (1000,)
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 20_000)
    with pytest.raises(ValueError, match=r"three\.mat: .*it unpacks to 24,\d+ bytes, and at most 20,000 are read"):
        read(tmp_path / "three.mat", *[packed(variable)] * 3)
    with pytest.raises(ValueError, match=r"three\.mat: a file of 24,\d+ bytes, and at most 20,000 are read"):
        read(tmp_path / "three.mat", *[variable] * 3)


@pytest.mark.parametrize("content", [b"", b"HDF", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(512), bytes(400)])
def test_what_is_no_matlab_5_file_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "new.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"new\.mat: expected numbers, .*like a MATLAB 5 file, which `save -v7` writes"):
        matlab.read(tmp_path / "new.mat", "numbers")


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_read_or_refused_by_name_and_never_ends_the_process(tmp_path: Path) -> None:
    content, draw, path = io.BytesIO(), random.Random(3), tmp_path / "damaged.mat"
    scipy.io.savemat(content, VARIABLES)
    whole, messages = content.getvalue(), []
    for trial in range(1000):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            position = draw.randrange(len(damaged))
            damaged[position : position + 1] = draw.choice((b"\0", b"\xff", b"\x7f", bytes([draw.randrange(256)])))
        path.write_bytes(damaged[: draw.randrange(len(damaged))] if trial % 5 == 0 else damaged)
        try:
            matlab.read(path, "numbers")
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 250
    assert [message for message in messages if str(path) not in message] == []
