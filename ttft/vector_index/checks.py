"""Is a file the one that the manifest vouches for? Found out when the file is first opened, and remembered.

The hash of every file of a large index takes as long as reading it, so a file that was found whole is not read again
while its inode, size and time of change stay what they were. `ttft index verify` reads everything, whatever is
remembered.
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
    """Of one index folder: `path` gives a file after its check."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, list] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = dict(json.loads((folder / CHECKED).read_bytes()))
        self._written = 0.0
        atexit.register(self._remember, 0.0)

    def path(self, name: str, facts: HashedFile) -> Path:
        """The path of a file of the folder. Raises MissingArtifact when it is not there or its content is another."""
        path = self.folder / name
        present(path, facts)
        status = path.stat()
        state = [status.st_ino, status.st_size, status.st_ctime_ns, facts.sha256]
        if self._known.get(name) != state:
            if sha256_file(path) != facts.sha256:
                raise MissingArtifact(
                    f"{path} is damaged: its content has not the hash that the manifest states",
                    f"see what else is: ttft index verify {self.folder}",
                )
            self._known[name] = state
            self._remember(after=1.0)
        return path

    def _remember(self, after: float) -> None:
        """Write down what is known, if the last time was so many seconds ago: an index may have many files. A folder
        that cannot be written to is checked anew by every process: slower, nothing else."""
        if not self._known or time.monotonic() - self._written < after:
            return
        self._written = time.monotonic()
        with contextlib.suppress(OSError):
            part = self.folder / f"{CHECKED}.{os.getpid()}"
            part.write_text(json.dumps(self._known))
            os.replace(part, self.folder / CHECKED)


def present(path: Path, facts: HashedFile) -> None:
    """Raises MissingArtifact when a file is not there or of another size."""
    if not path.exists() or path.stat().st_size != facts.bytes:
        raise MissingArtifact(f"{path} is missing or not as the manifest says", "build the index again")
