"""ttft finetune-eval --job: the jobs together are the one run, and nothing else is let into their folders."""

from __future__ import annotations

import json

import pytest
from test_finetune_eval import arguments, assert_same, content

TOTAL = 3


@pytest.fixture
def both(tmp_path, run_ttft, index_folder, prompts_file, lm_folder):
    """both(*options) -> the folder of the one run, the folder of its three jobs."""

    def run(*more):
        whole, jobs = tmp_path / "whole", tmp_path / "jobs"
        assert run_ttft(*arguments(index_folder, prompts_file, whole, lm_folder, *more)) == 0
        for i in range(1, TOTAL + 1):
            out = jobs / f"job-{i}-of-{TOTAL}"
            command = arguments(index_folder, prompts_file, out, lm_folder, "--job", f"{i}/{TOTAL}", *more)
            assert run_ttft(*command) == 0
        return whole, jobs

    return run


def by_prompt(records: list[dict]) -> list[dict]:
    return sorted(records, key=lambda record: record["prompt_id"])


@pytest.mark.parametrize(
    "more",
    [
        ("--method", "lora"),
        ("--method", "full"),
        ("--strategy", "uniform", "--score", "suffix", "--guard"),
        ("--budget-steps", 6),
    ],
    ids=lambda more: more[0].strip("-"),
)
def test_the_jobs_together_are_the_one_run(both, run_ttft, capsys, tmp_path, more):
    whole, jobs = both(*map(str, more))
    parts = [content(folder) for folder in sorted(jobs.iterdir())]
    assert [sorted(r["prompt_id"] for r in part) for part in parts] == [["p0", "p3"], ["p1"], ["p2"]]
    assert_same(by_prompt([r for part in parts for r in part]), by_prompt(content(whole)))
    if "--budget-steps" in more:
        assert sum(len(r["ids"]) for part in parts for r in part) == 6
    capsys.readouterr()
    assert run_ttft("report", whole, jobs, "--out", tmp_path / "r.html") == 0
    output = capsys.readouterr().out
    assert "WARNING" not in output
    (group,) = json.loads((tmp_path / "r.json").read_text())["groups"]
    one, joined = group["rows"][1:]
    assert {one["label"], joined["label"]} == {"whole", "jobs"} and joined["prompts"] == 4
    assert joined["bpb"] == pytest.approx(one["bpb"], rel=1e-6)
    assert len(group["starts"]["jobs"]) == TOTAL and group["starts"]["jobs"][1]["job"] == "2/3"


def test_a_folder_goes_on_as_the_job_it_was_begun_as(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys):
    command = arguments(index_folder, prompts_file, tmp_path / "r", lm_folder)
    assert run_ttft(*command, "--job", "1/4") == 0
    before = (tmp_path / "r" / "results.jsonl").read_bytes()
    capsys.readouterr()
    assert run_ttft(*command, "--job", "2/4") == 2
    assert "job is '1/4', asked for '2/4'" in capsys.readouterr().err
    assert run_ttft(*command) == 2
    assert "job is '1/4', asked for None" in capsys.readouterr().err
    assert run_ttft(*command, "--job", "1/4") == 0
    assert "1 prompt (0 new)" in capsys.readouterr().out
    assert (tmp_path / "r" / "results.jsonl").read_bytes() == before


def test_more_jobs_than_prompts(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys):
    command = arguments(index_folder, prompts_file, tmp_path / "r", lm_folder)
    assert run_ttft(*command, "--job", "1/5") == 2
    assert "4 prompts cannot be split into 5 jobs" in capsys.readouterr().err
    assert run_ttft(*command, "--max-prompts", 2, "--job", "1/3") == 2
    assert "2 prompts cannot be split into 3 jobs" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_jobs_can_save_adapters_into_one_folder(tmp_path, run_ttft, index_folder, prompts_file, lm_folder):
    for i in (1, 2):
        command = arguments(index_folder, prompts_file, tmp_path / f"r{i}", lm_folder, "--job", f"{i}/4")
        assert run_ttft(*command, "--save-adapters", tmp_path / "a") == 0
    found = sorted(p.parent.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("*.safetensors"))
    assert found == ["job-1-of-4/p0", "job-2-of-4/p1"]
