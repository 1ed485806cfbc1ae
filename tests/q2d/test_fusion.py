"""Reciprocal rank fusion against its formula."""

from __future__ import annotations

import random

import pytest

from ttft.q2d.fusion import reciprocal_rank_fusion


def test_by_hand() -> None:
    fused = reciprocal_rank_fusion([["a", "b", "c"], ["b", "d"]], k=60)
    assert [item for item, _ in fused] == ["b", "a", "d", "c"]
    assert dict(fused) == pytest.approx({"b": 1 / 62 + 1 / 61, "a": 1 / 61, "d": 1 / 62, "c": 1 / 63})


def test_one_ranking_stays_and_repeats_count_once() -> None:
    assert [item for item, _ in reciprocal_rank_fusion([[3, 1, 3, 2]])] == [3, 1, 2]
    assert reciprocal_rank_fusion([]) == [] and reciprocal_rank_fusion([[], []]) == []


def test_any_rankings_have_the_sums_of_the_formula() -> None:
    rng = random.Random(0)
    for _ in range(50):
        rankings = [rng.sample(range(20), rng.randrange(20)) for _ in range(rng.randrange(1, 5))]
        fused = reciprocal_rank_fusion(rankings, k=10)
        expected = {x: sum(1 / (11 + r.index(x)) for r in rankings if x in r) for r in rankings for x in r}
        assert dict(fused) == pytest.approx(expected)
        assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)
