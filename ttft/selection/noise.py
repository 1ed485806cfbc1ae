"""SIFT's lambda from the pool itself: a rule that needs no training run.

lambda is measured against the kernel: an embedder that puts all texts of one language at cosine 0.9 leaves SIFT a
variance of 0.1 to tell them apart by, and one that puts neighbours at 0.5 leaves 0.5. So one value cannot serve two
embedders. Our choice (no paper's):

    lambda_auto = sum_j mu_j / K = mean |x - mean x|^2        over the K vectors x of the pool,

mu_j the eigenvalues of the centred similarity matrix: the variance that is left per text once what all of the pool
shares is known. Then one text weighs as much as its noise in every direction in which the pool differs on average.
It is bounded below by 1e-4, where all vectors of a pool are the same.
"""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-4


def spectral_lambda(pool: np.ndarray) -> float:
    """lambda for a pool (K,d) of finite vectors; `SMALLEST` for an empty one or one of copies only. O(K*d)."""
    if len(pool) == 0:
        return SMALLEST
    pool = np.asarray(pool, dtype=np.float64)
    return max(SMALLEST, float(np.einsum("kd,kd->", pool, pool) / len(pool) - np.square(pool.mean(0)).sum()))
