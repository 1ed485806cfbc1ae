"""What a strategy returns, and the checks that all strategies share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Picks:
    """order (t,): positions in the pool in training order, t <= n; scores (t,): the strategy's own score of each;
    variances (t+1,): posterior variance of the query after 0..t picks, None where the strategy does not model it;
    stopped_because: "n" | "uncertainty" | "pool"."""

    order: np.ndarray
    scores: np.ndarray
    variances: np.ndarray | None
    stopped_because: str


def check(pool: np.ndarray, query: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pool (K,d) and query (m,d) as float64; a query (d,) becomes (1,d).

    Raises ValueError for other shapes, a negative n, or numbers that are not finite.
    """
    pool, query = np.asarray(pool, dtype=np.float64), np.atleast_2d(np.asarray(query, dtype=np.float64))
    if pool.ndim != 2 or query.ndim != 2 or pool.shape[1] != query.shape[1]:
        raise ValueError(f"pool (K,d) and query (m,d) expected, got {pool.shape} and {query.shape}")
    if n < 0:
        raise ValueError(f"n is {n}, must be 0 or more")
    if not (np.isfinite(pool).all() and np.isfinite(query).all()):
        raise ValueError("pool or query holds numbers that are not finite")
    return pool, query
