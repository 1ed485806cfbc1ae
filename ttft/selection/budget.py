"""A budget of gradient steps over many prompts: the next step always goes where it promises most.

Greedy on a heap. Steps of one prompt come in order, so a step of small promise may stand before one of large promise;
so that it does not hide it, a prompt's gains are first replaced by the slopes of the least concave majorant of their
sum: each run of steps that is worth more together than one by one is offered as a run. On such gains the greedy choice
is the best there is (up to the run that the budget's end cuts).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np


def spread(gains: Sequence[np.ndarray], steps: int, weights: Sequence[float] | None = None) -> list[int]:
    """How many steps each prompt gets, at most `steps` in all: gains[i] (n_i,) are what prompt i's steps promise.

    weights   what a unit of gain is worth, by prompt (its bytes, where the sum of bits counts); default 1 each
    No step is given that promises nothing, so the budget need not be used up. Of equal promises the earlier prompt's is
    taken. Raises ValueError for a negative budget or a gain that is not finite.
    """
    if steps < 0:
        raise ValueError(f"a budget of {steps} steps: must be 0 or more")
    if any(not np.isfinite(g).all() for g in gains):
        raise ValueError("a predicted gain is not finite")
    worth = [1.0] * len(gains) if weights is None else list(weights)
    slopes = [majorant(np.asarray(g, dtype=np.float64)) * w for g, w in zip(gains, worth, strict=True)]
    given = [0] * len(gains)
    heap = [(-s[0], prompt) for prompt, s in enumerate(slopes) if len(s)]
    heapq.heapify(heap)
    while steps and heap:
        promise, prompt = heapq.heappop(heap)
        if promise >= 0:
            break
        given[prompt] += 1
        steps -= 1
        if given[prompt] < len(slopes[prompt]):
            heapq.heappush(heap, (-slopes[prompt][given[prompt]], prompt))
    return given


def majorant(gains: np.ndarray) -> np.ndarray:
    """Slopes (n,), never rising, of the least concave curve above the running sum of gains (n,)."""
    runs: list[tuple[float, int]] = []  # (mean, length), means falling
    for gain in gains.tolist():
        mean, length = gain, 1
        while runs and runs[-1][0] <= mean:
            before, count = runs.pop()
            mean, length = (before * count + mean * length) / (count + length), count + length
        runs.append((mean, length))
    return np.repeat([m for m, _ in runs], [n for _, n in runs]) if runs else np.zeros(0)
