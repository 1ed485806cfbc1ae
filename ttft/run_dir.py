"""The names of all files of an index or a run, and how to write them so that they stay valid if the process is killed.

Index folder: manifest.json, shard-00000/{documents.arrow, vectors.npy, index.faiss}, problems-0.jsonl, provenance.json
Run folder:   results.jsonl, selections.jsonl, config.yaml, provenance.json

JSON-lines files are append-only, one record per line, flushed and fsynced; an incomplete last line is removed when the
file is next opened for writing. Other files are written to a temporary name and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from ttft.errors import ConfigError, DiskFull, TtftError
from ttft.records import Result, Selection

Record = TypeVar("Record", Result, Selection)

MANIFEST = "manifest.json"
DOCUMENTS = "documents.arrow"
VECTORS = "vectors.npy"
FAISS = "index.faiss"

RESULTS = "results.jsonl"
SELECTIONS = "selections.jsonl"
CONFIG = "config.yaml"
PROVENANCE = "provenance.json"
PROBLEMS = "problems-{:02d}.jsonl"

LOCK = ".lock"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def shard_name(number: int) -> str:
    return f"shard-{number:05d}"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk, an exceeded quota or missing write permission into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(
                f"no space left while writing {path}",
                "the files written so far are valid: free some space and run the same command again",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise TtftError(f"cannot write {path}: {error.strerror}", "choose another --out") from error
        raise


def make_folder(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise TtftError(f"{place} is a file, not a folder", "choose another --out")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Allow one writer per folder. The lock is released when the process ends, however it ends."""
    import fcntl

    make_folder(folder)
    with writing(folder / LOCK):
        handle = open(folder / LOCK, "w")  # noqa: SIM115 - closed below; `writing` must not see errors of the body
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TtftError(f"another process is writing to {folder}", "wait for it, or choose another --out") from None
        yield


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically: it is there in full or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        with writing(path):
            with open(part, "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(part, path)
            sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: dict) -> None:
    write_whole(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def sealed(value: dict) -> dict:
    """The value with a hash of all its other keys under "sha256", so that any change to its file is detected."""
    rest = {key: part for key, part in value.items() if key != "sha256"}
    return rest | {"sha256": sha256_text(json.dumps(rest, sort_keys=True))}


def sha256_file(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ---- JSON lines ----------------------------------------------------------------------------------------------------


class JsonLines:
    """An append-only file of JSON records. Opening it removes an incomplete last line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            self._drop_partial_line()
            self._handle = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()

    def _drop_partial_line(self) -> None:
        if not self.path.exists():
            return
        with open(self.path, "rb+") as handle:
            data = handle.read()
            if data and not data.endswith(b"\n"):
                handle.truncate(data.rfind(b"\n") + 1)

    def append(self, record: dict) -> None:
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        start = self._handle.tell()
        try:
            with writing(self.path):
                rest = memoryview(line)
                while rest:  # unbuffered, so that no part of a failed line is written later
                    rest = rest[self._handle.write(rest) :]
                os.fsync(self._handle.fileno())
        except DiskFull:
            os.truncate(self.path, start)
            raise

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def read_lines(path: Path) -> list[dict]:
    """All complete records of a JSON-lines file; a last line without a newline is ignored. [] if there is no file."""
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise TtftError(
                f"{path}:{number} is not JSON: {error}", "the file was edited by hand or is damaged"
            ) from None
    return records


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """The records of a JSON-lines file as Results or Selections; [] if there is no file. Raises TtftError naming file
    and line."""
    records = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            records.append(kind(**line))
        except TypeError as error:
            raise TtftError(
                f"{path}:{number} is not a {kind.__name__} record: {error}",
                "the file was edited by hand, or written by another version of ttft",
            ) from None
    return records


# ---- run folders ---------------------------------------------------------------------------------------------------


def claim_run(folder: Path, config: dict) -> None:
    """Write config.yaml into a new run folder, or check that the folder belongs to exactly this configuration.

    Raises ConfigError naming the keys that differ: results of two configurations never share a folder.
    """
    import yaml

    path = folder / CONFIG
    if not path.exists():
        if (folder / RESULTS).exists() or (folder / MANIFEST).exists():
            raise ConfigError(f"{folder} holds other files of ttft but no {CONFIG}", "choose another --out")
        write_whole(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode())
        return
    try:
        there = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} cannot be read: {error}", "choose another --out") from None
    changed = differences(there, config)
    if changed:
        raise ConfigError(
            f"{folder} holds a run with a different configuration: " + "; ".join(changed),
            "choose another --out, or run the original command again to resume that run",
        )


def differences(there: dict, asked: dict) -> list[str]:
    """The keys in which two resolved configurations differ, as 'key is A, asked for B'."""
    there = there if isinstance(there, dict) else {}
    keys = list(dict.fromkeys([*there, *asked]))
    return [f"{k} is {there.get(k)!r}, asked for {asked.get(k)!r}" for k in keys if there.get(k) != asked.get(k)]


# ---- provenance ----------------------------------------------------------------------------------------------------

PACKAGES = ("ttft", "torch", "transformers", "datasets", "faiss-cpu", "faiss-gpu", "peft", "numpy", "tokenizers", "ray")


def provenance(seed: int, facts: dict) -> dict:
    """How a run was made: versions, commit, seed, facts about the host, and the start time (UTC)."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [_program(), *sys.argv[1:]],
        "commit": commit(),
        "seed": seed,
        "versions": {"python": platform.python_version(), **versions},
        "host": {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count(), **facts},
    }


def _program() -> str:
    """ "ttft" for the command, however it was started; otherwise the script that called the library."""
    program = sys.argv[0] if sys.argv else ""
    return "ttft" if Path(program).name in ("ttft", "__main__.py", "") else program


def commit() -> str | None:
    """The commit of the checkout that ttft runs from, with '+changes' if there are any; None outside a checkout."""
    here = Path(__file__).parent
    try:
        run = lambda *a: subprocess.run(  # noqa: E731
            ["git", "-C", str(here), *a], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        if Path(run("rev-parse", "--show-toplevel")) != here.parent:
            return None
        return run("rev-parse", "HEAD") + ("+changes" if run("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def record_provenance(folder: Path, entry: dict) -> None:
    """Add a start of the command to provenance.json: {"starts": [...]}; a resumed run has several."""
    path = folder / PROVENANCE
    starts = json.loads(path.read_text())["starts"] if path.exists() else []
    write_json(path, sealed({"starts": [*starts, entry]}))


def finish_provenance(folder: Path, seconds: float, done: int) -> None:
    """Record for the last start how long it took and how many records it wrote."""
    path = folder / PROVENANCE
    value = json.loads(path.read_text())
    value["starts"][-1] |= {"seconds": round(seconds, 3), "records_written": done}
    write_json(path, sealed(value))


def missing(prompt_ids: Iterable[str], done: Iterable[str]) -> list[str]:
    """The ids that are not done yet, in order."""
    known = set(done)
    return [i for i in prompt_ids if i not in known]
