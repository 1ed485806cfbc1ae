"""NN-F: the nearest text, n times."""

from __future__ import annotations

import numpy as np
import pytest
from selection.pools import random_pool

from ttft.selection.nearest_failure import nearest_failure


@pytest.mark.parametrize("seed", range(30))
def test_the_largest_inner_product_is_taken_n_times(seed):
    pool, query, n, _ = random_pool(seed)
    total = [sum(float(np.dot(x, q)) for q in query) for x in pool]
    picks = nearest_failure(pool, query, n)
    assert len(picks.order) == n and len(set(picks.order)) == 1
    assert total[picks.order[0]] == pytest.approx(max(total), abs=1e-12)
    assert np.allclose(picks.scores, max(total), atol=1e-12)
    assert picks.variances is None and picks.stopped_because == "n"


def test_of_equal_texts_the_first_is_repeated_and_n_may_exceed_the_pool():
    picks = nearest_failure(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), np.array([1.0, 0.0]), 5)
    assert picks.order.tolist() == [1, 1, 1, 1, 1] and picks.scores.tolist() == [1.0] * 5
