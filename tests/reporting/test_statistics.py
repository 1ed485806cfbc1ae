import math

import numpy as np
import pytest

from ttft.reporting.statistics import bootstrap_interval, corpus_bits_per_byte, percent_of_base, percent_worse


def test_ratio_of_sums_by_hand():
    # two prompts: 8 and 16 bits over 4 and 4 bytes; the mean of ratios would be the same, with 12 bytes it is not
    nats = [8 * math.log(2), 16 * math.log(2)]
    assert corpus_bits_per_byte(nats, [4, 4]) == pytest.approx(3.0)
    assert corpus_bits_per_byte(nats, [4, 12]) == pytest.approx(1.5)  # mean of ratios: 1.667
    assert percent_of_base([10, 30], [5, 30]) == pytest.approx(87.5)  # mean of ratios: 75
    assert percent_worse([1, 2, 3, 4], [1, 3, 1, 5]) == 50.0
    assert math.isnan(corpus_bits_per_byte([], [])) and math.isnan(percent_worse([], []))


def test_equal_ratios_give_an_interval_of_no_width():
    base = np.random.default_rng(1).uniform(1, 1000, 40)
    low, high = bootstrap_interval(base, 0.8 * base)
    assert low == pytest.approx(80) and high == pytest.approx(80)


def test_brute_force_over_all_resamples_of_five_prompts():
    base, tuned = np.array([1.0, 2.0, 4.0, 5.0, 9.0]), np.array([0.5, 2.2, 3.0, 5.3, 7.0])
    draws = np.stack(np.meshgrid(*[range(5)] * 5), -1).reshape(-1, 5)  # all 3125
    ratios = 100 * tuned[draws].sum(1) / base[draws].sum(1)
    for level in (0.95, 0.5):
        exact = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
        assert bootstrap_interval(base, tuned, level=level) == pytest.approx(exact, abs=0.4)


def test_coverage_of_the_true_ratio():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        base = rng.lognormal(5, 0.5, 60)
        low, high = bootstrap_interval(base, base * rng.normal(0.9, 0.1, 60), resamples=400)
        hits += low <= 90 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_one_prompt_has_no_interval():
    assert np.isnan(bootstrap_interval([3.0], [2.0])).all()
    low, _ = bootstrap_interval([3.0], [[2.0, 1.0]])
    assert low.shape == (2,) and np.isnan(low).all()


def test_deterministic_and_columns_share_their_draws():
    rng = np.random.default_rng(3)
    base, tuned = rng.uniform(1, 9, 30), rng.uniform(1, 9, (30, 2))
    low, high = bootstrap_interval(base, tuned)
    again = bootstrap_interval(base, tuned)
    assert np.array_equal(low, again[0]) and np.array_equal(high, again[1])
    one = bootstrap_interval(base, tuned[:, 1])
    assert (low[1], high[1]) == pytest.approx(one)


def test_row_order_does_not_change_the_point_estimate():
    rng = np.random.default_rng(4)
    base, tuned, order = rng.uniform(1, 9, 99), rng.uniform(1, 9, 99), rng.permutation(99)
    assert percent_of_base(base, tuned) == percent_of_base(base[order], tuned[order])
    assert corpus_bits_per_byte(tuned, base) == corpus_bits_per_byte(tuned[order], base[order])


def test_chunks_bound_the_memory(monkeypatch):
    from ttft.reporting import statistics

    base, tuned = np.arange(1.0, 11), np.arange(2.0, 12)[::-1]
    whole = bootstrap_interval(base, tuned, resamples=1000)
    monkeypatch.setattr(statistics, "CELLS", 70)  # 7 resamples at a time: 142 whole chunks and a rest
    assert bootstrap_interval(base, tuned, resamples=1000) == pytest.approx(whole)
