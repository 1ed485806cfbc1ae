"""The text metrics of several systems as rows of results: in all, by source and by depth, relative to a reference.

First turns are never scored: they have no history, and in some data sets they are copies of their rewrites.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ttft.q2d import metrics
from ttft.q2d.metrics import Interval, Scores, depth_group
from ttft.q2d.records import Example
from ttft.q2d.results import Row


def scored(examples: Sequence[Example]) -> list[Example]:
    """The examples that are scored: with a human rewrite, and a history."""
    return [e for e in examples if e.target.strip() and e.depth > 1 and len(e.turns) > 1]


def groups_of(examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """Name -> row numbers: all; each source, where there are several; each metrics.depth_group."""
    named = [("all", ["all"] * len(examples))]
    if len({e.source for e in examples}) > 1:
        named.append(("source", [f"source {e.source}" for e in examples]))
    named.append(("depth", [f"depth {depth_group(e)}" for e in examples]))
    return {
        group: np.array([row for row, name in enumerate(names) if name == group])
        for _, names in named
        for group in sorted(set(names))
    }


def text_rows(
    systems: Mapping[str, Scores], examples: Sequence[Example], *, baseline: str, reference: str | None = None
) -> list[Row]:
    """Every metric of every system in every group, 0..1. systems: name -> scores of exactly these examples.

    baseline   the system that copies the last turn
    reference  the system trained on human data, if there is one: relative performance and gap closed are to it
    """
    rows = []
    for group, places in groups_of(examples).items():
        where = [examples[place].conversation for place in places]
        parts = {name: scores.part(places) for name, scores in systems.items()}
        for name, part in parts.items():
            for metric, values in _arrays(part).items():
                above = metrics.mean_interval(values - _arrays(parts[baseline])[metric], where)
                rows.append(Row("text", name, group, metric, len(part), metrics.mean_interval(values, where), above))
            bleu = Interval(metrics.bleu(part.targets, part.predictions) / 100, math.nan, math.nan)
            rows.append(Row("text", name, group, "BLEU", len(part), bleu))
            if reference is not None:
                compared = metrics.compare(part.f, parts[reference].f, parts[baseline].f, where)
                rows.append(Row("text", name, group, "relative", len(part), compared.relative))
                rows.append(Row("text", name, group, "gap closed", len(part), compared.gap_closed))
    return rows


def _arrays(scores: Scores) -> dict[str, np.ndarray]:
    """The scores of each turn, by the names in tables. EM: of normal forms."""
    found = {"R1-F": scores.f, "R1-R": scores.recall, "EM": scores.exact_norm}
    return found if scores.sbert is None else found | {"SBERT": scores.sbert}
