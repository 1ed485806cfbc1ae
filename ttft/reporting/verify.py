"""Checks a whole run by reading every file of it: every line, and whether the files agree with one another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ttft import run_dir, state
from ttft.errors import TtftError
from ttft.records import QueryRecord, Result, Selection, TrainingStep, Validation
from ttft.reporting.runs import not_a_run

Record = TypeVar("Record", Result, Selection, QueryRecord, TrainingStep, Validation)


def is_run(folder: Path) -> bool:
    """Whether a folder has the files of a run, however damaged, and not those of an index."""
    there = [name for name in (run_dir.RESULTS, run_dir.VALIDATION, run_dir.CONFIG) if os.path.lexists(folder / name)]
    return bool(there) and not os.path.lexists(folder / run_dir.MANIFEST)


def run_folders(folder: Path) -> list[Path]:
    """The folder, if it is a run, or else the runs in it. Raises MissingArtifact if there are none."""
    if is_run(folder):
        return [folder]
    logs = (run_dir.RESULTS, run_dir.VALIDATION)
    inside = sorted(path.parent for name in logs for path in folder.glob(f"*/{name}"))
    if not inside:
        raise not_a_run(folder)
    return inside


def damage(folder: Path) -> Iterator[str]:
    """The problems of a run, one sentence each; none for an intact run. An incomplete last line is none: a run that is
    resumed removes it."""
    yield from _adapt_logs(folder) if os.path.lexists(folder / run_dir.VALIDATION) else _result_logs(folder)
    readers: tuple[Callable[[Path], object], ...] = (run_dir.read_config, run_dir.read_provenance)
    for read in readers:
        try:
            read(folder)
        except TtftError as error:
            yield error.message


def _result_logs(folder: Path) -> Iterator[str]:
    problems: list[str] = []
    results = _records(folder / run_dir.RESULTS, Result, _prompt, problems)
    found = len(problems)
    selections = _records(folder / run_dir.SELECTIONS, Selection, _prompt, problems)
    if os.path.lexists(folder / run_dir.REWRITES):
        _records(folder / run_dir.REWRITES, QueryRecord, _prompt, problems)
    yield from problems
    yield from run_dir.contradictions(folder, results.values(), selections.values())
    if len(problems) == found:
        for prompt_id in [i for i in results if i not in selections]:
            yield f"{folder / run_dir.SELECTIONS} has no selection for {prompt_id!r}, which is in {run_dir.RESULTS}"


def _prompt(record: Result | Selection | QueryRecord) -> str:
    return record.prompt_id


def _adapt_logs(folder: Path) -> Iterator[str]:
    problems: list[str] = []
    _records(folder / run_dir.ARRIVALS, TrainingStep, lambda step: f"gradient {step.gradients}", problems)
    _records(folder / run_dir.VALIDATION, Validation, lambda one: f"{one.updates} updates", problems)
    yield from problems


def _records(path: Path, kind: type[Record], key: Callable[[Record], str], problems: list[str]) -> dict[str, Record]:
    """The intact records of a file by their key; what is wrong with the others is added to `problems`."""
    found: dict[str, Record] = {}
    if not os.path.lexists(path):
        problems.append(f"{path} is missing")
        return found
    try:
        lines = state.whole_lines(path)
    except TtftError as error:
        problems.append(error.message)
        return found
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        try:
            record = state.parse_line(kind, line, where)
        except TtftError as error:
            problems.append(error.message)
            continue
        if key(record) in found:
            problems.append(f"{where} repeats {key(record)!r}")
        found.setdefault(key(record), record)
    return found
