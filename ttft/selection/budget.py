"""A budget of gradient steps over many prompts: the next step always goes where it promises to save the most bits.

Greedy on a heap. Steps of one prompt come in order, so a step of small promise may stand before one of large promise;
so that it does not hide it, a prompt's gains are first replaced by the slopes of the least concave majorant of their
sum: each run of steps that is worth more together than one by one is offered as a run. On such gains the greedy choice
is the best there is (up to the run that the budget's end cuts).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np


def spread(gains: Sequence[np.ndarray], steps: int, *, weights: Sequence[float]) -> list[int]:
    """How many steps each prompt gets, at most `steps` in all.

    gains    gains[i] (n_i,): what the steps of prompt i promise, in the order in which they are taken
    weights  what a unit of gain is worth, by prompt. Where gains are in bits per byte, that is the number of bytes
             scored of the prompt: bits per byte of many prompts is a ratio of sums, so that .009 on 10,000 bytes saves
             90 bits and .010 on 100 bytes saves one.

    No step is given that promises nothing, so the budget need not be used up. Of equal promises the earlier prompt's is
    taken. Raises ValueError for a negative budget, a gain that is not finite, or a weight that is not above 0.
    """
    if steps < 0:
        raise ValueError(f"a budget of {steps} steps: must be 0 or more")
    if any(not np.isfinite(g).all() for g in gains):
        raise ValueError("a predicted gain is not finite")
    if not all(0 < w < np.inf for w in weights):
        raise ValueError("a weight is not a finite number above 0")
    slopes = [majorant(np.asarray(g, dtype=np.float64)) * w for g, w in zip(gains, weights, strict=True)]
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
