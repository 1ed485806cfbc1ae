"""Nearest neighbours: the n pool vectors of largest inner product with the query, nearest first.

TTT-NN (Hardt & Sun, arXiv 2305.18466). No vector is taken twice; exact duplicates in the pool are.
"""

from __future__ import annotations

import numpy as np

from ttft.selection.picks import TIE, Picks, check


def nearest(pool: np.ndarray, query: np.ndarray, n: int) -> Picks:
    """Positions of the n largest inner products, best first; of equal ones the first in the pool.

    With several query vectors (m,d) the score is the sum of the inner products with each of them.
    """
    pool, query = check(pool, query, n)
    scores = (pool @ query.T).sum(1)
    by_score = np.argsort(-scores, kind="stable")
    ties = np.cumsum(np.diff(-scores[by_score], prepend=-np.inf) > TIE)  # number of each run of equal scores
    order = by_score[np.lexsort((by_score, ties))][:n]
    return Picks(order, scores[order], None, "n" if len(order) == n else "pool")
