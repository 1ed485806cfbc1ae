"""Uniform: n vectors drawn from the pool without replacement. The baseline that any selection must beat.

The retriever gives this strategy a pool of K rows drawn at random from the whole index, not the query's K nearest.
"""

from __future__ import annotations

import numpy as np

from ttft.selection.picks import Picks, check


def uniform(pool: np.ndarray, query: np.ndarray, n: int, *, rng: np.random.Generator) -> Picks:
    """A draw of n positions without replacement, in the order drawn. All scores are 0."""
    pool, query = check(pool, query, n)
    order = rng.permutation(len(pool))[:n]
    return Picks(order, np.zeros(len(order)), None, "n" if len(order) == n else "pool")
