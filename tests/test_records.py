"""A result's final numbers: one definition, with and without a guard, and none of it in the file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields

import pytest

from ttft.records import Result


def result(**changes) -> Result:
    """80 nats after the last step from 100 of the base, over 50 bytes."""
    values = {
        "prompt_id": "p", "subset": "", "text_sha256": "0", "model": "m", "adapter": {}, "ids": [1, 2],
        "sigma": [1.0, 0.5, 0.4], "steps": [0, 1, 2], "nats": [100.0, 90.0, 80.0], "bytes": 50, "tokens": 12,
        "kept": "tuned",
    }  # fmt: skip
    return Result(**values | changes)


def test_by_hand():
    tuned = result()
    assert (tuned.base_nats, tuned.final_nats, tuned.tuned_nats, tuned.steps_taken) == (100.0, 80.0, 80.0, 2)
    assert tuned.base_bpb == pytest.approx(100 / (50 * math.log(2)))
    assert tuned.final_bpb == pytest.approx(80 / (50 * math.log(2)))
    assert tuned.percent_of_base == pytest.approx(80.0)


def test_where_the_guard_kept_the_base_it_answers_and_the_update_is_still_known():
    kept = result(kept="base", nats=[100.0, 105.0, 110.0], guard={"scale": 0.0, "known": {}, "tuned_nats": 110.0})
    assert (kept.final_nats, kept.percent_of_base, kept.tuned_nats) == (100.0, 100.0, 110.0)
    assert kept.final_bpb == kept.base_bpb


def test_under_a_share_of_the_update_the_last_nats_are_those_of_the_answer():
    mixed = result(nats=[100.0, 90.0, 85.0], guard={"scale": 0.5, "known": {}, "tuned_nats": 95.0})
    assert (mixed.final_nats, mixed.tuned_nats) == (85.0, 95.0)


def test_training_that_failed_and_a_prompt_without_a_step():
    failed = result(kept="base", steps=[0, 1], nats=[100.0, 120.0], failed="the loss of step 2 is not a number")
    assert (failed.final_nats, failed.tuned_nats, failed.steps_taken) == (100.0, 120.0, 1)
    bare = result(kept="base", steps=[0], nats=[100.0], ids=[], sigma=[1.0])
    assert (bare.final_nats, bare.tuned_nats, bare.steps_taken, bare.percent_of_base) == (100.0, 100.0, 0, 100.0)


def test_of_nothing_there_is_no_percentage():
    assert math.isnan(result(nats=[0.0, 0.0, 1.0]).percent_of_base)


def test_what_is_written_is_the_fields_and_nothing_else():
    written = result().to_json()
    assert list(written) == [field.name for field in fields(Result)] and written == asdict(result())
    assert Result(**json.loads(json.dumps(written))) == result()
