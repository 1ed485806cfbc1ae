"""Opens the two files of a shard, memory-mapped, after checking that they hold what the manifest states.

A file that is mapped is read by address. So its form and its size must fit before: a file that is shorter than it says
ends the process, and an offset that points outside reads other memory.
"""

from __future__ import annotations

import os
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
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        if not table.schema.equals(schema()):
            raise ValueError("it has other columns")
        table.validate(full=every_value)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingArtifact(f"{path} is not a table of documents: {reason}", AGAIN) from None
    if table.num_rows != rows or any(column.null_count for column in table.columns):
        raise MissingArtifact(f"{path} has {table.num_rows:,} whole documents, the manifest says {rows:,}", AGAIN)
    return table


def schema() -> Any:
    """The columns of documents.arrow."""
    import pyarrow as pa

    return pa.schema(
        [("text", pa.large_string()), ("subset", pa.string()), ("source", pa.string()), ("piece", pa.int32()),
         ("digest", pa.binary(16))]
    )  # fmt: skip
