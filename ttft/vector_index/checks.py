"""Checks the files of an index against the hashes in its manifest when they are first opened, and caches the outcome.

Hashing a large index takes as long as reading it, so a file that has passed is not hashed again as long as its inode,
size and change time stay the same. `ttft index verify` reads everything and ignores this cache.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import StrictInt, StrictStr

from ttft.errors import MissingArtifact, TtftError
from ttft.files import write_whole
from ttft.run_dir import sha256_file
from ttft.state import read_json, record
from ttft.vector_index.manifest import HashedFile

CHECKED = ".checked.json"
State = tuple[StrictInt, StrictInt, StrictInt, StrictStr]
"""Of a file that has passed: inode, bytes, change time, sha256."""


class Checks:
    """The checks of one index folder: `path` returns the path of a file that has been checked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, State] = {}
        with contextlib.suppress(TtftError):
            self._known = record(dict[str, State], read_json(folder / CHECKED), CHECKED)
        self._written = 0.0
        atexit.register(self._remember, 0.0)

    def path(self, name: str, facts: HashedFile, content: Callable[[Path], object] = lambda path: None) -> Path:
        """The path of a file of the folder. `content` checks what is in it, once the hash is right.

        Raises MissingArtifact if it is missing or differs from the manifest, and what `content` raises.
        """
        path = self.folder / name
        status = present(path, facts)
        state = (status.st_ino, status.st_size, status.st_ctime_ns, facts.sha256)
        if self._known.get(name) != state:
            if sha256_file(path) != facts.sha256:
                raise MissingArtifact(
                    f"{path} is damaged: its hash does not match the manifest",
                    f"check the other files too: ttft index verify {self.folder}",
                )
            content(path)
            self._known[name] = state
            self._remember(after=1.0)
        return path

    def _remember(self, after: float) -> None:
        """Save the cache, at most every `after` seconds, since an index may have many files. If the folder is not
        writable, every process checks the files again, which only takes time."""
        if not self._known or time.monotonic() - self._written < after:
            return
        self._written = time.monotonic()
        with contextlib.suppress(OSError, TtftError):
            write_whole(self.folder / CHECKED, json.dumps(self._known).encode())


def present(path: Path, facts: HashedFile) -> os.stat_result:
    """The state of a file. Raises MissingArtifact if it is missing, no ordinary file, or its size is wrong; TtftError
    if its folder may not be read."""
    try:
        status = os.stat(path)
    except PermissionError as error:
        raise TtftError(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != facts.bytes:
        raise MissingArtifact(f"{path} is missing or its size differs from the manifest", "build the index again")
    return status
