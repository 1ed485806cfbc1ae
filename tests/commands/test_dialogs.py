"""select, finetune-eval and generate on prompts that are dialogs, with --rewrite."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from small import sentences

from ttft import run_dir
from ttft.state import read_lines, read_yaml

DIALOGS = [
    {"id": "a", "turns": ["river stone cloud?", "engine market.", "and the lantern?"], "meta": {"pile_set_name": "x"}},
    {"id": "b", "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "copper  winter"}]},
    {"id": "c", "text": sentences(1, 7)},
]


@pytest.fixture
def prompts(tmp_path) -> Path:
    path = tmp_path / "dialogs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in DIALOGS))
    return path


def test_select_shows_the_query(run_ttft, index_folder, prompts, capsys, monkeypatch) -> None:
    command = ("select", index_folder, "-p", prompts, "-n", 2, "--rewrite", "user-turns")
    assert run_ttft(*command) == 0
    a, b, c = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (a["query"], a["how"]) == ("river stone cloud? and the lantern?", "rule")
    assert (b["query"], b["how"]) == ("copper  winter", "unchanged") and "query" not in c
    for text, record in ((a["query"], a), (b["query"], b), (DIALOGS[2]["text"], c)):
        assert run_ttft("select", index_folder, "--prompt", text, "-n", 2) == 0
        assert json.loads(capsys.readouterr().out)["ids"] == record["ids"]
    assert run_ttft(*command, "--explain") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["sift"]["ids"] == a["ids"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "140")
    assert run_ttft(*command) == 0
    assert "and the lantern? -> river stone cloud? and the lantern? (rule)" in capsys.readouterr().out


def test_without_rewrite_the_last_turn_is_searched_for_and_it_is_said(run_ttft, index_folder, prompts, capsys) -> None:
    assert run_ttft("select", index_folder, "-p", prompts, "-n", 1) == 0
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[0])["query"] == "and the lantern?"
    assert "--rewrite MODEL" in said.err


def test_finetune_eval_records_queries_and_resumes(
    run_ttft, index_folder, lm_folder, prompts, tmp_path, capsys, monkeypatch
) -> None:
    out = tmp_path / "run"
    command = (
        "finetune-eval", index_folder, "-p", prompts, "-o", out, "--model", lm_folder, "-n", 2, "--dtype", "float32",
        "--rewrite", "user-turns",
    )  # fmt: skip
    assert run_ttft(*command) == 0, capsys.readouterr().err
    rewrites = read_lines(out / run_dir.REWRITES)
    assert [(r["prompt_id"], r["queries"], r["how"]) for r in rewrites] == [
        ("a", ["river stone cloud? and the lantern?"], "rule"), ("b", ["copper  winter"], "unchanged"),
    ]  # fmt: skip
    selections = {s["prompt_id"]: s for s in read_lines(out / run_dir.SELECTIONS)}
    assert selections["a"]["parameters"]["queries"] == rewrites[0]["queries"]
    assert "queries" not in selections["c"]["parameters"]
    assert read_yaml(out / run_dir.CONFIG)["rewrite"] == "user-turns"
    results = (out / run_dir.RESULTS).read_bytes()

    (out / run_dir.RESULTS).write_bytes(results[: results.index(b"\n") + 1])  # killed after the first result
    (out / run_dir.REWRITES).write_bytes((out / run_dir.REWRITES).read_bytes().split(b"\n")[0] + b"\n{")
    assert run_ttft(*command) == 0
    assert read_lines(out / run_dir.REWRITES) == rewrites
    again = {r["prompt_id"]: r for r in read_lines(out / run_dir.RESULTS)}
    assert len(again) == 3 and all(
        again[r["prompt_id"]]["nats"] == r["nats"] for r in map(json.loads, results.splitlines())
    )
    assert run_ttft("report", "--verify", out) == 0

    from ttft.q2d import rewrites as module

    monkeypatch.setitem(module.RULES, "user-turns", lambda turns: pytest.fail("all queries are recorded"))
    (out / run_dir.RESULTS).write_bytes(b"")
    assert run_ttft(*command) == 0
    prompts.write_text(prompts.read_text().replace("lantern", "signal"))
    (out / run_dir.RESULTS).write_bytes(b"")
    capsys.readouterr()
    assert run_ttft(*command) == 2
    assert "prompt a differs from the dialog" in capsys.readouterr().err


def test_a_budget_and_several_queries(run_ttft, index_folder, lm_folder, prompts, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    command = ("finetune-eval", index_folder, "-p", prompts, "-o", out, "--model", lm_folder, "--dtype", "float32")
    assert run_ttft(*command, "--budget-steps", 3, "-n", 2, "--rewrite", "history", "--rewrites", 2) == 0
    assert sum(r["steps"][-1] for r in read_lines(out / run_dir.RESULTS)) == 3
    assert run_ttft(*command, "--rewrites", 2) == 2
    assert run_ttft(*command[:4], "-o", tmp_path / "other", "--score", "suffix") == 2
    assert "is a dialog" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_a_run_without_dialogs_has_nothing_of_them(run_ttft, index_folder, lm_folder, prompts_file, tmp_path) -> None:
    out = tmp_path / "run"
    assert run_ttft("finetune-eval", index_folder, "-p", prompts_file, "-o", out, "--model", lm_folder, "-n", 1) == 0
    assert not (out / run_dir.REWRITES).exists()
    assert not {"rewrite", "rewrites"} & set(read_yaml(out / run_dir.CONFIG))


def test_generate_answers_dialogs(run_ttft, index_folder, lm_folder, prompts, capsys) -> None:
    command = (
        "generate", index_folder, "-p", prompts, "--model", lm_folder, "-n", 1, "--max-new-tokens", 2, "--json",
        "--rewrite", "last-turn",
    )  # fmt: skip
    assert run_ttft(*command) == 0
    said = capsys.readouterr()
    answers = {r["prompt_id"]: r for r in map(json.loads, said.out.splitlines())}
    assert answers["a"]["query"] == "and the lantern?" and "query" not in answers["c"]
    assert "a: searched for 'and the lantern?'" in said.err


def test_bad_dialogs_name_file_and_line(run_ttft, index_folder, tmp_path, capsys) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "river"}\n{"turns": ["a", "b"]}\n')
    assert run_ttft("select", index_folder, "-p", path) == 2
    assert "bad.jsonl:2: the last turn is the assistant's" in capsys.readouterr().err
