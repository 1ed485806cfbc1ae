"""Checks a whole run by reading every file of it: every line, and whether the files agree with one another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ttft import run_dir, state
from ttft.errors import TtftError
from ttft.records import Result, Selection
from ttft.reporting.runs import not_a_run

Record = TypeVar("Record", Result, Selection)


def is_run(folder: Path) -> bool:
    """Whether a folder has the files of a run, however damaged, and not those of an index."""
    there = [name for name in (run_dir.RESULTS, run_dir.CONFIG) if os.path.lexists(folder / name)]
    return bool(there) and not os.path.lexists(folder / run_dir.MANIFEST)


def run_folders(folder: Path) -> list[Path]:
    """The folder, if it is a run, or else the runs in it. Raises MissingArtifact if there are none."""
    if is_run(folder):
        return [folder]
    inside = sorted(path.parent for path in folder.glob(f"*/{run_dir.RESULTS}"))
    if not inside:
        raise not_a_run(folder)
    return inside


def damage(folder: Path) -> Iterator[str]:
    """The problems of a run, one sentence each; none for an intact run. An incomplete last line is none: a run that is
    resumed removes it."""
    problems: list[str] = []
    results = _records(folder / run_dir.RESULTS, Result, problems)
    found = len(problems)
    selections = _records(folder / run_dir.SELECTIONS, Selection, problems)
    yield from problems
    yield from run_dir.contradictions(folder, results.values(), selections.values())
    if len(problems) == found:
        for prompt_id in [i for i in results if i not in selections]:
            yield f"{folder / run_dir.SELECTIONS} has no selection for {prompt_id!r}, which is in {run_dir.RESULTS}"
    readers: tuple[Callable[[Path], object], ...] = (run_dir.read_config, run_dir.read_provenance)
    for read in readers:
        try:
            read(folder)
        except TtftError as error:
            yield error.message


def _records(path: Path, kind: type[Record], problems: list[str]) -> dict[str, Record]:
    """The intact records of a file by prompt; what is wrong with the others is added to `problems`."""
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
        if record.prompt_id in found:
            problems.append(f"{where} repeats {record.prompt_id!r}")
        found.setdefault(record.prompt_id, record)
    return found
