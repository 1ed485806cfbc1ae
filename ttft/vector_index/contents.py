"""Opens the two files of a shard, memory-mapped, after checking that they hold what the manifest states.

A file that is mapped is read by address. So its form and its size must fit before: a file that is shorter than it says
ends the process, and an offset that points outside reads other memory.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from ttft.errors import MissingArtifact
from ttft.files import open_regular

MAGIC = b"ARROW1"
AGAIN = "build the index again"


def open_vectors(path: Path, *, rows: int, dimension: int, precision: str) -> np.ndarray:
    """The vectors (rows,d) of a shard as stored. Raises MissingArtifact for a file of another form or size."""
    with open_regular(path) as file:
        try:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("of another version")
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        except (ValueError, SyntaxError, TypeError, TokenError, RecursionError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise MissingArtifact(f"{path} is not an array: {reason}", AGAIN) from None
        start, size = file.tell(), os.fstat(file.fileno()).st_size
        expected = np.dtype(precision).newbyteorder("<")
        if shape != (rows, dimension) or dtype != expected or fortran_order:
            raise MissingArtifact(
                f"{path} has vectors {shape} of {dtype}, the manifest says {(rows, dimension)} of {precision}", AGAIN
            )
        if size != start + rows * dimension * dtype.itemsize:
            raise MissingArtifact(f"{path} has {size:,} bytes, which is not what its vectors {shape} need", AGAIN)
        return np.memmap(file, dtype=dtype, mode="r", offset=start, shape=shape)


def open_documents(path: Path, *, rows: int, every_value: bool = False) -> Any:
    """The documents of a shard, an Arrow table.

    every_value  also check each value, which reads the whole file
    Raises MissingArtifact for a file of another form or number of rows.
    """
    import pyarrow as pa

    try:
        with open_regular(path) as file:
            head = file.read(len(MAGIC))
            file.seek(-len(MAGIC), os.SEEK_END)
            if head != MAGIC or file.read() != MAGIC:
                raise ValueError("it does not begin and end as one")
        buffer = pa.memory_map(str(path)).read_buffer()
        _check_uncompressed(memoryview(buffer))
        table = pa.ipc.open_file(buffer).read_all()
        if not table.schema.equals(schema()):
            raise ValueError("it has other columns")
        table.validate(full=every_value)
    except (pa.ArrowException, OSError, ValueError, MemoryError, struct.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingArtifact(f"{path} is not a table of documents: {reason}", AGAIN) from None
    if table.num_rows != rows or any(column.null_count for column in table.columns):
        raise MissingArtifact(f"{path} has {table.num_rows:,} whole documents, the manifest says {rows:,}", AGAIN)
    return table


# ---- the form of an Arrow file -------------------------------------------------------------------------------------
#
# A footer at its end says where its record batches are; a batch's own head says whether it is compressed. Both are
# FlatBuffers: a table begins with the distance to its list of fields, each the distance to a value (0: not there).
# Reading a compressed batch takes as much memory as its few bytes ask for, so this must be known before.


def _check_uncompressed(file: memoryview) -> None:
    """Raises ValueError for an Arrow file with compressed batches or dictionaries, which ttft never writes, or
    struct.error for one whose parts are not inside it."""
    (length,) = struct.unpack_from("<i", file, _inside(len(file) - len(MAGIC) - 4))
    footer = file[_inside(len(file) - len(MAGIC) - 4 - length) : len(file) - len(MAGIC) - 4]
    if _vector(footer, _root(footer), DICTIONARIES)[0]:
        raise ValueError("it has dictionaries")
    count, start = _vector(footer, _root(footer), BATCHES)
    for number in range(count):
        offset, size = struct.unpack_from("<qi", footer, start + BLOCK_BYTES * number)
        message = file[_inside(offset) + PREFIX : offset + size]
        place = _field(message, _root(message), HEADER)
        if place and _field(message, _followed(message, place), COMPRESSION):
            raise ValueError("it is compressed")


DICTIONARIES, BATCHES, HEADER, COMPRESSION = 2, 3, 2, 3  # fields of Footer, Message and RecordBatch
BLOCK_BYTES, PREFIX = 24, 8


def _inside(place: int) -> int:
    if place < 0:
        raise ValueError("a part of it begins before the file")
    return place


def _followed(data: memoryview, place: int) -> int:
    return place + int(struct.unpack_from("<I", data, place)[0])


def _root(data: memoryview) -> int:
    return _followed(data, 0)


def _field(data: memoryview, table: int, number: int) -> int:
    """Where a field of a table is; 0 if it is not there."""
    fields = _inside(table - struct.unpack_from("<i", data, table)[0])
    inside = 4 + 2 * number < struct.unpack_from("<H", data, fields)[0]
    offset = struct.unpack_from("<H", data, fields + 4 + 2 * number)[0] if inside else 0
    return table + offset if offset else 0


def _vector(data: memoryview, table: int, number: int) -> tuple[int, int]:
    """Number of elements of a field and where the first is; (0, 0) if the field is not there."""
    if not (place := _field(data, table, number)):
        return 0, 0
    start = _followed(data, place)
    return struct.unpack_from("<I", data, start)[0], start + 4


# ---- its columns ---------------------------------------------------------------------------------------------------


def schema() -> Any:
    """The columns of documents.arrow."""
    import pyarrow as pa

    return pa.schema(
        [("text", pa.large_string()), ("subset", pa.string()), ("source", pa.string()), ("piece", pa.int32()),
         ("digest", pa.binary(16))]
    )  # fmt: skip
