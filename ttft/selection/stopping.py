"""When selection ends before n picks.

The paper's adaptive rule (SIFT, arXiv 2410.08020, adaptive SIFT; as in the authors' code): after the n-th pick stop
when

    sigma_n > 1 / (alpha * n)

with sigma_n the posterior standard deviation of the prompt after n picks. A prompt whose uncertainty falls slower than
1/n has little more to gain from this pool. The paper's alpha is said to lie in 0.15 to 0.5; larger stops sooner.
"""

from __future__ import annotations

from collections.abc import Callable

Stop = Callable[[int, float], bool]


def uncertainty_rule(alpha: float) -> Stop:
    """stop(n, sigma_n) -> whether the n-th pick was the last. Raises ValueError unless alpha > 0."""
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}, must be above 0")
    return lambda n, sigma: sigma > 1.0 / (alpha * n)
