"""NN-F, the failure case of nearest neighbours: the nearest vector, n times over.

SIFT (arXiv 2410.08020) uses it to show what redundancy does: it is what nearest-neighbour search returns from a corpus
that holds n copies of one text. A baseline to measure against, not a method.
"""

from __future__ import annotations

import numpy as np

from ttft.selection.nearest import nearest
from ttft.selection.picks import Picks


def nearest_failure(pool: np.ndarray, query: np.ndarray, n: int) -> Picks:
    """The position of the largest inner product with the query, n times. See `nearest` for ties and several vectors."""
    first = nearest(pool, query, min(n, 1))
    if len(first.order) == 0:
        return first
    return Picks(np.repeat(first.order, n), np.repeat(first.scores, n), None, "n")
