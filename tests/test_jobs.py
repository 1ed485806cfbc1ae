"""i/n: every item is in exactly one job, and what is no job is refused."""

from __future__ import annotations

from itertools import count, islice

import pytest

from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.errors import ConfigError
from ttft.jobs import Job


@pytest.mark.parametrize(("items", "total"), [(10, 3), (4, 4), (3, 5), (0, 2), (7, 1)])
def test_every_item_is_in_exactly_one_job(items, total):
    jobs = [list(Job(number, total).of(range(items))) for number in range(1, total + 1)]
    assert sorted(x for job in jobs for x in job) == list(range(items))
    assert jobs == [list(range(items))[number::total] for number in range(total)]


def test_a_stream_without_end_can_be_cut():
    assert list(islice(Job(3, 8).of(count(1)), 3)) == [3, 11, 19]


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/8", "a/b", " 1/4", "1/4\n", "1.5/4"])
def test_what_is_no_job_is_refused(text):
    with pytest.raises(ValueError, match="expected i/n"):
        Job.parse(text)


def test_an_option_is_checked_and_written_in_one_way():
    given = ["index=i", "out=o"]
    assert FinetuneEvalConfig.build(sets=[*given, "job=03/08"]).job == "3/8"
    with pytest.raises(ConfigError, match=r"--set: job: expected i/n, .* \(got '9/8'\)"):
        FinetuneEvalConfig.build(sets=[*given, "job=9/8"])


def test_each_job_has_adapters_of_its_own():
    given = ["index=i", "out=o", "save_adapters=runs/a"]
    assert str(FinetuneEvalConfig.build(sets=given).adapters()) == "runs/a"
    assert str(FinetuneEvalConfig.build(sets=[*given, "job=3/8"]).adapters()) == "runs/a/job-3-of-8"
    assert FinetuneEvalConfig.build(sets=given[:2]).adapters() is None
