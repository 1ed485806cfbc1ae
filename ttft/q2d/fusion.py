"""Several rankings -> one: reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
CONSTANT = 60.0
"""Of the paper: how little the first ranks count for more than those below them."""


def reciprocal_rank_fusion(rankings: Sequence[Sequence[T]], k: float = CONSTANT) -> list[tuple[T, float]]:
    """Items with their scores, best first: score(x) = sum over the rankings that have x of 1 / (k + rank), from rank 1.

    Items of equal score are in the order in which they first appear, reading one ranking after the other. An item that
    a ranking repeats counts at its first rank there.
    """
    scores: dict[T, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(dict.fromkeys(ranking), 1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (k + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])
