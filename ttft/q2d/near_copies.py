"""Which dialogs are copies or near copies of earlier ones: MinHash finds candidates, and their texts decide.

A dialog is the set of its shingles (runs of SHINGLE words of its normal form). For two sets, the probability that a
random hash function has the same minimum on both is their Jaccard similarity |A & B| / |A | B| (Broder 1997).
Signatures of 128 minima are cut into 16 bands of 8; two dialogs of similarity 0.9 agree in a band with probability
1 - (1 - 0.9^8)^16 > 0.999. Candidates are then compared by their exact Jaccard similarity.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

SHINGLE, MINIMA, BAND = 3, 128, 8
_PRIME = np.uint64((1 << 61) - 1)
_RNG = np.random.default_rng(20230427)
_SLOPES = _RNG.integers(1, 1 << 29, MINIMA, dtype=np.uint64)
_OFFSETS = _RNG.integers(0, 1 << 60, MINIMA, dtype=np.uint64)


class Seen:
    """The texts seen so far, in normal form; `copy_of` looks one up, `add` adds it."""

    def __init__(self, jaccard: float) -> None:
        """jaccard: similarity from which on two texts are copies; 1: only equal ones."""
        self.jaccard = jaccard
        self._names: list[str] = []
        self._shingles: list[frozenset[int]] = []
        self._bands: dict[tuple[int, bytes], list[int]] = {}

    def copy_of(self, text: str) -> str | None:
        """The name of the first text of which this is a copy or near copy."""
        shingles = _shingles(text)
        near = sorted({number for band in _bands(shingles) for number in self._bands.get(band, ())})
        for number in near:
            other = self._shingles[number]
            if len(shingles & other) >= self.jaccard * len(shingles | other):
                return self._names[number]
        return None

    def add(self, name: str, text: str) -> None:
        shingles = _shingles(text)
        for band in _bands(shingles):
            self._bands.setdefault(band, []).append(len(self._names))
        self._names.append(name)
        self._shingles.append(shingles)


def _shingles(text: str) -> frozenset[int]:
    words = text.split()
    runs: Sequence[list[str]] = [words[i : i + SHINGLE] for i in range(max(1, len(words) - SHINGLE + 1))]
    return frozenset(zlib.crc32(" ".join(run).encode()) for run in runs)


def _bands(shingles: frozenset[int]) -> list[tuple[int, bytes]]:
    hashes = np.fromiter(shingles, np.uint64, len(shingles))[:, None]
    minima = ((hashes * _SLOPES + _OFFSETS) % _PRIME).min(0)  # below 2^62: no overflow
    return [(band, minima[band : band + BAND].tobytes()) for band in range(0, MINIMA, BAND)]
