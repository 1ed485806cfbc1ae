"""The headline of a report, and the notes under its tables that readers need to interpret the numbers."""

from __future__ import annotations

import math

from ttft.progress import counted
from ttft.reporting.groups import Group
from ttft.reporting.numbers import Row
from ttft.reporting.runs import Run, in_context
from ttft.reporting.statistics import RESAMPLES

FEW_PROMPTS = 30
RATIOS = (
    "BPB = sum of nats / (ln 2 x sum of bytes) and % of base = 100 x sum of nats / sum of base nats: "
    "ratios of sums, so long texts weigh more."
)
LEAK = {
    "whole": "whole: the scored text is also the query that retrieves (transductive, a leak). "
    "The honest number is --score suffix.",
    "suffix": "suffix: only the suffix of a text is scored; retrieval and conditioning see its prefix alone: no leak.",
}


def notes(group: Group, rows: list[Row], gaps: dict[str, float]) -> list[str]:
    """The notes of one group. gaps: by run, the relative difference of its base."""
    runs = [row for row in rows if not row.is_base]
    lines = [
        f"base: {group.model} before any step, on the same prompts.",
        RATIOS,
        _interval(len(group.prompts)),
        LEAK.get(group.score, f"score: {group.score}"),
        _near_duplicates(runs),
    ]
    lines += [f"{run.label}: {warning}" for run in group.runs for warning in run.warnings]
    lines += [f"{run.label}: {unscored}" for run in group.runs if (unscored := unscored_prompts(run))]
    if group.seen > len(group.prompts):
        lines.append(f"{group.seen - len(group.prompts)} of {group.seen} prompts left out: not in every run.")
    for label, gap in gaps.items():
        first = group.runs[0].label
        lines.append(
            f"{label} has another base than {first} (up to {100 * gap:.1f}% on a prompt): its % is of its own base."
        )
    lines += [
        f"{run.label}: nothing is trained; its steps are the texts that stand before the prompt, as many as fit."
        for run in group.runs
        if in_context(run.config)
    ]
    for row in runs:
        if row.kept_base:
            lines.append(
                f"{row.label}: the base model answers {row.kept_base} of {row.prompts} prompts "
                "(no step was taken, or a guard kept it; the numbers by step know no guard)."
            )
    return lines + [guarded for row in runs if (guarded := _guard(row))]


def unscored_prompts(run: Run) -> str:
    """A note on prompts whose base score was not finite; "" if there are none."""
    count = len(run.unscored)
    verb = "is" if count == 1 else "are"
    return f"{counted(count, 'prompt')} failed (no finite base score) and {verb} left out." if count else ""


def _guard(row: Row) -> str:
    """The effect of a guard: how often it fired, and what it saved and cost in points of base."""
    if row.guard is None:
        return ""
    g = row.guard
    return (
        f"{row.label}: the guard judged {g.judged} prompts and kept the base on {g.fired}; it saved {g.saved:.2f} "
        f"points of base where the update hurt and cost {g.cost:.2f} where it helped; without it: {g.without:.1f}%, "
        f"{g.worse_without:.1f}% of prompts made worse by more than 1%, with it {g.worse_with:.1f}%."
    )


def _interval(prompts: int) -> str:
    if prompts < 2:
        return "No interval: it takes two prompts."
    few = " With so few prompts it is too narrow." if prompts < FEW_PROMPTS else ""
    return (
        f"Interval: 95% percentile bootstrap over prompts ({RESAMPLES:,} resamples, seed 0, base and tuned paired); "
        f"it covers the choice of prompts only.{few}"
    )


def _near_duplicates(runs: list[Row]) -> str:
    known = [f"{r.label} {'unknown' if r.near_duplicates is None else r.near_duplicates}" for r in runs]
    return f"Prompts given a text of cosine > 0.99 to them (near-duplicates), of {runs[0].prompts}: {', '.join(known)}."


def headline(score: str, rows: list[Row]) -> str:
    """One sentence: how the best run compares with its base, and whether the difference is clear."""
    runs = [row for row in rows if not row.is_base and math.isfinite(row.percent)]
    if not runs:
        return "No run has a finite result."
    best = min(runs, key=lambda row: row.percent)
    base = best.bpb * 100 / best.percent if best.percent else math.nan
    among = f", the best of {len(runs)} runs," if len(runs) > 1 else ""
    prompts = f"{best.prompts} prompt{'s' * (best.prompts != 1)}"
    numbers = f"from {base:.3f} to {best.bpb:.3f} bits per byte, {best.percent:.1f}% of base"
    if math.isnan(best.low):
        return f"{best.label}{among} takes {prompts} {numbers} ({score} score); no interval."
    interval = f"95% interval {best.low:.1f} to {best.high:.1f}, {prompts}, {score} score"
    if best.high < 100:
        return f"{best.label}{among} improves the base model {numbers} ({interval})."
    if best.low > 100:
        return f"{best.label}{among} is worse than the base model: {numbers} ({interval})."
    return f"{best.label}{among} shows no clear difference to the base model: {numbers} ({interval})."
