"""Append-only files of records: one per line with its checksum (state.py), fsynced, valid whenever a process is killed.

They are read by state.read_records.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ttft.errors import DiskFull
from ttft.files import open_log, writing
from ttft.state import checked_line

BLOCK = 1 << 16  # bytes


class JsonLines:
    """An append-only file of JSON records. Opening it removes an incomplete last line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = open_log(path)
        try:
            with writing(path):
                self._drop_incomplete_line()
        except BaseException:
            self.close()
            raise

    def _drop_incomplete_line(self) -> None:
        size = end = os.fstat(self._handle).st_size
        while end:
            start = max(0, end - BLOCK)
            if newline := os.pread(self._handle, end - start, start).rfind(b"\n") + 1:
                end = start + newline
                break
            end = start
        if end < size:
            os.ftruncate(self._handle, end)

    def append(self, *records: dict[str, Any]) -> None:
        """Add records; they are on disk when this returns. Raises DiskFull, and then leaves nothing of them behind."""
        rest, start = memoryview(b"".join(map(checked_line, records))), os.fstat(self._handle).st_size
        try:
            with writing(self.path):
                while rest:
                    rest = rest[os.write(self._handle, rest) :]
                os.fsync(self._handle)
        except DiskFull:
            os.ftruncate(self._handle, start)
            raise

    def close(self) -> None:
        os.close(self._handle)

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
