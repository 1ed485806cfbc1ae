"""When selection ends before n picks: rules that look at the uncertainty curve of one prompt.

A rule is called after every pick with the curve so far, sigma (t+1,) = sigma_0 .. sigma_t. It returns how many of the t
picks to keep, to stop there, or None to continue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Stop(Protocol):
    @property
    def reason(self) -> str:
        """The value of Selection.stopped_because if this rule stops."""
        ...

    def __call__(self, sigma: np.ndarray) -> int | None: ...


@dataclass(frozen=True)
class UncertaintyRule:
    """The paper's adaptive rule (SIFT, arXiv 2410.08020, adaptive SIFT; as in the authors' code): after the n-th pick
    stop when

        sigma_n > 1 / (alpha * n)

    with sigma_n the posterior standard deviation of the prompt after n picks. A prompt whose uncertainty falls slower
    than 1/n has little more to gain from this pool. The paper's alpha is said to lie in 0.15 to 0.5; larger stops
    sooner. Raises ValueError unless alpha > 0.
    """

    alpha: float
    reason: str = "uncertainty"

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"alpha is {self.alpha}, must be above 0")

    def __call__(self, sigma: np.ndarray) -> int | None:
        n = len(sigma) - 1
        return n if sigma[-1] > 1.0 / (self.alpha * n) else None
