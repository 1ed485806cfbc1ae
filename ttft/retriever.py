"""Index + selection in one call: what replaces a nearest-neighbour search.

    Retriever("runs/my-index").search(query_vector, N=20, K=200)

The K nearest rows to the query are the pool (for the uniform baseline: K rows drawn at random), a strategy chooses N of
them. Nothing is remembered between two calls.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ttft.errors import ConfigError
from ttft.selection import STRATEGIES
from ttft.selection.sift import posterior_variances
from ttft.selection.stopping import uncertainty_rule
from ttft.vector_index.shards import VectorIndex, open_vector_index


@dataclass(frozen=True)
class Choice:
    """Rows of the index in training order, with what is known of them; see records.Selection for the fields."""

    ids: np.ndarray
    scores: np.ndarray
    cosines: np.ndarray
    sigma: np.ndarray
    stopped_because: str
    seconds: dict[str, float]


class Retriever:
    """An opened index with a way to choose from it.

    index     folder of an index of ttft, or an opened VectorIndex
    strategy  one of selection.STRATEGIES; lambda_ (SIFT's noise) also sets the posterior that sigma is reported under
    alpha     adaptive rule of the paper: stop when sigma_n > 1/(alpha n); None takes all n. Only with "sift".
    seed      of the uniform strategy's draws, together with the call's `key`
    Raises ConfigError for an unknown strategy or an alpha that does not go with it.
    """

    def __init__(
        self, index: str | Path | VectorIndex, lambda_: float = 0.01, alpha: float | None = None,
        strategy: str = "sift", seed: int = 0,
    ) -> None:  # fmt: skip
        if strategy not in STRATEGIES:
            raise ConfigError(f"unknown strategy {strategy!r}", "strategies: " + ", ".join(STRATEGIES))
        if alpha is not None and strategy != "sift":
            raise ConfigError(f"alpha is the adaptive rule of SIFT, not of {strategy!r}", "leave --alpha out")
        self.index = index if isinstance(index, VectorIndex) else open_vector_index(Path(index))
        self.lambda_, self.alpha, self.strategy, self.seed = lambda_, alpha, strategy, seed

    def search(self, query: np.ndarray, N: int, K: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
        """Choose N rows for query (d,) or (m,d): (scores (N,), rows (N,), vectors (N,d), seconds by stage)."""
        choice = self.choose(query, n=N, k=K)
        return choice.scores, choice.ids, self.index.vectors(choice.ids.tolist()), choice.seconds

    def choose(self, query: np.ndarray, n: int, k: int = 200, key: int = 0) -> Choice:
        """Choose at most n rows for query vectors (d,) or (m,d) out of a pool of k. `key` varies the uniform draw."""
        query = np.atleast_2d(np.asarray(query, dtype=np.float32))
        if query.shape[1] != self.index.dimension:
            raise ValueError(f"query vectors have {query.shape[1]} dimensions, the index {self.index.dimension}")
        started = time.perf_counter()
        rng = np.random.default_rng([self.seed, key])
        ids = self._pool(query, k, rng)
        pool = self.index.vectors(ids.tolist())
        searched = time.perf_counter()
        picks = STRATEGIES[self.strategy](pool, query, n, **self._parameters(rng))
        chosen = pool[picks.order]
        variances = picks.variances if picks.variances is not None else posterior_variances(chosen, query, self.lambda_)
        seconds = {"search": searched - started, "select": time.perf_counter() - searched}
        cosines = (chosen @ query.T).max(1) if len(chosen) else np.zeros(0)
        sigma = np.sqrt(np.maximum(variances, 0.0))
        return Choice(ids[picks.order], picks.scores, cosines, sigma, picks.stopped_because, seconds)

    def _pool(self, query: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """Row numbers of the pool: the k best over all query vectors, best first; or k random rows."""
        if self.strategy == "uniform":
            return rng.choice(self.index.rows, size=min(k, self.index.rows), replace=False)
        scores, ids = self.index.search(query, k)
        flat_scores, flat_ids = scores.ravel(), ids.ravel()
        order = np.lexsort((flat_ids, -flat_scores))
        _, first = np.unique(flat_ids[order], return_index=True)
        return flat_ids[order][np.sort(first)][:k]

    def _parameters(self, rng: np.random.Generator) -> dict[str, Any]:
        if self.strategy == "sift":
            stop = uncertainty_rule(self.alpha) if self.alpha is not None else None
            return {"lambda_": self.lambda_, "stop": stop}
        return {"rng": rng} if self.strategy == "uniform" else {}
