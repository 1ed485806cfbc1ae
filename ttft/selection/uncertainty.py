"""Uncertainty sampling (US): at each step the text that is itself least known, whatever the prompt is.

    x_{n+1} = argmax_x sigma^2_{X_n}(x)

with sigma^2 the posterior variance of the candidate (linear kernel, noise lambda; `posterior.py`). One of the baselines
of SIFT (arXiv 2410.08020): diverse, and blind to the prompt, which acts only through the pool of its neighbours.
"""

from __future__ import annotations

import numpy as np

from ttft.selection.picks import TIE, Picks, check, check_lambda, first_best
from ttft.selection.posterior import Posterior


def uncertainty(pool: np.ndarray, query: np.ndarray, n: int, *, lambda_: float = 0.01) -> Picks:
    """Greedy picks out of pool (K,d), repeats allowed; scores are their variances before they were taken.

    Of equal candidates the first in the pool is taken: with unit vectors the first pick is the pool's first. The query
    is only checked.
    """
    pool, query = check(pool, query, n)
    check_lambda(lambda_)
    if len(pool) == 0:
        return Picks(np.zeros(0, dtype=np.int64), np.zeros(0), None, "pool" if n else "n")
    posterior = Posterior(pool, query[:0], lambda_, n, all_of_them=True)
    order, scores = np.empty(n, dtype=np.int64), np.empty(n)
    tie = TIE * float(posterior.noisy.max())
    for t in range(n):
        order[t] = best = first_best(posterior.noisy, tie)
        scores[t] = posterior.noisy[best] - lambda_
        posterior.observe(best)
    return Picks(order, scores, None, "n")
