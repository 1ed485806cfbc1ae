"""What commands say: progress and notes on standard error, results on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ttft.config.base import Config
from ttft.progress import OnProgress
from ttft.progress import Progress as Reported


def say(text: str) -> None:
    """A result for the person or the pipe: standard output, as it is."""
    print(text, flush=True)


def note(text: str) -> None:
    """A remark: standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display on standard error that leaves nothing behind, and is silent when that is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("eta"), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as display:
        yield display


def showing(display: Progress) -> OnProgress:
    """What puts the progress that the library reports on the display: a line for each stage, the last one stays."""
    tasks: dict[str, TaskID] = {}

    def show(at: Reported) -> None:
        if at.stage not in tasks:
            for ended in tasks.values():
                display.remove_task(ended)
            tasks.clear()
            tasks[at.stage] = display.add_task(at.stage, total=at.total)
        description = f"{at.stage} {at.detail}".rstrip()
        display.update(tasks[at.stage], completed=at.done, total=at.total, description=description)

    return show


def show_plan(config: Config, files: list[Path]) -> None:
    """--dry-run: the resolved configuration as YAML, and the files that would be written as comments."""
    say(yaml.safe_dump(config.resolved(), sort_keys=False, allow_unicode=True).rstrip())
    for path in files:
        say(f"# would write {path}")
