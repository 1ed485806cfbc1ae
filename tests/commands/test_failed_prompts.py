"""Prompts that fail or cannot be scored do not stop a run, and are told, whatever the method."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from small import sentences
from test_finetune_eval import arguments, content

from ttft.tuner import scoring

METHODS = ("lora", "full", "in-context")


@pytest.fixture
def failing(monkeypatch):
    """failing(size, only): from now on scores of texts of this many bytes are NaN; only: of these calls, by number."""

    def make(size: int, only=None) -> None:
        honest, calls = scoring.score, []

        def score(model, encoded, **options):
            made = honest(model, encoded, **options)
            if encoded.bytes != size:
                return made
            calls.append(encoded)
            return replace(made, nats=math.nan) if only is None or len(calls) - 1 in only else made

        monkeypatch.setattr(scoring, "score", score)

    return make


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    records = [{"id": f"p{i}", "text": sentences(2, 1000 + i) + "." * 50 * i} for i in range(3)]
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path, [len(r["text"].encode()) for r in records]


@pytest.mark.parametrize("method", METHODS)
def test_without_a_base_score_a_prompt_is_recorded_once_and_left_out(
    method, failing, prompts, tmp_path, run_ttft, index_folder, lm_folder, capsys
):
    path, sizes = prompts
    assert len(set(sizes)) == 3
    command = arguments(index_folder, path, tmp_path / "r", lm_folder, "--method", method)
    failing(sizes[1])
    assert run_ttft(*command) == 0
    output = capsys.readouterr()
    assert "prompt p1 failed, so the base model answers and is left out" in output.err and "nan" not in output.out
    by_id = {r["prompt_id"]: r for r in content(tmp_path / "r")}
    failed = by_id["p1"]
    assert (failed["steps"], failed["nats"], failed["kept"]) == ([], [], "base")
    assert failed["failed"] == "the base score is not a number" and failed["bytes"] == sizes[1]
    assert all(by_id[key]["kept"] == "tuned" and not by_id[key]["failed"] for key in ("p0", "p2"))
    before = (tmp_path / "r" / "results.jsonl").read_bytes()
    assert run_ttft(*command) == 0
    assert "(0 new)" in capsys.readouterr().out and (tmp_path / "r" / "results.jsonl").read_bytes() == before
    assert run_ttft("report", tmp_path / "r", "--out", tmp_path / "r.html") == 0
    assert "1 prompt failed (no finite base score) and is left out" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["groups"][0]["prompts"] == 2


@pytest.mark.parametrize("method", METHODS)
def test_a_run_in_which_every_prompt_fails_ends_and_says_so(
    method, failing, prompts, tmp_path, run_ttft, index_folder, lm_folder, capsys
):
    path, sizes = prompts
    failing(sizes[0])
    command = arguments(index_folder, path, tmp_path / "r", lm_folder, "--method", method, "--max-prompts", 1)
    assert run_ttft(*command) == 0
    assert "no prompt with a finite score" in capsys.readouterr().out
    assert run_ttft("report", tmp_path / "r") == 2
    assert "all 1 prompts failed" in capsys.readouterr().err


@pytest.mark.parametrize("method", METHODS)
def test_without_a_later_score_the_base_answers(
    method, failing, prompts, tmp_path, run_ttft, index_folder, lm_folder, capsys
):
    path, sizes = prompts
    failing(sizes[1], only={1})
    assert run_ttft(*arguments(index_folder, path, tmp_path / "r", lm_folder, "--method", method)) == 0
    failed = {r["prompt_id"]: r for r in content(tmp_path / "r")}["p1"]
    assert failed["failed"] == "the score after step 1 is not a number" and failed["kept"] == "base"
    assert failed["steps"][0] == 0 and 1 not in failed["steps"]
    assert run_ttft("report", tmp_path / "r", "--out", tmp_path / "r.html") == 0
    assert "the base model answers 1 of 3 prompts" in capsys.readouterr().out


def test_a_guard_whose_known_text_has_no_finite_score_keeps_the_base(
    failing, prompts, tmp_path, run_ttft, index_folder, lm_folder
):
    from ttft.evaluation import split_prompt
    from ttft.tuner import guard

    path, _ = prompts
    text = json.loads(path.read_text().splitlines()[1])["text"]
    known = split_prompt(split_prompt(text)[0], 1 - guard.Guard().part)[1]
    assert len(known.encode()) != len(split_prompt(text)[1].encode())
    failing(len(known.encode()), only={0, 1})
    command = arguments(index_folder, path, tmp_path / "r", lm_folder, "--score", "suffix", "--guard")
    assert run_ttft(*command) == 0
    results = content(tmp_path / "r")
    assert any(None in r["guard"]["known"].values() for r in results)
    assert all(r["kept"] == "base" for r in results if None in r["guard"]["known"].values())
    assert run_ttft(*command) == 0 and run_ttft("report", tmp_path / "r", "--out", tmp_path / "r.html") == 0


def test_a_prompt_too_short_for_a_suffix_is_skipped_and_told(
    prompts, tmp_path, run_ttft, index_folder, lm_folder, capsys
):
    path, _ = prompts
    with open(path, "a") as out:
        out.write('{"id": "short", "text": "x"}\n{"id": "shorter", "text": "y"}\n')
    command = arguments(index_folder, path, tmp_path / "r", lm_folder, "--score", "suffix")
    assert run_ttft(*command) == 0
    output = capsys.readouterr()
    assert (
        "2 prompts skipped, too short to be scored: short, shorter" in output.err and "3 prompts (3 new)" in output.out
    )
    assert [r["prompt_id"] for r in content(tmp_path / "r")] == ["p0", "p1", "p2"]
    assert run_ttft(*command) == 0
    assert "3 prompts (0 new)" in capsys.readouterr().out
    assert run_ttft(*command[:5], tmp_path / "b", *command[6:], "--budget-steps", 5) == 0
    assert "assigned to 3 prompts" in capsys.readouterr().err
    path.write_text('{"id": "short", "text": "x"}\n{"id": "shorter", "text": "y"}\n')
    assert run_ttft(*command[:5], tmp_path / "e", *command[6:]) == 2
    assert "prompt short is too short" in capsys.readouterr().err and not (tmp_path / "e" / "results.jsonl").exists()
