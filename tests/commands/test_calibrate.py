"""ttft calibrate, and what its policy does in select and finetune-eval: the calibrated rule and the budget."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from small import sentences, write_config, write_lines

from ttft.run_dir import sealed, write_json
from ttft.state import read_lines


@pytest.fixture(scope="module")
def many_prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "many.jsonl"
    lines = [json.dumps({"id": f"p{i}", "text": sentences(2, 2000 + i)}) for i in range(12)]
    path.write_text("\n".join(lines) + "\n")
    return path


def tuned(index, prompts, out, model, *more):
    return [
        "finetune-eval", index, "--prompts", prompts, "--out", out, "--model", model, "-n", 4, "-k", 30,
        "--dtype", "float32", "--lr", 1e-3, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, index_folder, many_prompts, lm_folder):
    """A folder with a run for each of two lambdas and their policy, made by the command; and what it printed."""
    import contextlib
    import io

    from small import ttft

    out, printed = tmp_path_factory.mktemp("calibration") / "c", io.StringIO()
    options = f"finetune={{n: 4, k: 30, model: '{lm_folder}', lr: 1.0e-3, dtype: float32}}"
    with contextlib.redirect_stdout(printed):
        code = ttft(
            "calibrate", "--index", index_folder, "-p", many_prompts, "-o", out, "--lambda", 0.1, "--lambda", 1.0,
            "--set", options,
        )  # fmt: skip
    assert code == 0
    return out, printed.getvalue()


def test_it_makes_a_run_for_each_lambda_and_a_policy_of_the_best(calibrated):
    out, printed = calibrated
    policy = json.loads((out / "policy.json").read_text())
    totals = {}
    for value in (0.1, 1.0):
        results = read_lines(out / f"lambda-{value}" / "results.jsonl")
        assert len(results) == 12 and results[0]["steps"] == [0, 1, 2, 3, 4]
        totals[value] = sum(r["nats"][-1] for r in results)
    assert policy["facts"]["lambda_"] == min(totals, key=totals.get)
    assert policy["facts"]["prompts"] == 12 and len(policy["facts"]["interval"]) == 2
    assert "best" in printed and "rank correlation" in printed and str(out / "policy.json") in printed


def test_again_it_makes_no_run_anew(calibrated, index_folder, many_prompts, lm_folder, run_ttft, capsys):
    out, _ = calibrated
    before = {path: path.read_bytes() for path in out.rglob("*.json*")}
    options = f"finetune={{n: 4, k: 30, model: '{lm_folder}', lr: 1.0e-3, dtype: float32}}"
    assert (
        run_ttft(
            "calibrate", "--index", index_folder, "-p", many_prompts, "-o", out, "--lambda", 0.1, "--lambda", 1.0,
            "--set", options,
        )
        == 0
    )  # fmt: skip
    assert "(0 new)" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in out.rglob("*.json*")} == before


def test_from_finished_runs_it_makes_the_same_policy(calibrated, tmp_path, run_ttft):
    out, _ = calibrated
    runs = [out / "lambda-0.1", out / "lambda-1.0"]
    assert run_ttft("calibrate", *runs, "--out", tmp_path / "p.json") == 0
    assert (tmp_path / "p.json").read_bytes() == (out / "policy.json").read_bytes()


def test_the_jobs_of_a_run_are_that_run(calibrated, tmp_path, run_ttft, capsys):
    run = calibrated[0] / "lambda-0.1"
    lines = (run / "results.jsonl").read_text().splitlines(True)
    config = yaml.safe_load((run / "config.yaml").read_text())
    jobs = [tmp_path / "1", tmp_path / "2"]
    for number, (job, some) in enumerate(zip(jobs, (lines[:10], lines[10:]), strict=True), 1):
        job.mkdir()
        (job / "results.jsonl").write_text("".join(some))
        write_config(job, config | {"job": f"{number}/2"})
    for runs, out in (([run], "whole.json"), (jobs, "jobs.json"), (jobs[:1], "half.json")):
        capsys.readouterr()
        assert run_ttft("calibrate", *runs, "--out", tmp_path / out) == 0
    assert (tmp_path / "jobs.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert "WARNING: 1 of 2 jobs is missing (2/2)" in capsys.readouterr().err


def guarded_copy(run, out, lambda_, final=None):
    """The run as a guard that kept every base would have left it: `final` is what the whole update then scored."""
    out.mkdir()
    lines = []
    for result in read_lines(run / "results.jsonl"):
        nats = [*result["nats"][:-1], final or result["nats"][-1]]
        guard = {"scale": 0.0, "known": {}, "tuned_nats": nats[-1]}
        lines.append(result | {"kept": "base", "nats": nats, "guard": guard})
    write_lines(out / "results.jsonl", lines)
    config = yaml.safe_load((run / "config.yaml").read_text())
    write_config(out, config | {"lambda_": lambda_, "guard": True})
    return out


def test_lambdas_of_guarded_runs_are_compared_by_what_answers(calibrated, tmp_path, run_ttft, capsys):
    """Where the guard kept every base a run is at 100% of base, here as in a report, whatever its steps did."""
    run = calibrated[0] / "lambda-0.1"
    harmed = guarded_copy(run, tmp_path / "harmed", 0.7, final=1e4)
    helped = guarded_copy(run, tmp_path / "helped", 0.8)
    assert run_ttft("calibrate", harmed, helped, "--out", tmp_path / "p.json") == 0
    printed = capsys.readouterr()
    rows = [line.split() for line in printed.out.splitlines()[1:3]]
    assert [row[:2] for row in rows] == [["0.7", "100.00"], ["0.8", "100.00"]]
    assert "scores under the full update" in printed.err
    assert run_ttft("report", harmed, "--out", tmp_path / "r.html") == 0
    assert " 100.0 | " in next(x for x in capsys.readouterr().out.splitlines() if x.startswith("| SIFT"))


def test_a_policy_is_fitted_to_the_steps_and_not_to_what_a_guard_made_of_them(calibrated, tmp_path, run_ttft):
    run = calibrated[0] / "lambda-0.1"
    guarded = guarded_copy(run, tmp_path / "guarded", 0.1)
    for folder, policy in ((run, "plain.json"), (guarded, "guarded.json")):
        assert run_ttft("calibrate", folder, "--out", tmp_path / policy) == 0
    assert (tmp_path / "guarded.json").read_bytes() == (tmp_path / "plain.json").read_bytes()


def test_guarded_and_unguarded_runs_are_not_compared(calibrated, tmp_path, run_ttft, capsys):
    guarded = guarded_copy(calibrated[0] / "lambda-0.1", tmp_path / "guarded", 0.7)
    assert run_ttft("calibrate", calibrated[0] / "lambda-0.1", guarded, "--out", tmp_path / "p.json") == 2
    assert "differ in guard" in capsys.readouterr().err


def test_the_rule_ends_selection_and_brings_its_lambda(calibrated, index_folder, run_ttft, tmp_path, capsys):
    policy = json.loads((calibrated[0] / "policy.json").read_text())
    # a policy of which the answer is known: only the first two steps promise something
    known = policy | {"intercept": 0.0, "min_gain": 0.5, "curves": {"n": {"x": [1, 2, 3], "y": [1, 1, 0]}}}
    write_json(tmp_path / "known.json", sealed(known))
    command = ("select", index_folder, "--prompt", sentences(1, 5), "-n", 4, "--no-texts", "--policy")
    assert run_ttft(*command, tmp_path / "known.json") == 0
    chosen = json.loads(capsys.readouterr().out)
    assert len(chosen["ids"]) == 2 and chosen["stopped_because"] == "gain"
    assert chosen["parameters"]["lambda_"] == policy["facts"]["lambda_"]
    assert run_ttft(*command, tmp_path / "known.json", "--lambda", 7) == 2
    assert "calibrated with lambda_" in capsys.readouterr().err


def test_a_rule_that_expects_nothing_leaves_the_base_model(
    calibrated, index_folder, many_prompts, lm_folder, run_ttft, tmp_path
):
    policy = json.loads((calibrated[0] / "policy.json").read_text())
    write_json(tmp_path / "no.json", sealed(policy | {"intercept": -1.0, "curves": {}, "min_gain": 0.0}))
    assert (
        run_ttft(*tuned(index_folder, many_prompts, tmp_path / "r", lm_folder, "--policy", tmp_path / "no.json")) == 0
    )
    for result in read_lines(tmp_path / "r" / "results.jsonl"):
        assert result["steps"] == [0] and result["ids"] == [] and result["kept"] == "base"
    assert run_ttft("report", tmp_path / "r") == 0


@pytest.mark.parametrize("with_policy", [False, True])
def test_a_budget_is_spread_and_never_exceeded(
    calibrated, index_folder, many_prompts, lm_folder, run_ttft, tmp_path, with_policy, capsys
):
    out, _ = calibrated
    more = ["--policy", out / "policy.json"] if with_policy else ["--lambda", 0.1]
    command = tuned(index_folder, many_prompts, tmp_path / "r", lm_folder, "--budget-steps", 17, *more)
    assert run_ttft(*command) == 0
    assert "of 17 steps assigned to 12 prompts" in capsys.readouterr().err
    results = read_lines(tmp_path / "r" / "results.jsonl")
    steps = [r["steps"][-1] for r in results]
    assert sum(steps) <= 17 and max(steps) <= 4 and len(set(steps)) > 1
    assert with_policy or sum(steps) == 17  # a lower variance is always worth a step
    selections = read_lines(tmp_path / "r" / "selections.jsonl")
    full = {s["prompt_id"]: s for s in read_lines(out / "lambda-0.1" / "selections.jsonl")}
    for selection in selections:
        if selection["parameters"]["lambda_"] == 0.1:
            whole = full[selection["prompt_id"]]
            assert selection["ids"] == whole["ids"][: len(selection["ids"])]
            assert selection["stopped_because"] == ("n" if len(selection["ids"]) == 4 else "budget")
    # killed half-way and run again: the same results
    (tmp_path / "r" / "results.jsonl").write_bytes(
        b"".join((tmp_path / "r" / "results.jsonl").read_bytes().splitlines(True)[:5])
    )
    assert run_ttft(*command) == 0
    again = {r["prompt_id"]: r["nats"] for r in read_lines(tmp_path / "r" / "results.jsonl")}
    assert again == {r["prompt_id"]: r["nats"] for r in results}


def test_another_policy_is_another_run(calibrated, index_folder, many_prompts, lm_folder, run_ttft, tmp_path, capsys):
    policy = json.loads((calibrated[0] / "policy.json").read_text())
    path = tmp_path / "p.json"
    write_json(path, sealed(policy))
    command = tuned(index_folder, many_prompts, tmp_path / "r", lm_folder, "--policy", path, "--max-prompts", 1)
    assert run_ttft(*command) == 0
    assert (
        len(yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())["policy"]) == 64
    )  # its content, not its place
    write_json(path, sealed(policy | {"min_gain": 9.0}))
    capsys.readouterr()
    assert run_ttft(*command) == 2
    assert "policy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give run folders"),
        (["RUN", "--index", "x"], "give run folders"),
        (["--index", "x"], "--prompts FILE"),
        (["nowhere"], "no such run folder"),
        (["RUN", "RUN2"], "differ in n"),
        (["RUN", "RUN3"], "same lambda"),
        (["NEAREST"], "a run with strategy 'nearest'"),
        (["FEW"], "/FEW: 5 prompts with a gradient step are too few"),
        (["--index", "x", "-p", "y", "-o", "z", "--set", "finetune={alpha: 1}"], "leave out alpha"),
        (["--index", "x", "-p", "y", "-o", "z", "--set", "finetune={lambda_: 1}"], "calibrate sets lambda_ itself"),
        (["--index", "x", "-p", "y", "-o", "z", "--set", "finetune={rnak: 1}"], 'did you mean "rank"'),
        (["--index", "x", "-p", "y", "-o", "z", "--lambda", "-1"], "lambdas"),
    ],
)
def test_wrong_use_is_named(calibrated, run_ttft, tmp_path, capsys, arguments, words):
    run, out = calibrated[0] / "lambda-0.1", tmp_path / "runs"
    for name, change in (("RUN2", {"n": 3, "lambda_": 0.7}), ("RUN3", {}), ("NEAREST", {"strategy": "nearest"})):
        (out / name).mkdir(parents=True)
        (out / name / "results.jsonl").write_bytes((run / "results.jsonl").read_bytes())
        config = yaml.safe_load((run / "config.yaml").read_text()) | change
        write_config(out / name, config)
    shutil.copytree(out / "RUN3", out / "FEW")
    lines = (run / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "FEW" / "results.jsonl").write_bytes(b"".join(lines[:5]))
    places = {"RUN": run} | {name: out / name for name in ("RUN2", "RUN3", "NEAREST", "FEW")}
    assert run_ttft("calibrate", *[places.get(a, a) for a in arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strategy", "nearest", "--alpha", "0.3"], "rules of SIFT"),
        (["--stop", "uncertainty"], "needs alpha"),
        (["--stop", "calibrated"], "needs a policy"),
        (["--alpha", "0.3", "--policy", "p.json"], "different stopping rules"),
        (["--stop", "never", "--alpha", "0.3"], "contradicts alpha"),
        (["--policy", "nowhere.json"], "no such policy"),
        (["--lambda", "much"], "lambda_"),
        (["--lambda", "0"], "lambda_"),
        (["--strategy", "nearest", "--explain"], "compares a strategy with nearest"),
    ],
)
def test_rules_that_do_not_fit_together_are_named(run_ttft, index_folder, capsys, arguments, words):
    assert run_ttft("select", index_folder, "--prompt", "river", *arguments) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_is_no_policy_is_named(run_ttft, index_folder, tmp_path, capsys):
    for text, words in (
        ("{", "is not JSON"),
        ("[]", "is not a policy"),
        ('{"schema": 2}', "is not a policy: intercept: is missing"),
        ('{"schema": 1, "curves": {}}', "is not a policy: schema is 1, this ttft reads 2"),
        ('{"schema": 2, "intercept": NaN}', "NaN is no number"),
    ):
        (tmp_path / "p.json").write_text(text)
        assert run_ttft("select", index_folder, "--prompt", "river", "--policy", tmp_path / "p.json") == 2
        error = capsys.readouterr().err
        assert words in error and "ttft calibrate" in error


def test_a_policy_in_which_a_number_was_changed_is_refused(calibrated, run_ttft, index_folder, tmp_path, capsys):
    policy = json.loads((calibrated[0] / "policy.json").read_text())
    write_json(tmp_path / "p.json", policy | {"intercept": policy["intercept"] + 0.1})
    assert run_ttft("select", index_folder, "--prompt", "river", "--policy", tmp_path / "p.json") == 2
    assert "is damaged: its hash does not match" in capsys.readouterr().err
