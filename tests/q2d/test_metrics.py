"""Scores of queries, against known values on real rewrites, and what intervals and comparisons must satisfy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from q2d.corpora import corpus

from ttft.errors import ConfigError
from ttft.q2d.calibration import read_query_pairs
from ttft.q2d.conversations import load_examples
from ttft.q2d.metrics import (
    BASELINES,
    by_group,
    compare,
    depth_group,
    mean_interval,
    resampled_means,
    score,
    summary,
)
from ttft.q2d.records import Example, alternating


def test_scores_of_a_turn() -> None:
    scores = score(["The old mill", "Who?", "who built it"], ["old mill!", "who? ", ""])
    assert scores.f == pytest.approx([0.8, 1, 0]) and scores.recall == pytest.approx([2 / 3, 1, 0])
    assert scores.exact.tolist() == [0, 1, 0] and scores.exact_norm.tolist() == [1, 1, 0]
    assert scores.sbert is None
    with pytest.raises(ConfigError, match="1 predictions for 2 targets"):
        score(["a", "b"], ["a"])
    with pytest.raises(ConfigError, match="nothing to score"):
        summary(score([], []))


def test_a_summary_holds_percents_and_the_cosine() -> None:
    embed = lambda texts: np.array([[1.0, 0.0] if "mill" in text else [0.0, 1.0] for text in texts])  # noqa: E731
    whole = summary(score(["a mill", "rain today"], ["a mill", "old mill"], embed))
    assert (whole.n, whole.f, whole.exact, whole.sbert) == (2, 50, 50, 50)
    assert json.dumps(whole.to_json())


def examples() -> list[Example]:
    return [
        Example("1", "c", alternating(["who?", "Ann", "why?"]), "why Ann", "quac", 2),
        Example("2", "d", alternating(["what?"]), "what", "nq", 1),
        Example("3", "d", alternating([str(n) for n in range(9)]), "9", "nq", 5),
    ]


def test_baselines_and_groups() -> None:
    first = examples()[0]
    assert {name: query(first) for name, query in BASELINES.items()} == {
        "last turn": "why?", "all user turns": "who? why?", "whole history": "who? Ann why?", "gold rewrite": "why Ann",
    }  # fmt: skip
    scores = score([one.target for one in examples()], ["why Ann", "x", "9"])
    assert {name: one.f for name, one in by_group(examples(), scores).items()} == {"nq": 50, "quac": 100}
    assert {name: one.n for name, one in by_group(examples(), scores, depth_group).items()} == {
        "1": 1,
        "2": 1,
        "5-7": 1,
    }


def test_intervals_are_seeded_and_by_conversation() -> None:
    rng = np.random.default_rng(3)
    talks = np.repeat([f"c{n}" for n in range(40)], 5)
    values = np.repeat(rng.random(40), 5)  # the turns of a conversation are the same
    whole = mean_interval(values, talks, seed=1)
    assert whole == mean_interval(values, talks, seed=1) != mean_interval(values, talks, seed=2)
    alone = mean_interval(values, [str(n) for n in range(200)], seed=1)
    assert whole.low < whole.value < whole.high
    ratio = (whole.high - whole.low) / (alone.high - alone.low)
    assert 1.7 < ratio < 2.9  # sqrt(5): five turns that are the same count once
    expected = 2 * 1.96 * values.std() / np.sqrt(40)
    assert whole.high - whole.low == pytest.approx(expected, rel=0.15)


def test_resamples_are_paired() -> None:
    values = np.random.default_rng(0).random(30)
    means = resampled_means({"a": values, "b": values + 0.25}, [str(n // 3) for n in range(30)])
    assert means["b"] - means["a"] == pytest.approx(0.25)
    unequal = resampled_means({"a": np.array([1.0, 0.0, 0.0])}, ["x", "y", "y"], resamples=500)["a"]
    assert set(np.round(unequal, 4)) == {0.0, 0.3333, 1.0}  # a mean over turns, not over conversations


def test_relative_performance_and_gap_closed() -> None:
    rng = np.random.default_rng(1)
    copy, talks = rng.random(300) / 2, [str(n // 4) for n in range(300)]
    human, system = copy + 0.4, copy + 0.3
    found = compare(system, human, copy, talks)
    assert found.gap_closed.value == pytest.approx(0.75) == pytest.approx(found.gap_closed.low)
    assert found.difference.high == pytest.approx(-0.1)
    assert found.relative.value == pytest.approx(system.mean() / human.mean())
    assert found.relative.low < found.relative.value < found.relative.high < 1
    same = compare(copy, copy, copy, talks)
    assert same.to_json()["gap_closed"] == {"value": None, "low": None, "high": None} and same.relative.value == 1


CHATGPT = "qrecc/infocqr_dev-sampled2k_chatgpt_ICL_editor.jsonl"


def figures(targets, predictions) -> tuple[float, ...]:
    found = summary(score(targets, predictions))
    return found.n, found.f, found.recall, found.exact, found.bleu


def of_last_turns(name: str, least: int) -> tuple[float, ...]:
    rows = [one for one in load_examples(corpus(name)) if one.depth >= least]
    return figures([one.target for one in rows], [one.turns[-1].text for one in rows])


def test_the_row_of_two_humans() -> None:
    pairs, _ = read_query_pairs(corpus("canard/multiple_refs.json"))
    found = figures([one for one, _ in pairs], [other for _, other in pairs])
    assert found == pytest.approx((100, 84.79, 89.04, 29.00, 59.29), abs=0.05)


@pytest.mark.parametrize(
    ("name", "least", "row"),
    [
        ("cast/llm4cs_cast19_test.json", 2, (429, 79.91, 73.02, 20.05, 56.05)),
        ("cast/llm4cs_cast20_test.json", 2, (191, 70.82, 62.28, 5.24, 40.42)),
        (CHATGPT, 2, (1633, 66.00, 56.30, 2.63, 32.05)),
        pytest.param(CHATGPT, 1, (2000, 72.24, 64.32, 20.50, 43.12), marks=pytest.mark.slow),
        pytest.param("canard/dev.json", 1, (3430, 68.63, 59.57, 6.01, 34.76), marks=pytest.mark.slow),
        pytest.param(
            "qrecc/adaqr_4k_sft_data_with_human_rewrite.jsonl", 1, (4000, 66.03, 56.34, 3.50, 31.66),
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_the_rows_of_copying_the_last_turn(name: str, least: int, row: tuple[float, ...]) -> None:
    """q2d.md, section 4.7: n, ROUGE-1 F and recall, exact match, BLEU."""
    assert of_last_turns(name, least) == pytest.approx(row, abs=0.05)


@pytest.mark.slow
def test_the_rows_of_chatgpt_and_of_all_user_turns() -> None:
    rows = [one for one in load_examples(corpus(CHATGPT)) if one.depth > 1]
    targets = [one.target for one in rows]
    for predictions, row in (
        ([one.rewrites["gpt"] for one in rows], (1633, 55.97, 74.54, 2.08, 18.55)),
        ([one.rewrites["editor"] for one in rows], (1633, 46.92, 75.68, 0.43, 13.12)),
        ([BASELINES["all user turns"](one) for one in rows], (1633, 43.65, 82.43, 0.00, 12.51)),
    ):
        assert figures(targets, predictions) == pytest.approx(row, abs=0.05)


def test_no_share_of_a_gap_that_may_be_nothing() -> None:
    names = [str(place) for place in range(40)]
    copy = np.tile([0.4, 0.6], 20)
    noisy = compare(copy + 0.1, copy + np.tile([-0.3, 0.31], 20), copy, names)
    assert np.isnan([noisy.gap_closed.value, noisy.gap_closed.low, noisy.gap_closed.high]).all()
    clear = compare(copy + 0.1, copy + 0.2, copy, names)
    assert clear.gap_closed.value == pytest.approx(0.5)
