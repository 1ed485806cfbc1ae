"""ttft q2d rewrite: a file, standard input, turns given by hand."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ttft.q2d.records import alternating

sys.path.insert(0, str(Path(__file__).parent))
from query_models import QUERY, TALKS, query_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return query_model(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def dialogs(tmp_path) -> Path:
    records = [{"id": f"d{i}", "turns": [vars_of(turn) for turn in turns]} for i, turns in enumerate(TALKS)]
    records.append({"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": " Grüße\n"}]})
    path = tmp_path / "dialogs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def vars_of(turn) -> dict:
    return {"role": turn.role, "text": turn.text}


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_file_gives_a_line_a_dialog(run_ttft, model, dialogs, capsys) -> None:
    command = ("q2d", "rewrite", dialogs, "--model", model, "--dtype", "float32")
    assert run_ttft(*command) == 0
    found = lines(capsys)
    assert [one["id"] for one in found] == ["d0", "d1", f"{dialogs}:3"]
    assert [one["query"] for one in found] == [QUERY, QUERY, " Grüße\n"]
    assert [one["how"] for one in found] == ["model", "model", "unchanged"]
    assert set(found[0]) == {"id", "query", "queries", "search", "how", "note"}
    assert run_ttft(*command, "-n", 3, "--batch", 1) == 0
    assert lines(capsys)[0]["queries"][0] == QUERY


def test_out_is_written_whole_or_not_at_all(run_ttft, dialogs, tmp_path, capsys) -> None:
    out = tmp_path / "queries.jsonl"
    assert run_ttft("q2d", "rewrite", dialogs, "-m", "user-turns", "--out", out) == 0
    assert json.loads(out.read_text().splitlines()[0])["query"] == "tell me of the river which one?"
    assert "3 dialogs" in capsys.readouterr().out
    out.unlink()
    dialogs.write_text(dialogs.read_text() + '{"turns": ["a", "b"]}\n')
    assert run_ttft("q2d", "rewrite", dialogs, "-m", "user-turns", "--out", out) == 2
    said = capsys.readouterr()
    assert f"{dialogs}:4: the last turn is the assistant's" in said.err and not said.out and not out.exists()


def test_turns_by_hand(run_ttft, capsys) -> None:
    by_hand = ("q2d", "rewrite", "-m", "history", "-t", "Who was Ada?", "-t", "A mathematician.", "-t", "When?")
    assert run_ttft(*by_hand) == 0
    assert lines(capsys)[0]["query"] == "Who was Ada? A mathematician. When?"


def test_standard_input_is_answered_line_by_line(dialogs) -> None:
    """The answer to a line comes before the next line is there."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "ttft", "q2d", "rewrite", "-", "-m", "last-turn"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True, env=environment) as process:
        for line in dialogs.read_text().splitlines():
            process.stdin.write(line + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["search"]
        process.stdin.write('{"turns": 5}\n')
        process.stdin.close()
        assert process.stdout.read() == "" and "stdin:4" in process.stderr.read()
        assert process.wait(60) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no dialog"),
        ('{"text": "a"}', "there is no 'turns' or 'messages'"),
        ('{"turns": [{"role": "user", "text": "a"}, {"role": "user", "text": "b"}]}', "both the user's"),
        ("nonsense", "is not JSON"),
    ],
)
def test_bad_input_is_one_message(run_ttft, tmp_path, capsys, monkeypatch, text: str, words: str) -> None:
    (tmp_path / "d.jsonl").write_text(text)
    for source in (tmp_path / "d.jsonl", "-"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert run_ttft("q2d", "rewrite", source, "-m", "last-turn") == 2
        said = capsys.readouterr()
        assert words in said.err and said.out == "" and "Traceback" not in said.err


def test_options_that_contradict(run_ttft, dialogs, tmp_path, capsys) -> None:
    assert run_ttft("q2d", "rewrite", dialogs, "-m", "last-turn", "-t", "a") == 2
    assert run_ttft("q2d", "rewrite", "-m", "last-turn") == 2
    assert run_ttft("q2d", "rewrite", dialogs, "-m", tmp_path / "none") == 2
    assert run_ttft("q2d", "rewrite", tmp_path / "none.jsonl", "-m", "last-turn") == 2
    assert "none.jsonl is missing" in capsys.readouterr().err


def test_a_refused_query_is_told(run_ttft, tmp_path, capsys) -> None:
    model = query_model(tmp_path, query=None)
    (tmp_path / "d.jsonl").write_text(json.dumps({"turns": [vars_of(t) for t in alternating(["a", "b", "why c?"])]}))
    assert run_ttft("q2d", "rewrite", tmp_path / "d.jsonl", "-m", model) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record["query"] == "why c?" and record["how"] == "last turn" and "refused" in record["note"]
    assert "1 dialog of 1 got the last turn" in said.err
