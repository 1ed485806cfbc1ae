"""Queries against human rewrites, by their words: ROUGE-1, exact match, BLEU, similarity; relative to other systems.

First turns are never scored: they have no history, and in some data sets they are copies of their rewrites. Scores are
0..1. Relative performance = mean / mean of the reference. Gap closed = (mean - copy) / (reference - copy), where copy
is the last turn: copying it already has most of a good model's ROUGE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ttft.errors import MissingArtifact, install_hint
from ttft.q2d.intervals import Estimate, estimate, estimate_of
from ttft.q2d.records import Example
from ttft.q2d.results import NOTHING, Row
from ttft.q2d.text import norm, rouge1

Similarity = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
"""(target, query) pairs -> cosines."""
ROUGE, RECALL, EXACT, SIMILARITY, BLEU = "R1-F", "R1-R", "EM", "SBERT", "BLEU"
DEEPEST = 6  # turns at this depth and deeper are one group


@dataclass(frozen=True)
class TextScores:
    """queries, and the scores by metric, of one system: id -> text or value."""

    system: str
    queries: dict[str, str]
    values: dict[str, dict[str, float]]


def scored(examples: Sequence[Example]) -> list[Example]:
    """The examples that are scored: with a human rewrite, and a history."""
    return [e for e in examples if e.target.strip() and e.depth > 1 and len(e.turns) > 1]


def score_texts(
    system: str, queries: Mapping[str, str], examples: Sequence[Example], similarity: Similarity | None = None
) -> TextScores:
    """queries: id -> text, "" where the system wrote none, which scores 0. Exact match is of text.norm."""
    pairs = {e.id: (e.target, queries[e.id]) for e in examples}
    rouge = {i: rouge1(*pair) for i, pair in pairs.items()}
    values = {
        ROUGE: {i: f for i, (f, _) in rouge.items()},
        RECALL: {i: recall for i, (_, recall) in rouge.items()},
        EXACT: {i: float(norm(target) == norm(query)) for i, (target, query) in pairs.items()},
    }
    if similarity is not None:
        cosines = similarity([(target, query or " ") for target, query in pairs.values()])
        values[SIMILARITY] = {i: float(c) for i, c in zip(pairs, cosines, strict=True)}
    return TextScores(system, {i: query for i, (_, query) in pairs.items()}, values)


def groups_of(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """All examples; those of each source, where there are several; those of each depth."""
    found: dict[str, list[Example]] = {"all": list(examples)}
    sources = sorted({e.source for e in examples})
    if len(sources) > 1:
        found |= {f"source {s}": [e for e in examples if e.source == s] for s in sources}
    for depth in range(2, DEEPEST):
        found[f"depth {depth}"] = [e for e in examples if e.depth == depth]
    found[f"depth {DEEPEST}+"] = [e for e in examples if e.depth >= DEEPEST]
    return {name: some for name, some in found.items() if some}


def text_rows(
    systems: Sequence[TextScores], examples: Sequence[Example], *, baseline: str, reference: str | None = None
) -> list[Row]:
    """Every metric of every system in every group. baseline, reference: names of systems."""
    by_name = {one.system: one for one in systems}
    copy, best = by_name[baseline], by_name[reference] if reference is not None else None
    rows = []
    for group, some in groups_of(examples).items():
        ids, where = [e.id for e in some], [e.conversation for e in some]
        targets = [e.target for e in some]
        for one in systems:
            for metric, values in one.values.items():
                column, base = ([v[i] for i in ids] for v in (values, copy.values[metric]))
                above = estimate([a - b for a, b in zip(column, base, strict=True)], where)
                rows.append(Row("text", one.system, group, metric, len(ids), estimate(column, where), above))
            score = Estimate(corpus_bleu([one.queries[i] for i in ids], targets), math.nan, math.nan)
            rows.append(Row("text", one.system, group, BLEU, len(ids), score))
            if best is not None:
                rows += _relative(one, copy, best, group, ids, where)
    return rows


def _relative(
    one: TextScores, copy: TextScores, best: TextScores, group: str, ids: list[str], where: list[str]
) -> list[Row]:
    """Relative performance and gap closed, by ROUGE-1 F."""
    columns = [[scores.values[ROUGE][i] for i in ids] for scores in (one, copy, best)]
    relative = estimate_of(lambda m: m[0] / m[2], columns, where)
    closed = estimate_of(lambda m: (m[0] - m[1]) / (m[2] - m[1]), columns, where)
    named = (("relative", relative), ("gap closed", closed if one is not copy else NOTHING))
    return [Row("text", one.system, group, name, len(ids), found) for name, found in named]


def corpus_bleu(queries: Sequence[str], targets: Sequence[str]) -> float:
    """sacreBLEU of a corpus, 0..1. Raises MissingArtifact if sacrebleu is not installed."""
    try:
        import sacrebleu
    except ImportError:
        raise MissingArtifact("BLEU needs sacrebleu", install_hint("q2d")) from None
    return sacrebleu.corpus_bleu(list(queries), [list(targets)]).score / 100
