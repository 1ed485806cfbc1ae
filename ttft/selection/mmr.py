"""MMR: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998), the usual way to thin out a search result.

    x_{n+1} = argmax_{x not in X_n}  r * <x,q> - (1 - r) * max_{y in X_n} <x,y>

with r the weight of relevance (their lambda; 1 is nearest neighbours, 0 is diversity alone). Unlike SIFT it looks at
the one most similar pick and not at what all picks say together.
"""

from __future__ import annotations

import numpy as np

from ttft.selection.picks import TIE, Picks, check, first_best


def mmr(pool: np.ndarray, query: np.ndarray, n: int, *, relevance: float = 0.5) -> Picks:
    """Greedy picks without replacement out of pool (K,d); scores are the values of the formula when picked.

    With several query vectors <x,q> is the mean over them. Before the first pick the second term is 0. Of equal
    candidates the first in the pool is taken. Raises ValueError unless 0 <= relevance <= 1.
    """
    pool, query = check(pool, query, n)
    if not 0 <= relevance <= 1:
        raise ValueError(f"relevance is {relevance}, must lie in 0 to 1")
    near = relevance * (pool @ query.T).mean(1)
    redundancy = np.zeros(len(pool))
    taken = np.zeros(len(pool))
    count = min(n, len(pool))
    order, scores = np.empty(count, dtype=np.int64), np.empty(count)
    for t in range(count):
        values = near - (1 - relevance) * redundancy + taken
        order[t] = best = first_best(values, TIE)
        scores[t] = values[best]
        similarity = pool @ pool[best]
        redundancy = np.maximum(redundancy, similarity) if t else similarity
        taken[best] = -np.inf
    return Picks(order, scores, None, "n" if count == n else "pool")
