"""The numbers as text tables: for a terminal (rich, fitted to its width) and for a file or pipe (Markdown)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ttft.reporting.notes import headline
from ttft.reporting.numbers import Row, Summary
from ttft.visible import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

NARROW = 80  # below this many columns the main table drops numbers that other tables also show
GAP = 2


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of text; the first column is left-aligned, the others are numbers."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def least_width(self) -> int:
        """Width in columns if every cell is wrapped at spaces."""
        columns = zip(self.header, *self.rows, strict=True)
        return sum(max(len(word) for cell in column for word in (cell.split() or [""])) + GAP for column in columns)

    def turned(self, corner: str) -> Table:
        """The transposed table."""
        cells = [list(column) for column in zip(self.header, *self.rows, strict=True)]
        return Table(self.title, [corner, *cells[0][1:]], cells[1:])


# ---- cells ---------------------------------------------------------------------------------------------------------


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "-"


def interval(low: float, high: float) -> str:
    return f"{number(low, 1)}-{number(high, 1)}" if math.isfinite(low) and math.isfinite(high) else "-"


def seconds(value: float) -> str:
    """Three decimals below 0.1 s, two below 10 s, else one."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:,.1f}"


# ---- tables --------------------------------------------------------------------------------------------------------


def main_table(summary: Summary, narrow: bool = False) -> Table:
    """The base first, then the runs."""
    header = ["run", "prompts", "BPB", "% of base", "95% interval", "steps", "s per prompt", "% made worse"]
    rows = [_main_cells(row) for row in summary.rows]
    dropped = {1, 6} if narrow else set()
    keep = [i for i in range(len(header)) if i not in dropped]
    title = f"{summary.score} score; prompts: {summary.prompts}, bytes: {summary.bytes:,}"
    return Table(title, [header[i] for i in keep], [[row[i] for i in keep] for row in rows])


def _main_cells(row: Row) -> list[str]:
    return [
        row.label,
        str(row.prompts),
        number(row.bpb, 4),
        number(row.percent, 1),
        interval(row.low, row.high),
        number(row.steps, 1),
        seconds(row.seconds_total),
        number(row.worse, 1),
    ]


def seconds_table(summary: Summary) -> Table:
    """Mean seconds per prompt, in total and by stage."""
    runs = [row for row in summary.rows if not row.is_base]
    stages = list(dict.fromkeys(stage for row in runs for stage in row.seconds))
    cells = [
        [row.label, seconds(row.seconds_total), *(seconds(row.seconds.get(s, math.nan)) for s in stages)]
        for row in runs
    ]
    return Table("seconds per prompt", ["run", "total", *stages], cells)


def steps_table(summary: Summary) -> Table:
    """% of base by gradient steps, a column per run."""
    steps = sorted({step for curve in summary.curves for step in curve.steps})
    known = [dict(zip(curve.steps, curve.percent, strict=True)) for curve in summary.curves]
    cells = [[str(step), *(number(of.get(step, math.nan), 1) for of in known)] for step in steps]
    return Table("% of base by gradient steps", ["steps", *(curve.label for curve in summary.curves)], cells)


def subsets_table(summary: Summary) -> Table:
    """A row per subset, a column per run with % of base and its interval."""
    labels = [cell["label"] for cell in summary.subsets[0].runs]
    cells = [
        [row.subset or "(none)", str(row.prompts), f"{row.bytes:,}", number(row.base_bpb, 4), *map(_percent, row.runs)]
        for row in summary.subsets
    ]
    return Table("% of base by subset", ["subset", "prompts", "bytes", "base BPB", *labels], cells)


def _percent(cell: dict) -> str:
    between = interval(cell["low"], cell["high"])
    return number(cell["percent"], 1) + (f" ({between})" if between != "-" else "")


def subsets_list(summary: Summary) -> Table:
    """The same for narrow terminals: under each subset a row per run."""
    rows = []
    for row in summary.subsets:
        rows.append([row.subset or "(none)", str(row.prompts), number(row.base_bpb, 4), "100.0", "-"])
        for cell in row.runs:
            between = interval(cell["low"], cell["high"])
            rows.append(["  " + cell["label"], "", number(cell["bpb"], 4), number(cell["percent"], 1), between])
    return Table("% of base by subset", ["subset, run", "prompts", "BPB", "% of base", "95% interval"], rows)


# ---- showing -------------------------------------------------------------------------------------------------------


def markdown(summary: Summary, subsets: bool = True) -> str:
    """All tables of a group as aligned Markdown."""
    tables = [main_table(summary), seconds_table(summary), steps_table(summary)]
    if subsets and shows_subsets(summary):
        tables.append(subsets_table(summary))
    parts = [visible(f"## {summary.model}, {summary.score} score"), visible(headline(summary.score, summary.rows))]
    parts += [titled_markdown(table).rstrip("\n") for table in tables]
    parts.append("\n".join(f"- {visible(note)}" for note in summary.notes))
    return "\n\n".join(parts) + "\n"


def titled_markdown(table: Table) -> str:
    return f"### {visible(table.title)}\n\n{markdown_table(table)}\n"


def markdown_table(table: Table) -> str:
    lines = [
        [visible(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in [table.header, *table.rows]
    ]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*lines, strict=True)]
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])])
    text = [f"| {' | '.join(_aligned(row, widths))} |" for row in lines]
    return "\n".join([text[0], f"|{rule}|", *text[1:]])


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]


def shows_subsets(summary: Summary) -> bool:
    return len(summary.subsets) > 1 or bool(summary.subsets[0].subset)


def for_terminal(summary: Summary, width: int, subsets: bool = True) -> list[RenderableType]:
    """A group as rich renderables for a terminal of `width` columns: all tables, each in the form that fits."""
    from rich.text import Text

    tables = [
        main_table(summary, narrow=width < NARROW),
        _fitting(width, seconds_table(summary), seconds_table(summary).turned("stage")),
        _fitting(width, steps_table(summary), steps_table(summary).turned("run")),
    ]
    if subsets and shows_subsets(summary):
        tables.append(_fitting(width, subsets_table(summary), subsets_list(summary)))
    return [
        Text(visible(f"{summary.model}, {summary.score} score"), style="bold"),
        Text(visible(headline(summary.score, summary.rows))),
        *map(rich_table, tables),
        Text(),
        *(Text(visible(f"- {note}"), style="dim") for note in summary.notes),
    ]


def for_width(table: Table, width: int, corner: str) -> RenderableType:
    """A table as it is or, if it does not fit, turned."""
    return rich_table(_fitting(width, table, table.turned(corner)))


def _fitting(width: int, first: Table, second: Table) -> Table:
    return first if first.least_width() <= width or first.least_width() <= second.least_width() else second


def rich_table(table: Table) -> RenderableType:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=Text(visible(f"\n{table.title}")),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for number_of, name in enumerate(table.header):
        longest = max(len(word) for row in [table.header, *table.rows] for word in (row[number_of].split() or [""]))
        justify: Literal["left", "right"] = "right" if number_of else "left"
        shown.add_column(
            Text(visible(name)), justify=justify, vertical="bottom", min_width=min(longest, 24), overflow="fold"
        )
    for row in table.rows:
        shown.add_row(*(Text(visible(cell)) for cell in row))
    return shown
