"""How many of the true nearest an approximate search finds: recall@K, against exact search over the stored vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ttft.vector_index import faiss as faiss_index


def exact(shards: Sequence[Any], queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows (m, min(k, rows)) of the nearest stored vectors to queries (m,d), best first; of equal scores the
    smaller row. One shard is in memory at a time."""
    scores = np.empty((len(queries), 0), dtype=np.float32)
    ids = np.empty((len(queries), 0), dtype=np.int64)
    for shard in shards:
        near, rows = faiss_index.search(faiss_index.flat(shard.vectors), queries, k)
        scores, ids = np.concatenate([scores, near], 1), np.concatenate([ids, rows + shard.start], 1)
        order = np.lexsort((ids, -scores), axis=1)[:, :k]
        scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    return scores, ids


def recall(found: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> float:
    """The share of the true K that a search found: found (m,K) rows, truth (m,K) true scores, scores (m,K) true scores
    of the found rows. A found row that scores like the K-th of the truth counts, whichever of equals the truth names.
    """
    enough = scores >= truth[:, -1:] - 1e-6
    return float(((found >= 0) & enough).sum() / truth.size)
