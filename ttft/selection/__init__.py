"""Pool + query -> which texts, in which order: one algorithm per file, and the literal table of them.

A strategy is a pure function
    f(pool (K,d), query (m,d), n, **its own parameters) -> Picks
with pool and query as float arrays of unit vectors (linear kernel: inner product = cosine). Picks hold positions in the
pool in training order, repeats allowed. To add one: write its file, add it to STRATEGIES, name its parameters in
PARAMETERS.
"""

from __future__ import annotations

from collections.abc import Callable

from ttft.selection.hull import hull
from ttft.selection.itl import itl
from ttft.selection.mmr import mmr
from ttft.selection.nearest import nearest
from ttft.selection.nearest_failure import nearest_failure
from ttft.selection.picks import Picks
from ttft.selection.sift import select_sift
from ttft.selection.uncertainty import uncertainty
from ttft.selection.uniform import uniform

STRATEGIES: dict[str, Callable[..., Picks]] = {
    "sift": select_sift,
    "itl": itl,
    "nearest": nearest,
    "nearest-failure": nearest_failure,
    "mmr": mmr,
    "hull": hull,
    "uncertainty": uncertainty,
    "uniform": uniform,
}

PARAMETERS: dict[str, tuple[str, ...]] = {
    "sift": ("lambda_", "stop"),
    "itl": ("lambda_",),
    "uncertainty": ("lambda_",),
    "mmr": ("relevance",),
    "uniform": ("rng",),
}
"""The arguments of each strategy besides pool, query and n; strategies not listed have none."""
