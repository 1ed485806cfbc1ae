"""The report as one self-contained HTML page: no scripts, nothing loaded from elsewhere, all data escaped and
free of control characters.

The same numbers give the same bytes: the page shows the times of its runs, not the time it was written.
"""

from __future__ import annotations

from ttft.reporting import tables
from ttft.reporting.charts import Series, escape, key, line_chart, stage_bars
from ttft.reporting.notes import headline
from ttft.reporting.numbers import Summary
from ttft.reporting.style import STYLE
from ttft.reporting.tables import Table


def page(summaries: list[Summary]) -> str:
    """The report of all groups as one HTML document."""
    body = "".join(section(summary) for summary in summaries)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>ttft report</title><style>{STYLE}</style></head>\n"
        f"<body><h1>ttft report: bits per byte after test-time fine-tuning</h1>\n{body}</body></html>\n"
    )


def section(summary: Summary) -> str:
    """One group: headline, tables, charts, prompts, configuration, provenance."""
    parts = [
        f"<h2>{escape(summary.model)}, {escape(summary.score)} score</h2>",
        f'<p class="headline">{escape(headline(summary.score, summary.rows))}</p>',
        html_table(tables.main_table(summary), kind="main"),
        _list(summary.notes),
        f'<div class="grid2"><div>{_steps(summary)}</div><div>{_sigmas(summary)}</div></div>',
        _titled("Seconds per prompt", _seconds(summary)),
        _titled("By subset", html_table(tables.subsets_table(summary))) if tables.shows_subsets(summary) else "",
        _titled("Prompts that gained and lost the most", _extremes(summary)),
        _titled("Configuration", _configuration(summary)),
        _titled("Provenance", _provenance(summary)),
    ]
    return "<section>" + "\n".join(parts) + "</section>\n"


# ---- parts ---------------------------------------------------------------------------------------------------------


def _titled(title: str, content: str) -> str:
    return f"<h3>{title}</h3>{content}" if content else ""


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def html_table(table: Table, caption: bool = True, kind: str = "numbers") -> str:
    """A table that scrolls sideways on narrow screens. kind is a class of the style sheet and determines which columns
    are left-aligned: "numbers" the first, "prompts" the first two, "words" all; "main" hides its second column (the
    number of prompts, which is also in the title) on a phone."""
    title = f"<caption>{escape(table.title)}</caption>" if caption and table.title else ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    top = f"<thead><tr>{head}</tr></thead>" if any(table.header) else ""
    return f'<div class="scroll"><table class="{kind}">{title}{top}<tbody>{rows}</tbody></table></div>'


def _legend(series: list[Series]) -> str:
    names = "".join(f"<span>{key(i)}{escape(s.label)}</span>" for i, s in enumerate(series) if s.x)
    return f'<div class="legend">{names}</div>'


def _steps(summary: Summary) -> str:
    series = [Series(c.label, c.steps, c.percent, c.low, c.high) for c in summary.curves]
    chart = line_chart(series, "% of base by gradient steps", "gradient steps", "BPB, % of base", 100.0)
    return _titled("BPB by gradient steps, with 95% intervals", _legend(series) + chart)


def _sigmas(summary: Summary) -> str:
    """Uses the colours of the steps chart: a run without sigma leaves its colour unused."""
    labels = [c.label for c in summary.curves]
    series = [Series(name, list(range(len(s))), s, [], []) for name in labels for s in [summary.sigmas.get(name, [])]]
    chart = line_chart(series, "Mean sigma by picks", "texts picked", "mean sigma")
    return _titled("Uncertainty about the prompt (sigma), mean", _legend(series) + chart) if chart else ""


def _seconds(summary: Summary) -> str:
    rows = [(row.label, row.seconds) for row in summary.rows if not row.is_base]
    stages = tables.seconds_table(summary).header[2:]
    chart = stage_bars(rows, stages, "Mean seconds per prompt by stage")
    if not chart:
        return ""
    swatch = (
        '<svg class="swatch" viewBox="0 0 13 13" aria-hidden="true"><rect class="s{}" width="13" height="13"/></svg>'
    )
    names = "".join(f"<span>{swatch.format(i % 6)}{escape(stage)}</span>" for i, stage in enumerate(stages))
    return f'<div class="legend">{names}</div><div class="bars">{chart}</div>' + html_table(
        tables.seconds_table(summary), caption=False
    )


def _extremes(summary: Summary) -> str:
    parts = []
    for label in summary.best:
        for kind, prompts in (("lowest", summary.best[label]), ("highest", summary.worst[label])):
            cells = [[p["id"], p["subset"], tables.number(p["percent"], 1)] for p in prompts]
            table = Table(f"{label}: {kind} % of base", ["prompt", "subset", "% of base"], cells)
            parts.append(f"<div>{html_table(table, kind='prompts')}</div>" if cells else "")
    return f'<div class="grid2">{"".join(parts)}</div>'


def _configuration(summary: Summary) -> str:
    keys = list(dict.fromkeys(k for own in summary.own_config.values() for k in own))
    runs = list(summary.own_config)
    differing = [[k, *(_plain(summary.own_config[run].get(k)) for run in runs)] for k in keys]
    shared = [[k, _plain(value)] for k, value in summary.config.items()]
    tables_of = [Table("different", ["key", *runs], differing)] if differing else []
    tables_of.append(Table("the same in all runs" if len(runs) > 1 else "", ["", ""], shared))
    return "<br>".join(html_table(table, kind="words") for table in tables_of)


def _provenance(summary: Summary) -> str:
    parts = []
    for label, starts in summary.starts.items():
        name = f"<summary>{escape(label)}: {escape(summary.folders[label])}</summary>"
        each = "".join(html_table(_start(number, start), kind="words") for number, start in enumerate(starts, 1))
        parts.append(f"<details open>{name}{each or '<p>No provenance was recorded.</p>'}</details>")
    return "".join(parts)


def _start(number: int, start: object) -> Table:
    facts = start if isinstance(start, dict) else {"start": start}
    return Table(f"start {number}", ["", ""], [[str(name), _plain(value)] for name, value in facts.items()])


def _plain(value: object) -> str:
    """A value in readable form, with lists and mappings on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value))
    return {None: "none", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)
