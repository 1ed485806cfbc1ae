"""Computes all numbers of a group of comparable runs, for tables.py, page.py and report.json.

A prompt's final value is `Result.final_nats`: its nats at the last scored step, or those of the base model if the base
answers. The base of a group is step 0 of its first run. A run whose base differs from that one (another precision or
library) is compared with its own base, and gets a separate base row.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np

from ttft.records import Result
from ttft.reporting.groups import Group
from ttft.reporting.notes import notes
from ttft.reporting.numbers import Curve, GuardAccount, Row, SubsetRow, Summary
from ttft.reporting.runs import PLACES, Key, Run
from ttft.reporting.statistics import bootstrap_interval, corpus_bits_per_byte, percent_of_base, percent_worse

STAGES = ("embed", "search", "select", "train", "evaluate")
WORSE = 1.01  # times the base's nats: from here on GuardAccount counts a prompt as made worse
SAME_BASE = 1e-3  # relative difference of a prompt's base nats up to which two runs share a base
NEAR_DUPLICATE = 0.99
EXTREMES = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """One run on the prompts of its group, in the order of these prompts.

    base, final  nats (n,) before any step, and of the model that answers
    own_base     whether base is the run's own rather than that of the group's first run
    """

    run: Run
    results: list[Result]
    base: np.ndarray
    final: np.ndarray
    own_base: bool


def summarize(group: Group) -> Summary:
    """All numbers of a group, independent of the order of prompts and lines in the files."""
    measured = measure(group)
    first = measured[0]
    num_bytes = [r.bytes for r in first.results]
    shared, own = split_config(group.runs)
    rows = main_rows(measured)
    by_label = {m.run.label: m for m in measured}
    extremes = {label: best_and_worst(m) for label, m in by_label.items()}
    return Summary(
        score=group.score,
        model=group.model,
        prompts=len(group.prompts),
        bytes=sum(num_bytes),
        rows=rows,
        curves=[curve(m) for m in measured],
        subsets=subset_rows(measured),
        sigmas={label: sigma for label, m in by_label.items() if (sigma := mean_sigma(m.results))},
        best={label: best for label, (best, _) in extremes.items()},
        worst={label: worst for label, (_, worst) in extremes.items()},
        notes=notes(group, rows, base_gaps(measured)),
        config=shared,
        own_config=own,
        starts={label: m.run.provenance["starts"] for label, m in by_label.items()},
        folders={label: str(m.run.folder) for label, m in by_label.items()},
    )


def measure(group: Group) -> list[Measured]:
    """The runs of a group on their common prompts, each with the base it is compared with."""
    measured: list[Measured] = []
    for run in group.runs:
        results = _on(run, group.prompts)
        base = np.array([r.base_nats for r in results], float)
        own = bool(measured) and _gap(measured[0].base, base) > SAME_BASE
        if measured and not own:
            base = measured[0].base
        answers = np.array([r.final_nats for r in results], float)
        final = np.where([r.kept == "base" for r in results], base, answers)  # the base of the group, not of the run
        measured.append(Measured(run, results, base, final, own))
    return measured


def _on(run: Run, prompts: tuple[Key, ...]) -> list[Result]:
    by_key = run.by_key()
    return [by_key[key] for key in prompts]


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    """Largest relative difference between two vectors of nats."""
    return float(np.max(np.abs(one - other) / np.maximum(np.abs(one), 1e-12)))


def base_gaps(measured: list[Measured]) -> dict[str, float]:
    """Runs with their own base: its largest relative difference, over prompts, from the first run's."""
    return {m.run.label: _gap(measured[0].base, m.base) for m in measured if m.own_base}


# ---- main table ----------------------------------------------------------------------------------------------------


def main_rows(measured: list[Measured]) -> list[Row]:
    """The base, then the runs; a run with its own base comes after that base."""
    rows = [_base_row("base", measured[0])]
    for m in measured:
        if m.own_base:
            rows.append(_base_row(f"base of {m.run.label}", m))
        rows.append(_run_row(m))
    return rows


def _base_row(label: str, m: Measured) -> Row:
    bpb = corpus_bits_per_byte(m.base, [r.bytes for r in m.results])
    nan = math.nan
    return Row(label, True, len(m.results), bpb, 100.0, nan, nan, 0.0, {}, nan, nan, 0, None)


def _run_row(m: Measured) -> Row:
    low, high = bootstrap_interval(m.base, m.final)
    seconds = mean_seconds(m)
    return Row(
        label=m.run.label,
        is_base=False,
        prompts=len(m.results),
        bpb=corpus_bits_per_byte(m.final, [r.bytes for r in m.results]),
        percent=percent_of_base(m.base, m.final),
        low=float(low),
        high=float(high),
        steps=float(np.mean([r.steps_taken for r in m.results])),
        seconds=seconds,
        seconds_total=sum(seconds.values()) if seconds else math.nan,
        worse=percent_worse(m.base, m.final),
        kept_base=sum(r.kept == "base" for r in m.results),
        near_duplicates=near_duplicates(m),
        guard=guard_account(m),
    )


def guard_account(m: Measured) -> GuardAccount | None:
    """The effect of --guard or --mix; points are % of the run's base nats. None for runs without a guard."""
    judged = np.array([bool(r.guard) for r in m.results])
    if not judged.any():
        return None
    tuned = np.array([r.tuned_nats if r.guard else f for r, f in zip(m.results, m.final, strict=True)], float)
    points, changed = 100 / m.base.sum(), tuned - m.final  # above 0: the guard saved nats
    fired = np.array([r.guard.get("scale") == 0.0 for r in m.results])
    return GuardAccount(
        judged=int(judged.sum()),
        fired=int(fired.sum()),
        saved=float(points * changed[changed > 0].sum()),
        cost=float(points * -changed[changed < 0].sum()) + 0.0,  # no -0.0
        without=percent_of_base(m.base, tuned),
        worse_without=100 * float(np.mean(tuned > WORSE * m.base)),
        worse_with=100 * float(np.mean(m.final > WORSE * m.base)),
    )


def mean_seconds(m: Measured) -> dict[str, float]:
    """Mean seconds per prompt and stage, known stages first. Stages missing from a result come from its selection."""
    chosen = {s.prompt_id: s.seconds for s in m.run.selections}
    each = [chosen.get(r.prompt_id, {}) | r.seconds for r in m.results]
    names = {name for seconds in each for name in seconds}
    order = [*(s for s in STAGES if s in names), *sorted(names - set(STAGES))]
    return {name: sum(seconds.get(name, 0.0) for seconds in each) / len(each) for name in order}


def near_duplicates(m: Measured) -> int | None:
    """Number of prompts with a selected text of cosine > 0.99; None if the run has no selections of these prompts."""
    wanted = {r.prompt_id for r in m.results}
    selections = [s for s in m.run.selections if s.prompt_id in wanted]
    if not selections:
        return None
    return sum(max(s.cosines, default=0.0) > NEAR_DUPLICATE for s in selections)


# ---- by steps, by subset, by prompt --------------------------------------------------------------------------------


def checkpoints(results: list[Result]) -> list[int]:
    """The steps at which every prompt that got that far was scored. A step at which only some prompts happened to stop
    is not a checkpoint, since the values of the others are unknown there."""
    last = [r.steps_taken for r in results]
    scored = [set(r.steps) for r in results]
    union = sorted(set().union(*scored))
    return [s for s in union if all(s in has or end < s for has, end in zip(scored, last, strict=True))]


def nats_at(result: Result, step: int) -> float:
    """Nats at the last scored step up to `step`, under the full update."""
    if step >= result.steps_taken:
        return result.tuned_nats
    return result.nats[bisect.bisect_right(result.steps, step) - 1]


def curve(m: Measured) -> Curve:
    """% of base at each checkpoint, ignoring guards; a prompt that stopped earlier counts with its last value."""
    steps = checkpoints(m.results)
    nats = np.array([[nats_at(r, s) for s in steps] for r in m.results], float)
    nats[:, 0] = m.base
    low, high = bootstrap_interval(m.base, nats)
    percent = [percent_of_base(m.base, column) for column in nats.T]
    return Curve(m.run.label, steps, percent, low.tolist(), high.tolist())


def subset_rows(measured: list[Measured]) -> list[SubsetRow]:
    """One row per subset, sorted by name."""
    subsets = np.array([r.subset for r in measured[0].results])
    num_bytes = np.array([r.bytes for r in measured[0].results])
    rows = []
    for name in sorted(set(subsets.tolist())):
        here = subsets == name
        cells = [_subset_cell(m, here, num_bytes) for m in measured]
        base_bpb = corpus_bits_per_byte(measured[0].base[here], num_bytes[here])
        rows.append(SubsetRow(name, int(here.sum()), int(num_bytes[here].sum()), base_bpb, cells))
    return rows


def _subset_cell(m: Measured, here: np.ndarray, num_bytes: np.ndarray) -> dict:
    base, final = m.base[here], m.final[here]
    low, high = bootstrap_interval(base, final)
    bpb, percent = corpus_bits_per_byte(final, num_bytes[here]), percent_of_base(base, final)
    return {"label": m.run.label, "bpb": bpb, "percent": percent, "low": float(low), "high": float(high)}


def mean_sigma(results: list[Result]) -> list[float]:
    """Mean posterior standard deviation after 0..n picks; a prompt with fewer picks counts with its last value."""
    curves = [r.sigma for r in results if r.sigma]
    length = max(map(len, curves), default=0)
    return [sum(c[min(i, len(c) - 1)] for c in curves) / len(curves) for i in range(length)]


def best_and_worst(m: Measured) -> tuple[list[dict], list[dict]]:
    """The prompts with the lowest and the highest % of base, at most five each, none in both."""
    with np.errstate(divide="ignore", invalid="ignore"):
        percent = 100 * m.final / m.base
    order = np.argsort(percent, kind="stable")  # nan last, among the worst
    listed = [
        {"id": m.results[i].prompt_id, "subset": m.results[i].subset, "percent": float(percent[i])} for i in order
    ]
    worst = listed[::-1][: min(EXTREMES, len(listed) // 2)]
    return listed[: min(EXTREMES, len(listed) - len(worst))], worst


# ---- configuration -------------------------------------------------------------------------------------------------


def split_config(runs: tuple[Run, ...]) -> tuple[dict, dict[str, dict]]:
    """The configuration keys that all runs share, and by label those in which they differ; without PLACES."""
    keys = [key for key in dict.fromkeys(key for run in runs for key in run.config) if key not in PLACES]
    same = [k for k in keys if all(k in run.config and run.config[k] == runs[0].config.get(k) for run in runs)]
    own = {run.label: {k: run.config.get(k) for k in keys if k not in same} for run in runs}
    return {k: runs[0].config[k] for k in same}, own
