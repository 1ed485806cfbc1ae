import math

import pytest

from ttft.errors import TtftError
from ttft.reporting.groups import read_groups
from ttft.reporting.summary import checkpoints, summarize


def summary_of(*folders):
    (group,) = read_groups(list(folders))
    return summarize(group)


def test_rows_by_hand(write_run, fake):
    s = summary_of(write_run("one", [fake("a", 100, 50), fake("b", 300, 330, size=300, subset="prose")]))
    base, run = s.rows
    assert base.is_base and base.percent == 100 and base.bpb == pytest.approx(400 / (math.log(2) * 400))
    assert run.percent == pytest.approx(95.0) and run.bpb == pytest.approx(380 / (math.log(2) * 400))
    assert (run.low, run.high) == pytest.approx((50.0, 110.0))
    assert run.worse == 50.0 and run.steps == 20 and run.near_duplicates == 1
    assert run.seconds == {"embed": 0.1, "search": 0.2, "select": 0.3, "train": 2.0, "evaluate": 1.0}
    assert run.seconds_total == pytest.approx(3.6)
    assert [(r.subset, r.prompts, r.bytes, r.runs[0]["percent"]) for r in s.subsets] == [
        ("code", 1, 100, pytest.approx(50)),
        ("prose", 1, 300, pytest.approx(110)),
    ]
    assert s.sigmas == {"SIFT": pytest.approx([1.0, 0.6, 0.5])}
    assert s.best["SIFT"][0]["id"] == "a" and s.worst["SIFT"][0]["id"] == "b"


def test_steps_carry_the_last_value_of_a_prompt_that_stopped(write_run, fake):
    early = fake("a", 100, 0, steps=[0, 1, 3], nats=[100.0, 80.0, 60.0])
    late = fake("b", 100, 0, steps=[0, 1, 5, 20], nats=[100.0, 90.0, 70.0, 50.0])
    (curve,) = summary_of(write_run("one", [early, late])).curves
    assert curve.steps == [0, 1, 5, 20]  # 3 is the end of one prompt, where the other was not scored
    assert curve.percent == pytest.approx([100, 85, 65, 55])
    assert (curve.low[0], curve.high[0]) == pytest.approx((100, 100))


def test_checkpoints_of_one_prompt_are_its_steps(write_run, fake):
    (group,) = read_groups([write_run("one", [fake("a", 10, 9, steps=[0, 4, 7])])])
    assert checkpoints(list(group.runs[0].results)) == [0, 4, 7]


def test_where_the_base_was_kept_it_answers(write_run, fake):
    s = summary_of(write_run("one", [fake("a", 100, 150, kept="base"), fake("b", 100, 80)]))
    assert s.rows[1].percent == pytest.approx(90) and s.rows[1].worse == 0
    assert any("answers 1 of 2 prompts" in note for note in s.notes)


def test_common_prompts_are_noted_and_make_the_base_comparable(write_run, fake):
    one = write_run("one", [fake("a", 100, 90), fake("b", 100, 10)])
    two = write_run("two", [fake("a", 100, 80)], strategy="nearest")
    s = summary_of(one, two)
    assert [round(row.percent, 6) for row in s.rows] == [100, 90, 80] and {row.prompts for row in s.rows} == {1}
    assert "1 of 2 prompts left out: not in every run." in s.notes
    assert math.isnan(s.rows[1].low) and any("No interval" in note for note in s.notes)


def test_a_base_that_differs_by_rounding_is_the_first_runs(write_run, fake):
    one = write_run("one", [fake("a", 100, 90)])
    two = write_run("two", [fake("a", 100.01, 150, kept="base")], strategy="nearest")
    s = summary_of(one, two)
    assert [row.label for row in s.rows] == ["base", "SIFT", "nearest"]
    assert s.rows[2].percent == 100.0 and s.rows[2].worse == 0


def test_a_base_that_differs_gets_its_own_row(write_run, fake):
    one = write_run("one", [fake("a", 100, 90)])
    two = write_run("two", [fake("a", 110, 99)], strategy="nearest", dtype="bfloat16")
    s = summary_of(one, two)
    assert [row.label for row in s.rows] == ["base", "SIFT", "base of nearest", "nearest"]
    assert s.rows[3].percent == pytest.approx(90)
    assert any("nearest has another base than SIFT (up to 10.0%" in note for note in s.notes)
    assert s.own_config["nearest"] == {"strategy": "nearest", "dtype": "bfloat16"} and s.config["n"] == 20


def test_order_of_lines_changes_nothing(write_run, fake):
    prompts = [fake(f"p{i}", 100 + i, 90 - i, subset="ab"[i % 2]) for i in range(9)]
    one = summary_of(write_run("one", prompts)).to_json()
    two = summary_of(write_run("two", prompts[::-1])).to_json()
    assert {k: v for k, v in one.items() if k != "folders"} == {k: v for k, v in two.items() if k != "folders"} | {
        "rows": [two["rows"][0], two["rows"][1] | {"near_duplicates": 1}]
    }


def test_leak_is_said_for_whole_and_denied_for_suffix(write_run, fake):
    whole = summary_of(write_run("one", [fake("a", 100, 90)])).notes
    suffix = summary_of(write_run("two", [fake("a", 100, 90)], score="suffix")).notes
    assert any("transductive" in note for note in whole) and not any("transductive" in note for note in suffix)
    assert any("no leak" in note for note in suffix)


def test_prompts_without_a_base_score_are_left_out_and_told(write_run, fake):
    broken = fake("b", 0, 0, steps=[], nats=[], kept="base", failed="the base score is not a number")
    one = write_run("one", [fake("a", 100, 90), broken, fake("c", 100, 80)])
    s = summary_of(one)
    assert s.prompts == 2 and s.rows[1].percent == pytest.approx(85) and s.rows[1].kept_base == 0
    assert "SIFT: 1 prompt failed (no finite base score) and is left out." in s.notes
    two = write_run("two", [fake("a", 100, 70), fake("b", 100, 60), fake("c", 100, 50)], strategy="nearest")
    s = summary_of(one, two)
    assert s.prompts == 2 and [round(row.percent, 6) for row in s.rows] == [100, 85, 60]
    with pytest.raises(TtftError, match=r"no finite score: all 1 prompts failed \(the base score"):
        summary_of(write_run("three", [broken]))


def test_training_that_failed_counts_as_the_base(write_run, fake):
    failed = fake("b", 100, 0, steps=[0, 1], nats=[100.0, 120.0], kept="base", failed="the loss of step 2 is nan")
    s = summary_of(write_run("one", [fake("a", 100, 90), failed]))
    assert s.rows[1].percent == pytest.approx(95) and s.rows[1].kept_base == 1


def test_runs_without_selections_or_sigma(write_run, fake):
    folder = write_run("one", [fake("a", 100, 90, sigma=[])])
    (folder / "selections.jsonl").unlink()
    s = summary_of(folder)
    assert s.rows[1].near_duplicates is None and s.sigmas == {}
    assert any("SIFT unknown" in note for note in s.notes)
