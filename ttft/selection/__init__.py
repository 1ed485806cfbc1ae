"""Pool + query -> which texts, in which order: one algorithm per file, and the literal table of them.

A strategy is a pure function
    f(pool (K,d), query (m,d), n, **its own parameters) -> Picks
with pool and query as float arrays of unit vectors (linear kernel: inner product = cosine). Picks hold positions in the
pool in training order, repeats allowed. To add one: write its file, add it to STRATEGIES, name its parameters in
config/select.py and retriever.py.
"""

from __future__ import annotations

from collections.abc import Callable

from ttft.selection.nearest import nearest
from ttft.selection.picks import Picks
from ttft.selection.sift import select_sift
from ttft.selection.uniform import uniform

STRATEGIES: dict[str, Callable[..., Picks]] = {
    "sift": select_sift,
    "nearest": nearest,
    "uniform": uniform,
}
