"""Reads run folders and joins the jobs of one run (`ttft finetune-eval --job i/n`).

Jobs belong to the same run if their configurations differ only in the job. Their folders may be anywhere.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from ttft import run_dir
from ttft.errors import TtftError
from ttft.jobs import Job
from ttft.reporting.runs import PLACES, Run, read_run


def read_runs(folders: list[Path]) -> list[Run]:
    """Read run folders, ignoring repetitions, and join the jobs among them; errors: see `read_run`, `join`."""
    parts = [part for folder in folders for part in _parts(folder)]
    once = {folder.resolve(): folder for folder in reversed(parts)}
    return join([read_run(folder) for folder in reversed(once.values())])


def _parts(folder: Path) -> list[Path]:
    """The jobs inside a folder, if it contains nothing but jobs with results; else the folder itself."""
    if (folder / run_dir.RESULTS).exists():
        return [folder]
    inside = sorted(path.parent for path in folder.glob(f"*/{run_dir.RESULTS}") if path.stat().st_size)
    return inside if inside and all(run_dir.read_config(p).get("job") for p in inside) else [folder]


def join(runs: list[Run]) -> list[Run]:
    """The runs in order of first appearance, with the jobs of each run joined.

    Raises TtftError if jobs contradict each other: a prompt is in two of them, or their number of jobs differs.
    """
    together: dict[str, list[Run]] = {}
    for run in runs:
        what = {key: value for key, value in run.config.items() if key not in PLACES}
        key = json.dumps(what, sort_keys=True, default=str) if run.config.get("job") else str(run.folder)
        together.setdefault(key, []).append(run)
    return [_joined(some) if some[0].config.get("job") else some[0] for some in together.values()]


def _joined(jobs: list[Run]) -> Run:
    jobs = sorted(jobs, key=lambda job: (_job(job).number, _job(job).total))
    _check_one_partition(jobs)
    parent = Path(os.path.commonpath([job.folder.absolute() for job in jobs]))
    starts = [{"job": s.config["job"], **start} for s in jobs for start in s.provenance["starts"]]
    return replace(
        jobs[0],
        folder=parent.relative_to(Path.cwd()) if parent.is_relative_to(Path.cwd()) else parent,
        config={key: value for key, value in jobs[0].config.items() if key not in PLACES},
        results=tuple(result for job in jobs for result in job.results),
        selections=tuple(selection for job in jobs for selection in job.selections),
        unscored=tuple(result for job in jobs for result in job.unscored),
        provenance={"starts": starts},
        warnings=tuple(_warnings(jobs)),
    )


def _job(run: Run) -> Job:
    try:
        return Job.parse(str(run.config["job"]))
    except ValueError:
        where = run.folder / run_dir.CONFIG
        raise TtftError(f"{where}: job is {run.config['job']!r}, not i/n", "the file was edited by hand") from None


def _check_one_partition(jobs: list[Run]) -> None:
    for one, other in pairwise(jobs):
        if _job(one).total != _job(other).total:
            raise TtftError(
                f"{one.folder} is job {one.config['job']} and {other.folder} is job {other.config['job']} of the "
                "same run, cut differently",
                "report only jobs with the same total number of jobs",
            )
    seen: dict[str, Run] = {}
    for job in jobs:
        for result in (*job.results, *job.unscored):
            first = seen.setdefault(result.prompt_id, job)
            if first is not job:
                raise TtftError(
                    f"prompt {result.prompt_id!r} is in two jobs of one run: {first.folder} and {job.folder}",
                    "report only one of them, or run both again with the same prompts, each with a new --out",
                )


def _warnings(jobs: list[Run]) -> list[str]:
    """Jobs that are missing or recognisably unfinished: a finished job has at least as many prompts as any later one,
    and at most one fewer than any earlier one."""
    total = _job(jobs[0]).total
    absent = sorted(set(range(1, total + 1)) - {_job(job).number for job in jobs})
    lines = []
    if absent:
        names, verb = ", ".join(f"{number}/{total}" for number in absent), " are" if len(absent) > 1 else " is"
        lines.append(f"WARNING: {len(absent)} of {total} jobs{verb} missing ({names}), and so are their prompts.")
    counts = [len(job.results) + len(job.unscored) for job in jobs]
    for place, job in enumerate(jobs):
        least = max(max(counts) - 1, *counts[place:])
        if counts[place] < least:
            lines.append(
                f"WARNING: job {job.config['job']} is not finished: it has {counts[place]} prompts of {least}."
            )
    return lines
