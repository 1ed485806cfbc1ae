"""The report as one self-contained HTML page: no scripts, nothing loaded from elsewhere, all data escaped and
free of control characters.

The same numbers give the same bytes: the page shows the times of its runs, not the time it was written.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttft.reporting import adapt_page, tables
from ttft.reporting.adapt_runs import AdaptRun
from ttft.reporting.charts import Series, escape, line_chart, stage_bars
from ttft.reporting.notes import headline
from ttft.reporting.numbers import Summary
from ttft.reporting.parts import html_table, legend, provenance, titled, two_tables
from ttft.reporting.style import STYLE
from ttft.reporting.tables import Table


def page(summaries: list[Summary], adapted: Sequence[list[AdaptRun]] = ()) -> str:
    """The report of all groups as one HTML document; `adapted`: runs of `ttft adapt`, those together that compare."""
    body = "".join(section(summary) for summary in summaries) + "".join(adapt_page.section(runs) for runs in adapted)
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
        titled("Seconds per prompt", _seconds(summary)),
        titled("By subset", html_table(tables.subsets_table(summary))) if tables.shows_subsets(summary) else "",
        titled("Prompts that gained and lost the most", _extremes(summary)),
        titled("Configuration", two_tables(summary.own_config, summary.config)),
        titled("Provenance", provenance({k: (summary.folders[k], v) for k, v in summary.starts.items()})),
    ]
    return "<section>" + "\n".join(parts) + "</section>\n"


# ---- parts ---------------------------------------------------------------------------------------------------------


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _steps(summary: Summary) -> str:
    series = [Series(c.label, c.steps, c.percent, c.low, c.high) for c in summary.curves]
    chart = line_chart(series, "% of base by gradient steps", "gradient steps", "BPB, % of base", 100.0)
    return titled("BPB by gradient steps, with 95% intervals", legend(series) + chart)


def _sigmas(summary: Summary) -> str:
    """Uses the colours of the steps chart: a run without sigma leaves its colour unused."""
    labels = [c.label for c in summary.curves]
    series = [Series(name, list(range(len(s))), s, [], []) for name in labels for s in [summary.sigmas.get(name, [])]]
    chart = line_chart(series, "Mean sigma by picks", "texts picked", "mean sigma")
    return titled("Uncertainty about the prompt (sigma), mean", legend(series) + chart) if chart else ""


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
