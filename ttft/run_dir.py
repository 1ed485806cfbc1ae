"""The names of all files of an index or a run, and how to write them so that they stay valid if the process is killed.

Index folder: manifest.json, shard-00000/{documents.arrow, vectors.npy, index.faiss}, trained.faiss,
              segment-00000.faiss, problems-00.jsonl, provenance.json
Run folder:   results.jsonl, selections.jsonl, config.yaml, provenance.json; rewrites.jsonl if prompts are dialogs
Adapt folder: arrivals.jsonl, validation.jsonl, config.yaml, provenance.json, checkpoint/, the adapter in PEFT's form

JSON-lines files are append-only (json_lines.py); other files are written under a temporary name and renamed (files.py).
"""

from __future__ import annotations

import contextlib
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
from typing import Any

from ttft.errors import ConfigError, MissingArtifact, TtftError
from ttft.files import open_log, open_regular, sweep, write_whole, writing
from ttft.records import Result, Selection
from ttft.state import DAMAGED, check_plain, dump_yaml, read_json, read_records, read_yaml

MANIFEST = "manifest.json"
DOCUMENTS = "documents.arrow"
VECTORS = "vectors.npy"
FAISS = "index.faiss"
TRAINED = "trained.faiss"

RESULTS = "results.jsonl"
SELECTIONS = "selections.jsonl"
REWRITES = "rewrites.jsonl"
ARRIVALS = "arrivals.jsonl"
VALIDATION = "validation.jsonl"
CHECKPOINT = "checkpoint"
CONFIG = "config.yaml"
PROVENANCE = "provenance.json"
PROBLEMS = "problems-{:02d}.jsonl"

LOCK = ".lock"


def shard_name(number: int) -> str:
    return f"shard-{number:05d}"


def segment_name(number: int) -> str:
    return f"segment-{number:05d}.faiss"


def make_folder(folder: Path) -> None:
    """Raises TtftError where a file stands in the way, or the folder cannot be made."""
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)
        raise TtftError(f"{there} is a file, not a folder", "choose another --out") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Allow one writer per folder, and remove what killed writers left half written. The lock is released when the
    process ends, however it ends.

    Raises TtftError if another process holds it.
    """
    import fcntl

    make_folder(folder)
    with os.fdopen(open_log(folder / LOCK), "rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TtftError(f"another process is writing to {folder}", "wait for it, or choose another --out") from None
        sweep(folder)
        yield


def write_json(path: Path, value: dict) -> None:
    write_whole(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def sealed(value: dict) -> dict:
    """The value with a hash of all its other keys under "sha256", so that any change to its file is detected."""
    rest = {key: part for key, part in value.items() if key != "sha256"}
    return rest | {"sha256": sha256_text(json.dumps(rest, sort_keys=True))}


def sha256_file(path: Path) -> str:
    """Raises as files.open_regular."""
    with open_regular(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ---- run folders ---------------------------------------------------------------------------------------------------


def claim_run(folder: Path, config: dict) -> None:
    """Write config.yaml into a new run folder, or check that the folder belongs to exactly this configuration.

    Raises ConfigError naming the keys that differ: results of two configurations never share a folder.
    """
    path = folder / CONFIG
    if not os.path.lexists(path):
        if (folder / RESULTS).exists() or (folder / MANIFEST).exists():
            raise ConfigError(f"{folder} holds other files of ttft but no {CONFIG}", "choose another --out")
        write_whole(path, dump_yaml(sealed(config)).encode())
        return
    changed = differences(read_config(folder), config)
    if changed:
        raise ConfigError(
            f"{folder} holds a run with a different configuration: " + "; ".join(changed),
            "choose another --out, or run the original command again to resume that run",
        )


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of the run in a folder, without its hash.

    Raises MissingArtifact if there is none, ConfigError if it is damaged.
    """
    path = folder / CONFIG
    if not os.path.lexists(path):
        raise MissingArtifact(
            f"{path} is missing, so the configuration of the run is unknown", "restore the file from a backup"
        )
    value = read_yaml(path)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{path} is not a mapping (key: value)", DAMAGED)
    check_plain(value, str(path), ConfigError)
    if "sha256" not in value:
        raise ConfigError(
            f"{path} has no hash, so it was written by an earlier version of ttft, or by hand",
            "make the run again with a new --out",
        )
    if value != sealed(value):
        raise ConfigError(f"{path} is damaged: its hash does not match", DAMAGED)
    del value["sha256"]
    return value


def read_run(folder: Path) -> tuple[list[Result], list[Selection]]:
    """The records of a run, [] where there is no such file.

    Raises TtftError that names file and line for a damaged record, for a prompt that has two, and for a result of other
    texts than were selected.
    """
    results = read_records(folder / RESULTS, Result, key=lambda result: result.prompt_id)
    selections = read_records(folder / SELECTIONS, Selection, key=lambda selection: selection.prompt_id)
    for problem in contradictions(folder, results, selections):
        raise TtftError(problem, DAMAGED)
    return results, selections


def contradictions(folder: Path, results: Iterable[Result], selections: Iterable[Selection]) -> Iterator[str]:
    """The results of other texts than were selected, a sentence each."""
    selected = {selection.prompt_id: selection.ids for selection in selections}
    for result in results:
        if selected.get(result.prompt_id, result.ids) != result.ids:
            yield f"{folder / RESULTS}: the texts of {result.prompt_id!r} are not those in {SELECTIONS}"


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


def read_provenance(folder: Path) -> list[dict[str, Any]]:
    """The starts in provenance.json, oldest first. Raises MissingArtifact if it is missing, TtftError if damaged."""
    path = folder / PROVENANCE
    value = read_json(path, TtftError)
    if not isinstance(value, dict) or value != sealed(value):
        raise TtftError(f"{path} is damaged: its hash does not match", DAMAGED)
    starts = value.get("starts")
    if not isinstance(starts, list) or not starts or not all(isinstance(start, dict) for start in starts):
        raise TtftError(f"{path} has no list of starts", DAMAGED)
    return starts


def record_provenance(folder: Path, entry: dict[str, Any]) -> None:
    """Add a start of the command to provenance.json: {"starts": [...]}; a resumed run has several."""
    starts = read_provenance(folder) if os.path.lexists(folder / PROVENANCE) else []
    write_json(folder / PROVENANCE, sealed({"starts": [*starts, entry]}))


def finish_provenance(folder: Path, seconds: float, done: int) -> None:
    """Record for the last start how long it took and how many records it wrote."""
    starts = read_provenance(folder)
    starts[-1] |= {"seconds": round(seconds, 3), "records_written": done}
    write_json(folder / PROVENANCE, sealed({"starts": starts}))


def missing(prompt_ids: Iterable[str], done: Iterable[str]) -> list[str]:
    """The ids that are not done yet, in order."""
    known = set(done)
    return [i for i in prompt_ids if i not in known]
