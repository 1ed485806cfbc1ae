"""MMR against the formula of Carbonell & Goldstein, written as loops."""

from __future__ import annotations

import numpy as np
import pytest
from selection.pools import first_copies, random_pool

from ttft.selection.mmr import mmr
from ttft.selection.nearest import nearest


def value(pool: np.ndarray, query: np.ndarray, chosen: list[int], i: int, relevance: float) -> float:
    near = sum(float(np.dot(pool[i], q)) for q in query) / len(query)
    redundancy = max((float(np.dot(pool[i], pool[j])) for j in chosen), default=0.0)
    return relevance * near - (1 - relevance) * redundancy


@pytest.mark.parametrize("seed", range(60))
def test_every_pick_is_the_largest_value_of_the_formula(seed):
    pool, query, n, _ = random_pool(seed)
    relevance = [0.0, 0.3, 0.5, 0.9, 1.0][seed % 5]
    picks = mmr(pool, query, n, relevance=relevance)
    firsts = first_copies(pool)
    chosen: list[int] = []
    for pick, score in zip(picks.order.tolist(), picks.scores, strict=True):
        left = [i for i in range(len(pool)) if i not in chosen]
        values = {i: value(pool, query, chosen, i, relevance) for i in left}
        assert values[pick] >= max(values.values()) - 1e-9
        assert score == pytest.approx(values[pick], abs=1e-9)
        assert pick == min(i for i in left if firsts[i] == firsts[pick])  # of copies the first that is left
        chosen.append(pick)
    assert len(chosen) == min(n, len(pool)) and picks.variances is None


def test_no_text_is_taken_twice_and_the_pool_may_run_out():
    pool, query, _, _ = random_pool(2)
    picks = mmr(pool, query, len(pool) + 5)
    assert sorted(picks.order) == list(range(len(pool))) and picks.stopped_because == "pool"
    assert mmr(pool, query, len(pool)).stopped_because == "n"


def test_relevance_1_is_nearest():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pool, query = rng.normal(size=(50, 8)), rng.normal(size=(3, 8))
        picks, expected = mmr(pool, query, 50, relevance=1.0), nearest(pool, query, 50)
        assert picks.order.tolist() == expected.order.tolist()
        assert np.allclose(picks.scores, expected.scores / 3)


def test_relevance_0_is_blind_to_the_query_and_takes_the_least_similar():
    pool, query, _, _ = random_pool(4)
    picks = mmr(pool, query, 10, relevance=0.0)
    assert picks.order.tolist() == mmr(pool, -query, 10, relevance=0.0).order.tolist()
    assert picks.order[0] == 0 and picks.order[1] == (pool @ pool[0]).argmin()


def test_copies_of_a_pick_come_after_everything_else_that_is_near():
    query = np.array([1.0, 0.0])
    pool = np.array([[1.0, 0.0], [1.0, 0.0], [0.8, 0.6], [0.8, -0.6]])
    assert mmr(pool, query, 4, relevance=0.3).order.tolist() == [0, 2, 3, 1]


def test_relevance_must_be_a_share():
    for relevance in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="relevance"):
            mmr(np.eye(2), np.ones(2), 1, relevance=relevance)
