"""recall@K of an approximate search: how many of the true K nearest neighbours it finds, by exact search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ttft.vector_index import faiss as faiss_index


def exact(shards: Sequence[Any], queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows (m, min(k, rows)) of the stored vectors nearest to queries (m,d), best first; equal scores in the
    order of the rows. One shard is in memory at a time."""
    scores = np.empty((len(queries), 0), dtype=np.float32)
    ids = np.empty((len(queries), 0), dtype=np.int64)
    for shard in shards:
        near, rows = faiss_index.search(faiss_index.flat(shard.vectors), queries, k)
        scores, ids = np.concatenate([scores, near], 1), np.concatenate([ids, rows + shard.start], 1)
        order = np.lexsort((ids, -scores), axis=1)[:, :k]
        scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    return scores, ids


def recall(found: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> float:
    """The fraction of the true K nearest that a search found.

    found (m,K): rows found;  scores (m,K): their true scores;  truth (m,K): scores of the true nearest. A row counts if
    it scores as high as the K-th true neighbour, so that ties do not matter.
    """
    enough = scores >= truth[:, -1:] - 1e-6
    return float(((found >= 0) & enough).sum() / truth.size)
