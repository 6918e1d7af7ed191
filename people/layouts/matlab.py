"""MATLAB 5 files (`.mat`): SciPy reads them after their structure has been checked.

SciPy believes what a file claims. It makes a struct of a thousand million entries for 100 bytes of file, unpacks whatever a
compressed variable unpacks to, and ends the process for data of an unknown type and for cells that lie too deep in cells.
"""

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import scipy  # its parts are imported at their first use

from people.layouts import limits

MAX_DEPTH = 16  # of arrays in cells and fields
MAX_FIELDS = 4096  # of a struct
MAX_ENTRIES = 1 << 20  # cells, fields and characters of a variable, of which each becomes a Python object

_HEADER_BYTES = 128
_BYTE_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}  # version and mark at the header's end
_MATRIX, _COMPRESSED = 14, 15  # types of data elements
_INT32 = (5, 6)
_PLAIN = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}  # types of integers, floats and text
_CELL, _STRUCT, _TEXT, _NUMBERS = 1, 2, 4, range(6, 16)  # classes of arrays
_REFUSED = {3: "an object", 5: "a sparse matrix", 16: "a function handle", 17: "an object"}


def read(path: Path, expected: str, *, max_entries: int = MAX_ENTRIES, **options: Any) -> dict[str, Any]:
    """The variables of a MATLAB 5 file as `scipy.io.loadmat` gives them with these options; `expected` is for errors.

    A `ValueError` names a file that is damaged, unpacks to more than `limits.MAX_FILE_BYTES`, or holds anything but numbers,
    text, cells and structs, or more of them in a variable than `max_entries`.
    """
    limits.check_file_bytes(path.stat().st_size, str(path))
    try:
        return scipy.io.loadmat(io.BytesIO(unpack(path.read_bytes(), max_entries)), **options)
    except (ValueError, TypeError, OSError, struct.error, zlib.error, scipy.io.matlab.MatReadError) as error:
        raise ValueError(f"{path}: expected {expected}, but it cannot be read ({error}); fetch the file again") from None


def unpack(content: bytes, max_entries: int = MAX_ENTRIES) -> bytes:
    """The same file without compression; a `ValueError` for one whose structure is damaged or not of plain values."""
    order = _BYTE_ORDERS.get(content[_HEADER_BYTES - 4 : _HEADER_BYTES])
    if order is None:
        raise ValueError("it does not begin like a MATLAB 5 file, which `save -v7` writes")
    variables, position, size_bytes = [], _HEADER_BYTES, 0
    while position < len(content):
        kind, element_bytes = struct.unpack_from(f"{order}II", content, position)
        end = position + 8 + element_bytes
        if end > len(content):
            raise ValueError(f"it is cut short: a variable ends at byte {end:,} of {len(content):,}")
        is_packed = kind == _COMPRESSED
        variable = _inflate(content[position + 8 : end], order, size_bytes) if is_packed else content[position:end]
        _Walk(variable, order, max_entries).array()
        variables.append(variable)
        position, size_bytes = end, size_bytes + len(variable)
    # with a header of our own, as SciPy takes some others for that of a MATLAB 4 file
    return b"MATLAB 5.0 MAT-file".ljust(_HEADER_BYTES - 4) + content[_HEADER_BYTES - 4 : _HEADER_BYTES] + b"".join(variables)


def _inflate(packed: bytes, order: str, before_bytes: int) -> bytes:
    """A compressed variable, unpacked to the size that it claims and no further."""
    unpacker = zlib.decompressobj()
    head = unpacker.decompress(packed, 8)
    _, claimed_bytes = struct.unpack(f"{order}II", head)
    if (unpacked_bytes := before_bytes + len(head) + claimed_bytes) > limits.MAX_FILE_BYTES:
        raise ValueError(f"it unpacks to {unpacked_bytes:,} bytes, and at most {limits.MAX_FILE_BYTES:,} are read")
    content = unpacker.decompress(unpacker.unconsumed_tail, max(claimed_bytes, 1))
    if unpacker.decompress(unpacker.unconsumed_tail, 1) or not unpacker.eof or len(content) != claimed_bytes:
        raise ValueError(f"a compressed variable does not unpack to the {claimed_bytes:,} bytes that it claims")
    return head + content


class _Walk:
    """Passes over a variable in the order in which SciPy reads it, and checks every claim before SciPy acts on it."""

    def __init__(self, content: bytes, order: str, max_entries: int) -> None:
        self.content, self.order, self.max_entries = memoryview(content), order, max_entries
        self.position, self.entries = 0, 0

    def array(self, depth: int = 0) -> None:
        """An array with everything in it."""
        kind, size_bytes = self.integers(2)
        if kind != _MATRIX:
            raise ValueError(f"expected an array (type {_MATRIX}), got data of type {kind}")
        if depth and not size_bytes:
            return  # an empty array without a header
        if depth > MAX_DEPTH:
            raise ValueError(f"arrays lie more than {MAX_DEPTH} deep in arrays")
        _, _, flags, _ = self.integers(4)
        array_class, is_complex = flags & 0xFF, flags >> 11 & 1
        if array_class not in (_CELL, _STRUCT, _TEXT, *_NUMBERS):
            found = _REFUSED.get(array_class, f"an array of class {array_class}")
            raise ValueError(f"it holds {found}, and only numbers, text, cells and structs are read")
        count = self.size()
        self.element()  # the name
        if array_class in (_CELL, _STRUCT):
            fields = self.fields() if array_class == _STRUCT else 1
            self.add(count * max(fields, 1))
            for _ in range(count * fields):
                self.array(depth + 1)
            return
        self.add(count if array_class == _TEXT else 0)
        for _ in range(2 if is_complex and array_class != _TEXT else 1):
            self.element()

    def size(self) -> int:
        """The number of an array's entries by its dimensions."""
        kind, content = self.element()
        if kind not in _INT32 or len(content) % 4 or not 8 <= len(content) <= 128:
            raise ValueError(f"expected 2 to 32 dimensions of an array, got {len(content)} bytes of type {kind}")
        dimensions = struct.unpack(f"{self.order}{len(content) // 4}i", content)
        if min(dimensions) < 0:
            raise ValueError(f"an array has the dimensions {dimensions}")
        return math.prod(dimensions)

    def fields(self) -> int:
        """The number of a struct's fields; their names have one length each."""
        kind, length = self.element()
        if kind not in _INT32 or len(length) != 4 or (name_bytes := struct.unpack(f"{self.order}i", length)[0]) < 1:
            raise ValueError(f"expected the length of a struct's field names, got {bytes(length)!r}")
        fields = len(self.element()[1]) // name_bytes
        if fields > MAX_FIELDS:
            raise ValueError(f"a struct has {fields:,} fields, and at most {MAX_FIELDS:,} are read")
        return fields

    def add(self, entries: int) -> None:
        """Count entries before they are passed over."""
        self.entries += entries
        if self.entries > self.max_entries:
            raise ValueError(
                f"a variable claims {self.entries:,} cells, fields or characters, at most {self.max_entries:,} are read"
            )

    def element(self) -> tuple[int, memoryview]:
        """Type and content of an element of plain data; up to four bytes of content can lie in its tag."""
        start = self.position + 4
        kind, size_bytes = self.integers(2)
        if kind >> 16:
            kind, size_bytes, limit = kind & 0xFFFF, kind >> 16, start + 4
        else:
            start, limit = self.position, len(self.content)
            self.position += size_bytes + -size_bytes % 8
        if kind not in _PLAIN:
            raise ValueError(f"expected numbers or text, got data of type {kind}")
        if start + size_bytes > limit:
            raise ValueError(f"it is cut short: data of {size_bytes:,} bytes, of which {max(limit - start, 0):,} are there")
        return kind, self.content[start : start + size_bytes]

    def integers(self, count: int) -> tuple[int, ...]:
        """The next unsigned integers of 32 bits."""
        if self.position + 4 * count > len(self.content):
            raise ValueError(f"it is cut short: a variable of {len(self.content):,} bytes ends inside an array")
        integers = struct.unpack_from(f"{self.order}{count}I", self.content, self.position)
        self.position += 4 * count
        return integers
