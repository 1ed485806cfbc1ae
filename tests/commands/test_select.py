"""ttft select at a terminal, in a pipe, and fed from standard input."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys

import pytest
from small import sentences


@pytest.mark.parametrize("width", [50, 80, 140])
def test_a_terminal_gets_a_table_that_fits(run_ttft, index_folder, capsys, monkeypatch, width):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    assert run_ttft("select", index_folder, "--prompt", sentences(1, 5) + "[bold]not markup[/bold]", "-n", 3) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert all(len(line) <= width for line in lines)
    shown = " ".join(" ".join(lines).split())
    for word in ("rank", "score", "sigma", "subset", "text", "3 picks", "all n selected"):
        assert word in shown, word
    ranks = [line.strip("│ ┃").split()[0] for line in lines if "│" in line]
    assert ranks == ["1", "2", "3"]


def test_a_pipe_gets_one_json_line_a_prompt(run_ttft, index_folder, prompts_file, capsys):
    assert run_ttft("select", index_folder, "--prompts", prompts_file, "-n", 2, "--strategy", "nearest") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["prompt_id"] for r in records] == ["p0", "p1", "p2", "p3"]
    for record in records:
        assert record["cosines"] == sorted(record["cosines"], reverse=True) and len(record["sigma"]) == 3
        assert record["stopped_because"] == "n" and record["parameters"]["lambda_"] == 0.01


def test_standard_input_is_the_prompt(run_ttft, index_folder, capsys, monkeypatch):
    for data, ids in (
        (b"river stone cloud\n", ["stdin"]),
        (b'{"text": "river"}\n{"text": "cloud", "id": "b"}\n', ["stdin:1", "b"]),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert run_ttft("select", index_folder, "-n", 1) == 0
        assert [json.loads(x)["prompt_id"] for x in capsys.readouterr().out.splitlines()] == ids
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"  \n")))
    assert run_ttft("select", index_folder, "-n", 1) == 2
    assert "the prompt is empty" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)
    assert run_ttft("select", index_folder, "-n", 1) == 2
    assert "standard input is closed" in capsys.readouterr().err


def test_long_prompts_are_seen_whole_unless_asked_otherwise(run_ttft, index_folder, capsys):
    prompt = sentences(3, 1) + "\n" * 5 + sentences(12, 2)
    picks = []
    for query in ("windows", "first"):
        assert run_ttft("select", index_folder, "--prompt", prompt, "-n", 5, "--set", f"query={query}") == 0
        picks.append(json.loads(capsys.readouterr().out))
    assert picks[0]["sigma"][0] > 1.5 and abs(picks[1]["sigma"][0] - 1) < 1e-3  # sums over windows, or one vector
    assert picks[0]["ids"] != picks[1]["ids"]


def test_a_reader_that_goes_away_is_no_error(index_folder, prompts_file):
    command = f"{sys.executable} -m ttft select {index_folder} --prompts {prompts_file} | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout) == 10 and "Traceback" not in done.stderr


@pytest.mark.parametrize("width", [60, 100])
def test_explain_shows_both_choices_in_a_terminal_of_any_width(run_ttft, index_folder, capsys, monkeypatch, width):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    assert run_ttft("select", index_folder, "--prompt", sentences(1, 5) + "[bold]", "-n", 4, "--explain") == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    shown = " ".join(" ".join(lines).split())
    for word in ("sift", "nearest", "mean pairwise cosine", "taken again", "near copies", "sigma curve", "█"):
        assert word in shown, word


def test_explain_in_a_pipe_agrees_with_the_strategies_alone(run_ttft, index_folder, prompts_file, capsys):
    def lines(*more) -> list[dict]:
        assert run_ttft("select", index_folder, "-p", prompts_file, "-n", 5, "--lambda", 0.1, *more) == 0
        return [json.loads(x) for x in capsys.readouterr().out.splitlines()]

    explained, sift, nearest = lines("--explain"), lines(), lines("--strategy", "nearest")
    for both, one, other in zip(explained, sift, nearest, strict=True):
        assert both["prompt_id"] == one["prompt_id"]
        assert both["sift"]["ids"] == one["ids"] and both["nearest"]["ids"] == other["ids"]
        assert both["sift"]["sigma"] == one["sigma"] and both["nearest"]["sigma"] == other["sigma"]
        assert both["sift"]["distinct_texts"] == len(set(one["texts"])) and both["sift"]["mean_cosine"] <= 1


def test_the_curve_is_drawn_from_its_first_value_down():
    from ttft.commands.texts import sparkline

    assert sparkline([1.0, 0.75, 0.5, 0.0], 0.0) == "█▆▅▁"
    assert sparkline([1.0, 1.0], 1.0) == "██" and len(sparkline([1.0 - i / 60 for i in range(51)], 0.1)) <= 24


def test_all_of_the_index_may_be_the_pool(run_ttft, index_folder, capsys):
    command = ("select", index_folder, "--prompt", sentences(1, 5), "-n", 5, "--no-texts", "--lambda", 0.1)
    for strategy in ("sift", "nearest"):
        found = []
        for k in ("all", 10**6):
            assert run_ttft(*command, "-k", k, "--strategy", strategy) == 0
            found.append(json.loads(capsys.readouterr().out)["ids"])
        assert found[0] == found[1]
    for wrong in (("-k", "all", "--strategy", "mmr"), ("-k", "0"), ("-k", "some")):
        assert run_ttft(*command, *wrong) == 2
        assert "k" in capsys.readouterr().err
