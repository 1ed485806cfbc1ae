"""How much a choice of texts repeats itself: what SIFT avoids and nearest neighbours do not (SIFT, arXiv
2410.08020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

COPY, NEAR = 1 - 1e-6, 0.95


@dataclass(frozen=True)
class Redundancy:
    """mean_cosine: over all pairs of picks (0 for fewer than two). repeats: picks of a row that was taken before.
    copies: picks of another row whose vector is that of an earlier pick, to 1e-6 in cosine. near: picks that are
    neither, but have an earlier pick at cosine 0.95 or more."""

    mean_cosine: float
    repeats: int
    copies: int
    near: int

    def to_json(self) -> dict:
        return asdict(self)


def pool_redundancy(pool: np.ndarray) -> dict:
    """Of a pool of unit vectors (K,d): rows, and how many of them are copies of an earlier row or near to one, as
    above."""
    cosines = np.tril(pool @ pool.T, -1) if len(pool) else np.zeros((0, 0))
    closest = cosines.max(1, initial=0.0)
    copies = int((closest >= COPY).sum())
    return {"rows": len(pool), "copies": copies, "near": int((closest >= NEAR).sum()) - copies}


def redundancy(chosen: np.ndarray, ids: Sequence[int]) -> Redundancy:
    """Redundancy of chosen vectors (t,d) with their rows ids (t,), in the order of the picks.

    Lengths do not matter; a zero vector is like none.
    """
    chosen = np.asarray(chosen, dtype=np.float64)
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    unit = np.divide(chosen, lengths, out=np.zeros_like(chosen), where=lengths > 0)
    cosines = unit @ unit.T
    repeats = copies = near = 0
    for rank in range(1, len(unit)):
        closest = cosines[rank, :rank].max()
        again = ids[rank] in ids[:rank]
        repeats += again
        copies += not again and closest >= COPY
        near += not again and NEAR <= closest < COPY
    pairs = cosines[np.tril_indices(len(unit), -1)]
    return Redundancy(float(pairs.mean()) if len(pairs) else 0.0, repeats, int(copies), int(near))
