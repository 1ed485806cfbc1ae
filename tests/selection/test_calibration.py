"""The policy and its fit: a known law of gains is found again, noise is not, and the file keeps every bit."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ttft.errors import ConfigError, TtftError
from ttft.records import Result
from ttft.selection.budget import spread
from ttft.selection.calibration import Scored, calibrate, fit, rank_correlation
from ttft.selection.policy import CalibratedRule, GainPolicy, features, worthwhile
from ttft.selection.sift import select_sift


def prompts(count: int, law, seed: int = 0, noise: float = 0.0, steps: int = 20) -> list[Scored]:
    """Prompts of different nearness whose n-th step gains law(n, s_n), plus noise."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        floor = rng.uniform(0.3, 0.9)
        sigma = floor + (1 - floor) * np.exp(-np.arange(steps + 1) / 4)
        gains = law(np.arange(1, steps + 1), sigma[1:]) + noise * rng.normal(size=steps)
        bits = np.concatenate([[2.0], 2.0 - np.cumsum(gains)])
        scored = np.array([0, 1, 2, 5, 10, 15, 20])
        made.append(Scored(sigma * rng.uniform(0.5, 2), scored, bits[scored], int(rng.integers(500, 3000))))
    return made


def near_prompts_gain(n, s):
    return 0.02 * (0.8 - s) / np.sqrt(n)


@pytest.mark.parametrize(("scale", "last"), [(None, 80.0), (1.0, 80.0), (0.5, 75.0), (0.0, 80.0)])
def test_a_result_is_fitted_under_the_whole_update_whatever_a_guard_made_of_it(scale, last):
    guard = {} if scale is None else {"scale": scale, "known": {}, "tuned_nats": 80.0}
    result = Result(
        prompt_id="p", subset="", text_sha256="0", model="m", adapter={}, ids=[4, 7, 7], sigma=[1.0, 0.5, 0.4, 0.35],
        steps=[0, 1, 3], nats=[100.0, 90.0, last], bytes=50, tokens=9, kept="base" if scale == 0.0 else "tuned",
        guard=guard,
    )  # fmt: skip
    scored = Scored.of(result)
    assert scored.bits == pytest.approx(np.array([100, 90, 80]) / (50 * np.log(2))) and scored.bytes == 50
    assert scored.gains() == pytest.approx(np.array([10, 5, 5]) / (50 * np.log(2)))
    assert scored.sigma.tolist() == result.sigma and scored.steps.tolist() == result.steps


def test_a_law_of_sigma_is_found_again_on_prompts_that_were_left_out():
    result = calibrate(prompts(80, near_prompts_gain, noise=0.001))
    assert result.correlation > 0.9 and result.interval[0] > 0.85 and "sigma" in result.policy.curves
    fresh = prompts(40, near_prompts_gain, seed=9)
    predicted = [result.policy.gains(p.sigma).sum() for p in fresh]
    assert rank_correlation(np.array(predicted), np.array([p.gains().sum() for p in fresh]))[0] > 0.9
    # the rule takes fewer steps and keeps what it was asked to keep
    assert result.rule_steps < result.full_steps == 20 and result.rule_gain >= 0.95 * result.full_gain


def test_where_there_is_nothing_to_learn_the_interval_says_so():
    result = calibrate(prompts(60, lambda n, s: 0.0 * s, noise=0.01))
    assert result.interval[0] < 0 < result.interval[1]


def test_curves_go_the_way_the_theory_says():
    policy = fit(prompts(60, lambda n, s: 0.02 * s, noise=0.001), ("n", "sigma"))  # the reverse law
    for name, (_, y) in policy.curves.items():
        assert (np.diff(y) <= 1e-12).all(), name
    assert np.ptp(policy.curves["sigma"][1]) < 0.003  # so that curve is flat


def test_the_scale_of_sigma_does_not_matter():
    sigma = np.array([1.0, 0.8, 0.7])
    for name, values in features(sigma).items():
        assert np.allclose(values, features(3 * sigma)[name]), name
    assert features(np.array([2.0, 1.0]))["slope"].tolist() == [0.5]
    assert all(len(v) == 0 for v in features(np.zeros(1)).values())


def test_a_policy_survives_its_file_bit_for_bit():
    policy = calibrate(prompts(30, near_prompts_gain, noise=0.001)).policy
    data = json.loads(json.dumps(policy.to_json() | {"facts": {"lambda_": 1.0}}))
    sigma = np.linspace(1, 0.2, 21)
    assert np.array_equal(GainPolicy.from_json(data).gains(sigma), policy.gains(sigma))
    assert GainPolicy.from_json(data).min_gain == policy.min_gain


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 7},
        {"schema": 1},
        {"schema": True},
        {"curves": {"n": {"x": [2, 1], "y": [0, 0]}}},
        {"curves": {"n": {"x": [], "y": []}}},
        {"curves": {"n": {"x": [1, 2], "y": [0]}}},
        {"curves": {"n": {"x": [1], "y": [math.nan]}}},
        {"curves": {"n": {"x": [1], "y": [math.inf]}}},
        {"curves": {"n": {"x": [1], "y": ["0"]}}},
        {"curves": {"mood": {"x": [1], "y": [0]}}},
        {"curves": {"n": {"x": [1]}}},
        {"intercept": None},
        {"min_gain": math.nan},
        {"min_gain": True},
        {"facts": {}},
        {"facts": {"lambda_": "much"}},
        {"facts": {"lambda_": -1.0}},
        {"facts": {"lambda_": 1.0, "embedder": 3}},
        {"facts": {"lambda_": 1.0, "mood": 3}},
        {"more": 1},
    ],
)
def test_a_damaged_policy_is_refused(change):
    good = GainPolicy(0.0, {"n": (np.ones(1), np.ones(1))}, 0.0, {"lambda_": 1.0}).to_json()
    GainPolicy.from_json(good)
    with pytest.raises(ConfigError, match="the policy"):
        GainPolicy.from_json(good | change)


def test_the_rule_keeps_the_steps_that_are_worth_their_price():
    policy = GainPolicy(0.0, {"n": (np.array([1.0, 5.0]), np.array([4.0, 0.0]))}, min_gain=1.5)
    rng = np.random.default_rng(0)
    pool, query = rng.normal(size=(30, 8)), rng.normal(size=8)
    full, stopped = select_sift(pool, query, 10), select_sift(pool, query, 10, stop=CalibratedRule(policy, 10))
    assert stopped.stopped_because == "gain" and len(stopped.variances) == 4  # gains 4, 3, 2, then 1
    assert stopped.order.tolist() == full.order[:3].tolist()
    nothing = select_sift(pool, query, 10, stop=CalibratedRule(GainPolicy(-1.0, {}), 10))
    assert len(nothing.order) == 0 and len(nothing.variances) == 1
    everything = select_sift(pool, query, 10, stop=CalibratedRule(GainPolicy(1.0, {}), 10))
    assert everything.stopped_because == "n" and everything.order.tolist() == full.order.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_what_is_worthwhile_is_the_best_of_all_lengths_and_what_a_budget_would_give(seed):
    rng = np.random.default_rng(seed)
    gains, price = rng.normal(size=12), rng.normal()
    totals = [sum(gains[:n] - price) for n in range(13)]
    assert worthwhile(gains, price) == totals.index(max(totals))
    assert worthwhile(gains, price) == spread([gains - price], 12, weights=[1.0])[0]  # a price for budget
    assert worthwhile(np.array([1.0, 0.0, 5.0]), 1.5) == 3 and worthwhile(np.zeros(0), 0.0) == 0


def test_the_same_prompts_give_the_same_policy_and_another_seed_other_folds():
    made = prompts(40, near_prompts_gain, noise=0.005)
    first, again, other = calibrate(made, seed=1), calibrate(made, seed=1), calibrate(made, seed=2)
    assert first.policy.to_json() == again.policy.to_json() and first.correlation == again.correlation
    assert first.correlation != other.correlation


def test_too_few_prompts_are_refused():
    made = prompts(9, near_prompts_gain)
    with pytest.raises(TtftError, match="9 prompts"):
        calibrate(made)
    unscored = [Scored(np.ones(1), np.zeros(1, int), np.ones(1), 10)] * 20  # pools that were empty
    with pytest.raises(TtftError, match="0 prompts"):
        calibrate(unscored)
