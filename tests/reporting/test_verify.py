"""ttft report --verify and ttft index verify of a run: everything that is damaged, a line each, and exit code 2."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def run(write_run, fake):
    return write_run("one", [fake("a", 1234, 900), fake("b", 10, 9), fake("c", 10, 9)])


@pytest.mark.parametrize("command", [("report", "--verify"), ("index", "verify")], ids=" ".join)
def test_an_intact_run_is_said_to_be_so_and_nothing_is_written(run, run_ttft, capsys, command):
    before = sorted(run.iterdir())
    assert run_ttft(*command, run) == 0
    assert capsys.readouterr().out == f"{run} is intact\n" and sorted(run.iterdir()) == before


@pytest.mark.parametrize("command", [("report", "--verify"), ("index", "verify")], ids=" ".join)
def test_every_damage_is_a_line(run, run_ttft, capsys, command):
    results, selections = run / "results.jsonl", run / "selections.jsonl"
    lines = results.read_text().splitlines(True)
    results.write_text(lines[0].replace("1234", "1224") + lines[1] + lines[1] + lines[2] + '{"cut')
    selections.write_text("[]\n" + "".join(selections.read_text().splitlines(True)[1:]))
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("n: 20", "n: 21"))
    (run / "provenance.json").unlink()
    assert run_ttft(*command, run) == 2
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        f"{results}:1 is damaged: its content does not match its checksum",
        f"{results}:3 repeats 'b'",
        f"{selections}:1 is not a record",
        f"{run / 'config.yaml'} is damaged: its hash does not match",
        f"{run / 'provenance.json'} is missing",
    ]
    assert "5 problems found" in output.err


def test_files_that_do_not_agree_or_are_missing(write_run, fake, run_ttft, capsys):
    other = write_run("other", [fake("a", 10, 9, ids=[7, 8]), fake("b", 10, 9)])
    path = other / "selections.jsonl"
    path.write_text(path.read_text().splitlines(True)[0])
    assert run_ttft("report", "--verify", other) == 2
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{other / 'results.jsonl'}: the texts of 'a' are not those in selections.jsonl",
        f"{path} has no selection for 'b', which is in results.jsonl",
    ]
    path.unlink()
    (other / "results.jsonl").unlink()
    assert run_ttft("report", "--verify", other) == 2
    assert capsys.readouterr().out.splitlines() == [f"{other / 'results.jsonl'} is missing", f"{path} is missing"]


def test_a_folder_of_runs_and_a_folder_of_none(run, write_run, fake, tmp_path, run_ttft, capsys):
    write_run("two", [fake("a", 10, 9)])
    assert run_ttft("report", "--verify", run.parent) == 0
    assert capsys.readouterr().out == f"{run} is intact\n{run.parent / 'two'} is intact\n"
    (tmp_path / "empty").mkdir()
    assert run_ttft("report", "--verify", tmp_path / "empty") == 2
    assert "is not a run" in capsys.readouterr().err


def test_lines_of_an_earlier_version_are_said_to_be_so(run, run_ttft, capsys):
    path = run / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "check"}) + "\n" for line in lines))
    assert run_ttft("report", "--verify", run) == 2
    assert capsys.readouterr().out.count("written by an earlier version of ttft") == 3
