"""Checking runs: `ttft report --verify RUN...`, and `ttft index verify` of a run."""

from __future__ import annotations

from pathlib import Path

from ttft.commands.console import say
from ttft.errors import MissingArtifact
from ttft.progress import counted


def verify_runs(folders: list[Path]) -> None:
    """Print what is damaged, a line each. Raises MissingArtifact if there is anything."""
    from ttft.reporting.verify import damage, run_folders

    runs = [run for folder in folders for run in run_folders(folder)]
    found = 0
    for run in runs:
        for line in damage(run):
            say(line)
            found += 1
    if found:
        raise MissingArtifact(
            f"{counted(found, 'problem')} found in {counted(len(runs), 'run')}",
            "restore the damaged files from a backup, or make the run again with a new --out",
        )
    for run in runs:
        say(f"{run} is intact")
