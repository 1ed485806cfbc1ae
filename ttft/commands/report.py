"""ttft report: run folders -> tables on stdout, one HTML page, and its numbers as JSON."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ttft import files, run_dir
from ttft.commands.console import say, show_plan
from ttft.commands.verify_runs import verify_runs
from ttft.config.report import ReportConfig
from ttft.errors import ConfigError

if TYPE_CHECKING:
    from ttft.reporting.numbers import Summary
    from ttft.reporting.tables import Table

PAGE = "report.html"
SCHEMA = 1  # of the file of numbers


def run(config: ReportConfig, *, dry_run: bool = False) -> None:
    """Report on config.runs; the last line on stdout is the path of the page. With config.verify, only check them."""
    folders = [Path(name) for name in config.runs]
    if config.verify and not dry_run:
        verify_runs(folders)
        return
    page_path = page_file(folders, config.out)
    numbers_path = page_path.with_suffix(".json")
    if dry_run:
        show_plan(config, [] if config.verify else [page_path, numbers_path])
        return

    from ttft.reporting.adapt_runs import groups as adapt_groups
    from ttft.reporting.adapt_runs import is_adapt_run, read_adapt_runs
    from ttft.reporting.adapt_runs import table as adapt_table
    from ttft.reporting.groups import read_groups
    from ttft.reporting.page import page
    from ttft.reporting.summary import summarize

    adapted = [folder for folder in folders if is_adapt_run(folder)]
    others = [folder for folder in folders if folder not in adapted]
    runs = read_adapt_runs(adapted)
    together = adapt_groups(runs)
    summaries = [summarize(group) for group in read_groups(others)] if others else []
    _print_tables(summaries, config.subsets, [adapt_table(group) for group in together])
    run_dir.make_folder(page_path.parent)
    files.write_whole(page_path, page(summaries, together).encode())
    numbers = {"schema": SCHEMA, "groups": [s.to_json() for s in summaries]}
    run_dir.write_json(numbers_path, numbers | ({"adapted": [run.to_json() for run in runs]} if runs else {}))
    say(f"report: {page_path}")


def page_file(folders: list[Path], out: str | None) -> Path:
    """The path of the page: `out`, or by default in the run folder or the parent folder common to all runs.

    Raises ConfigError if the runs have no common folder but the root of the disk.
    """
    if out is not None:
        return Path(out) if out.endswith(".html") else Path(out) / PAGE
    parents = list(dict.fromkeys(folder.resolve() for folder in folders))
    if len(parents) == 1:
        return folders[0] / PAGE
    shared = Path(os.path.commonpath([folder.parent for folder in parents]))
    if shared == Path(shared.anchor):
        raise ConfigError(f"the runs share no folder but {shared}", "choose where to write the page: --out FOLDER")
    return (shared.relative_to(Path.cwd()) if shared.is_relative_to(Path.cwd()) else shared) / PAGE


def _print_tables(summaries: list[Summary], subsets: bool, adapted: list[Table]) -> None:
    from ttft.reporting import tables

    if not sys.stdout.isatty():
        say("\n".join([tables.markdown(s, subsets) for s in summaries] + [tables.titled_markdown(t) for t in adapted]))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for summary in summaries:
        for part in tables.for_terminal(summary, console.width, subsets):
            console.print(part)
    for table in adapted:
        console.print(tables.for_width(table, console.width, ""))
