"""Exact duplicates, found by the digest of a text in a table on disk, so that memory use stays constant."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ttft.errors import DiskFull
from ttft.files import scratch

CACHE_KIB = 8192


class Seen:
    """A set of digests in a scratch file beside `path`. It is not kept, since a resumed build reads its corpus from the
    start."""

    def __init__(self, path: Path) -> None:
        self._path = scratch(path)
        self._table = sqlite3.connect(self._path, isolation_level=None)
        for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE_KIB}"):
            self._table.execute(f"PRAGMA {setting}")
        with self._no_space():
            self._table.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
            self._table.execute("BEGIN")

    def add(self, digest: bytes) -> bool:
        """True if this digest is new. Raises DiskFull when the scratch file cannot grow."""
        with self._no_space():
            return self._table.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def close(self) -> None:
        self._table.close()
        self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _no_space(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "full" not in str(error) and "disk I/O" not in str(error):
                raise
            hint = "free some space and run the same command again, or use --dedup off, which needs no table"
            raise DiskFull(f"no space left while writing {self._path}", hint) from error
