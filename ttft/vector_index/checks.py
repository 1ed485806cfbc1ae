"""Checks the files of an index against the hashes in its manifest when they are first opened, and caches the outcome.

Hashing a large index takes as long as reading it, so a file that has passed is not hashed again as long as its inode,
size and change time stay the same. `ttft index verify` reads everything and ignores this cache.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import time
from pathlib import Path

from ttft.errors import MissingArtifact
from ttft.run_dir import sha256_file
from ttft.vector_index.manifest import HashedFile

CHECKED = ".checked.json"


class Checks:
    """The checks of one index folder: `path` returns the path of a file that has been checked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, list] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = dict(json.loads((folder / CHECKED).read_bytes()))
        self._written = 0.0
        atexit.register(self._remember, 0.0)

    def path(self, name: str, facts: HashedFile) -> Path:
        """The path of a file of the folder. Raises MissingArtifact if it is missing or differs from the manifest."""
        path = self.folder / name
        present(path, facts)
        status = path.stat()
        state = [status.st_ino, status.st_size, status.st_ctime_ns, facts.sha256]
        if self._known.get(name) != state:
            if sha256_file(path) != facts.sha256:
                raise MissingArtifact(
                    f"{path} is damaged: its hash does not match the manifest",
                    f"check the other files too: ttft index verify {self.folder}",
                )
            self._known[name] = state
            self._remember(after=1.0)
        return path

    def _remember(self, after: float) -> None:
        """Save the cache, at most every `after` seconds, since an index may have many files. If the folder is not
        writable, every process checks the files again, which only takes time."""
        if not self._known or time.monotonic() - self._written < after:
            return
        self._written = time.monotonic()
        with contextlib.suppress(OSError):
            part = self.folder / f"{CHECKED}.{os.getpid()}"
            part.write_text(json.dumps(self._known))
            os.replace(part, self.folder / CHECKED)


def present(path: Path, facts: HashedFile) -> None:
    """Raises MissingArtifact if a file is missing or its size is wrong."""
    if not path.exists() or path.stat().st_size != facts.bytes:
        raise MissingArtifact(f"{path} is missing or its size differs from the manifest", "build the index again")
