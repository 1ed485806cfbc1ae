"""Runs that differ in lambda only: compared by what answers, and refused where something else differs, too."""

from __future__ import annotations

import pytest

from ttft.errors import ConfigError, MissingArtifact
from ttft.reporting.groups import read_groups
from ttft.reporting.lambdas import compare_lambdas, read_comparable
from ttft.reporting.summary import summarize


def guard(scale, tuned_nats):
    return {"kept": "tuned" if scale else "base", "guard": {"scale": scale, "known": {}, "tuned_nats": tuned_nats}}


def test_by_hand_over_the_common_prompts(write_run, fake):
    one = write_run("one", [fake("a", 100, 50), fake("b", 300, 330), fake("only here", 100, 1)], lambda_=0.1)
    two = write_run("two", [fake("b", 300, 240), fake("a", 100, 80)], lambda_=1.0)
    found = compare_lambdas(read_comparable([one, two]))
    assert [row.percent for row in found.rows] == pytest.approx([95.0, 80.0])
    assert (found.rows[0].low, found.rows[0].high) == pytest.approx((50.0, 110.0))
    assert found.best is found.rows[1] and found.best.run.config["lambda_"] == 1.0 and found.prompts == 2
    assert compare_lambdas(read_comparable([one, two])) == found


def test_a_kept_base_counts_as_the_base_as_it_does_in_a_report(write_run, fake):
    results = [fake("a", 100, 150, **guard(0.0, 150)), fake("b", 100, 70, **guard(0.5, 90)), fake("c", 100, 90)]
    folder, said = write_run("guarded", results, guard=True), []
    (row,) = compare_lambdas(read_comparable([folder], said.append)).rows
    assert row.percent == pytest.approx((100 + 70 + 90) / 3)
    (group,) = read_groups([folder])
    assert row.percent == summarize(group).rows[1].percent
    assert len(said) == 1 and "what the guard kept" in said[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lambda_": 0.01}, "same lambda"),
        ({"n": 50}, "differ in n"),
        ({"mix": True}, "differ in mix"),
        ({"strategy": "nearest"}, "a run with strategy 'nearest'"),
        ({"method": "in-context"}, "trained nothing"),
        ({"alpha": 0.3}, "stopped early by a rule"),
        ({"budget_steps": 0}, "stopped early by a rule"),
    ],
)
def test_what_cannot_be_compared_is_named(write_run, fake, change, words):
    folders = [write_run("one", [fake("a", 10, 9)]), write_run("two", [fake("a", 10, 9)], **{"lambda_": 1.0} | change)]
    with pytest.raises(ConfigError, match=words):
        read_comparable(folders)


def test_a_run_from_before_there_were_guards_is_one_without(write_run, fake):
    old = write_run("old", [fake("a", 10, 9)])
    new = write_run("new", [fake("a", 10, 9)], lambda_=1.0, guard=False, mix=False)
    assert len(read_comparable([old, new])) == 2


def test_runs_of_other_prompts(write_run, fake):
    one, two = write_run("one", [fake("a", 10, 9)]), write_run("two", [fake("b", 10, 9)], lambda_=1.0)
    with pytest.raises(MissingArtifact, match="no prompt in common"):
        compare_lambdas(read_comparable([one, two]))
