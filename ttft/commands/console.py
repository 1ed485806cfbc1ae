"""The output of commands: progress and notes on standard error, results on standard output.

Texts from elsewhere reach a terminal only with their control characters made visible.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from ttft.config.base import Config
from ttft.progress import Progress
from ttft.state import dump_yaml
from ttft.visible import visible

EVERY = 30.0  # seconds between two lines of progress if there is no terminal


def say(text: str, end: str = "\n") -> None:
    """Print a result to standard output: unchanged in a pipe or file."""
    print(visible(text) if sys.stdout.isatty() else text, end=end, flush=True)


def note(text: str) -> None:
    """Print a note to standard error. A full disk there ends no command; a reader that goes away does."""
    try:
        print(visible(text), file=sys.stderr, flush=True)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise


def plain(text: object) -> Text:
    """A text from elsewhere for a table on a terminal: no markup, no control characters."""
    return Text(visible(str(text)))


class Display:
    """Shows `Progress` on standard error: a bar per stage on a terminal, otherwise a line at most every 30 seconds.

    Pass an instance to the library as `on_progress`.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self.terminal = console.is_terminal
        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), MofNCompleteColumn(), _Rate(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}", markup=False),
        )  # fmt: skip
        self.bars = Bars(*columns, console=console, disable=not self.terminal, transient=True, redirect_stdout=False)
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if self.terminal:
            self._show(progress)
        now = time.monotonic()
        _, before = self._began.setdefault(progress.stage, (now, progress.done))
        if not self.terminal and now - self._told >= EVERY:
            self._told = now
            note(_line(progress, progress.done - before, now - self._began[progress.stage][0]))

    def _show(self, progress: Progress) -> None:
        if progress.stage not in self._tasks:
            for task in self._tasks.values():
                self.bars.remove_task(task)
            self._tasks = {progress.stage: self.bars.add_task(progress.stage, total=None, detail="", unit="")}
        self.bars.update(
            self._tasks[progress.stage], completed=progress.done, total=progress.total,
            detail=visible(progress.detail),
            unit=progress.unit,
        )  # fmt: skip

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the bar in a block, so that something else can be printed."""
        self.bars.stop()
        try:
            yield
        finally:
            self.bars.start()


class _Rate(ProgressColumn):
    """Units per second, measured over the most recent ones."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        return Text(f"{unit}, {task.speed:.3g}/s" if task.speed else unit, style="progress.data.speed")


@contextmanager
def progress() -> Iterator[Display]:
    """A display that is removed from the terminal at the end of the block."""
    display = Display()
    with display.bars:
        yield display


def _line(progress: Progress, done: int, seconds: float) -> str:
    of = "" if progress.total is None else f" of {progress.total:,}"
    words = [f"{progress.stage}: {progress.done:,}{of} {progress.unit}"]
    words += [progress.detail] if progress.detail else []
    if done > 0 and seconds > 0:
        rate = done / seconds
        words.append(f"{rate:.3g}/s")
        if progress.total is not None:
            words.append(f"about {clock((progress.total - progress.done) / rate)} left")
    return ", ".join(words)


def clock(seconds: float) -> str:
    """A time as h:mm:ss."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def show_plan(config: Config, files: list[Path]) -> None:
    """--dry-run: the resolved configuration as YAML, and the files that would be written as comments."""
    say(dump_yaml(config.resolved()).rstrip())
    for path in files:
        say(f"# would write {path}")
