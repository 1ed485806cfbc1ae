"""The part of the page on runs of `ttft adapt`: loss and held-out BPB, lag and gap, and who did the work."""

from __future__ import annotations

from collections.abc import Sequence

from ttft.reporting import adapt_runs
from ttft.reporting.adapt_runs import AdaptRun
from ttft.reporting.charts import Series, escape, line_chart, stage_bars
from ttft.reporting.parts import configuration, html_table, legend, provenance, titled


def section(runs: Sequence[AdaptRun]) -> str:
    """Runs that compare (adapt_runs.groups)."""
    table = adapt_runs.table(runs)
    clock = "simulated seconds" if runs[0].simulated else "seconds"
    best = min(runs, key=lambda run: run.validation[-1].nats / run.validation[-1].bytes)
    first, last = best.validation[0], best.validation[-1]
    headline = (
        f"{best.label}: held-out BPB {first.bpb:.4f} -> {last.bpb:.4f} ({100 * last.nats / first.nats:.1f}% of base) "
        f"after {last.updates:,} updates in {best.time:,.0f} {clock}"
    )
    parts = [
        f"<h2>{escape(str(best.config.get('model')))}, adapted to a corpus</h2>",
        f'<p class="headline">{escape(headline)}</p>',
        html_table(table),
        f'<div class="grid2"><div>{_validation(runs, "updates")}</div><div>{_validation(runs, clock)}</div></div>',
        f'<div class="grid2"><div>{_loss(runs, "updates")}</div><div>{_loss(runs, clock)}</div></div>',
        f'<div class="grid2"><div>{_lag(runs)}</div><div>{_gap(runs)}</div></div>',
        titled("Share of each worker", _shares(runs)),
        titled("Configuration", configuration({run.label: run.config for run in runs})),
        titled("Provenance", provenance({r.label: (str(r.folder), r.provenance["starts"]) for r in runs})),
    ]
    return "<section>" + "\n".join(parts) + "</section>\n"


def _chart(series: list[Series], title: str, x: str, y: str) -> str:
    chart = line_chart(series, title, x, y, linear=True)
    return titled(title, legend(series) + chart) if chart else ""


def _validation(runs: Sequence[AdaptRun], x: str) -> str:
    series = []
    for run in runs:
        places = [float(one.updates) if x == "updates" else one.time for one in run.validation]
        series.append(Series(run.label, places, [one.bpb for one in run.validation], [], []))
    return _chart(series, f"Held-out BPB by {x}", x, "BPB")


def _loss(runs: Sequence[AdaptRun], x: str) -> str:
    series = []
    for run in runs:
        made = adapt_runs.curve(run.steps, lambda s: float(s.update) if x == "updates" else s.time, lambda s: s.loss)
        series.append(Series(run.label, *made, [], []))
    return _chart(series, f"Training loss by {x}", x, "nats per token")


def _lag(runs: Sequence[AdaptRun]) -> str:
    series = []
    for run in runs:
        made = adapt_runs.curve(run.steps, lambda s: float(s.update), lambda s: float(s.lag))
        series.append(Series(run.label, *made, [], []))
    return _chart(series, "Lag by updates", "updates", "updates since sent")


def _gap(runs: Sequence[AdaptRun]) -> str:
    series = []
    for run in runs:
        x, y = adapt_runs.curve(run.steps, lambda s: float(s.update), lambda s: s.raw_gap)
        series.append(Series(run.label, x, [1000 * value for value in y], [], []))
    return _chart(series, "Gap by updates", "updates", "RMSE of the parameters, x 1000")


def _shares(runs: Sequence[AdaptRun]) -> str:
    rows = [(run.label, run.share()) for run in runs if run.steps]
    workers = list(dict.fromkeys(worker for _, share in rows for worker in share))
    chart = stage_bars(rows, workers, "Share of arrivals by worker", unit="")
    return f'<div class="bars">{chart}</div>' if chart else ""
