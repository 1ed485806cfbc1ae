"""Names of all files of an index or a run, and the ways to write them so that a kill at any moment leaves them valid.

Index folder: manifest.json, shard-00000/{documents.arrow, vectors.npy, index.faiss}, problems-0.jsonl, provenance.json
Run folder:   results.jsonl, selections.jsonl, config.yaml, provenance.json

JSON-lines files are append-only, one record a line, flushed and fsynced; a line that a kill cut short is removed when
the file is next opened for writing. Whole files are written beside their place and renamed.
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
    """Turn a full disk, a quota or a read-only place into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(
                f"no space left while writing {path}",
                "what was written before is valid: make space and run the same command again",
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
    """Keep two writers of one folder apart; the lock goes with the process, however it ends."""
    import fcntl

    make_folder(folder)
    with writing(folder / LOCK):
        handle = open(folder / LOCK, "w")  # noqa: SIM115 - closed below; errors of the body are not the lock's
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
    """Write a file so that it is there whole or not at all."""
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
    """The value with the hash of all its rest under "sha256", so that a changed byte of its file is noticed."""
    rest = {key: part for key, part in value.items() if key != "sha256"}
    return rest | {"sha256": sha256_text(json.dumps(rest, sort_keys=True))}


def sha256_file(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ---- JSON lines ----------------------------------------------------------------------------------------------------


class JsonLines:
    """An append-only file of JSON records. Opening it removes a last line that was cut short by a kill."""

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
                while rest:  # unbuffered, so that nothing of a line that failed is left to be written later
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
    """All whole records of a JSON-lines file; a last line without its newline is not one. [] if there is no file."""
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise TtftError(
                f"{path}:{number} is not JSON: {error}", "the file was changed by hand or damaged"
            ) from None
    return records


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """The records of a JSON-lines file as Results or Selections; [] if there is no file. Raises TtftError that names
    file and line."""
    records = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            records.append(kind(**line))
        except TypeError as error:
            raise TtftError(
                f"{path}:{number} is not a {kind.__name__} record: {error}",
                "the file was changed by hand, or written by another version of ttft",
            ) from None
    return records


# ---- run folders ---------------------------------------------------------------------------------------------------


def claim_run(folder: Path, config: dict) -> None:
    """Write config.yaml into a new run folder, or check that the folder belongs to this very configuration.

    Raises ConfigError that names the keys that differ: results of two configurations never share a folder.
    """
    import yaml

    path = folder / CONFIG
    if not path.exists():
        if (folder / RESULTS).exists() or (folder / MANIFEST).exists():
            raise ConfigError(f"{folder} holds other files of ttft and no {CONFIG}", "choose another --out")
        write_whole(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode())
        return
    try:
        there = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} cannot be read: {error}", "choose another --out") from None
    changed = differences(there, config)
    if changed:
        raise ConfigError(
            f"{folder} holds a run of another configuration: " + "; ".join(changed),
            "choose another --out, or repeat the first command to go on with it",
        )


def differences(there: dict, asked: dict) -> list[str]:
    """The keys of two resolved configurations that differ, as 'key is A, asked for B'."""
    there = there if isinstance(there, dict) else {}
    keys = list(dict.fromkeys([*there, *asked]))
    return [f"{k} is {there.get(k)!r}, asked for {asked.get(k)!r}" for k in keys if there.get(k) != asked.get(k)]


# ---- provenance ----------------------------------------------------------------------------------------------------

PACKAGES = ("ttft", "torch", "transformers", "datasets", "faiss-cpu", "faiss-gpu", "peft", "numpy", "tokenizers", "ray")


def provenance(seed: int, facts: dict) -> dict:
    """Where a run came from: versions, commit, seed, host facts and the start time (UTC)."""
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
    """ "ttft" for the command, however it was started; else the script that called the library."""
    program = sys.argv[0] if sys.argv else ""
    return "ttft" if Path(program).name in ("ttft", "__main__.py", "") else program


def commit() -> str | None:
    """Commit of the source tree ttft runs from, with '+changes' if it differs; None outside a checkout."""
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
    """Add one start of the command to provenance.json: {"starts": [...]}; a resumed run has several."""
    path = folder / PROVENANCE
    starts = json.loads(path.read_text())["starts"] if path.exists() else []
    write_json(path, sealed({"starts": [*starts, entry]}))


def finish_provenance(folder: Path, seconds: float, done: int) -> None:
    """Add to the last start how long it took and how many records it wrote."""
    path = folder / PROVENANCE
    value = json.loads(path.read_text())
    value["starts"][-1] |= {"seconds": round(seconds, 3), "records_written": done}
    write_json(path, sealed(value))


def missing(prompt_ids: Iterable[str], done: Iterable[str]) -> list[str]:
    """The ids not done yet, in order."""
    known = set(done)
    return [i for i in prompt_ids if i not in known]
