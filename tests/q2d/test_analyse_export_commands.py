"""ttft q2d analyse and export on generated dialogs, from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small import write_lines

from ttft.q2d.llm import Completion
from ttft.q2d.turing import Item, ask_judge

MAKER = {"model": "rules", "prompt_sha256": "", "seed": 0, "temperature": 0.0, "sample": 0}


def _files(tmp_path: Path) -> tuple[Path, Path]:
    dialogs, people = tmp_path / "dialogs.jsonl", tmp_path / "people.jsonl"
    turns = lambda *texts: [  # noqa: E731
        {"role": ("user", "assistant")[i % 2], "text": text} for i, text in enumerate(texts)
    ]
    write_lines(dialogs, [
        {"id": f"d{i}", "question_id": f"q{i // 2}", "query": f"When was house {i // 2} built?", "generator": MAKER,
         "turns": turns(f"=House {i // 2}?", "A house.", "When was it built?"), "source": "musique",
         "verdict": "drop" if i == 9 else "keep", "reasons": ["leak"] if i == 9 else [], "answers": ["1817"]}
        for i in range(10)
    ])  # fmt: skip
    write_lines(people, [
        {"id": f"h{i}", "target": "Who lives in Bath?", "turns": turns("Bath?", "Yes.", f"Who lives there {i}?")}
        for i in range(4)
    ])  # fmt: skip
    return dialogs, people


def test_analyse(tmp_path: Path, run_ttft, capsys) -> None:
    dialogs, people = _files(tmp_path)
    sheet, out = tmp_path / "sheet.csv", tmp_path / "numbers.json"
    assert run_ttft("q2d", "analyse", dialogs) == 0
    alone = json.loads(capsys.readouterr().out)
    assert (alone["generated"]["dialogs"], alone["generated"]["leaks"], alone["human"]["deciles"][0]) == (9, 0, 0.43)
    command = ("q2d", "analyse", dialogs, "--against", people, "--sheet", sheet, "--items", 3, "--out", out)
    assert run_ttft(*command) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found == json.loads(out.read_text())
    assert found["generated"]["compared"] == found["human"]["compared"] == found["human"]["dialogs"] == 4
    assert "do not look at" in said.err
    before = sheet.read_bytes()
    assert run_ttft(*command) == 0
    assert sheet.read_bytes() == before

    key = json.loads((tmp_path / "sheet.key.json").read_text())["items"]
    rows = list(csv.DictReader(sheet.open(newline="")))
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["item", "dialog", "guess"])
        writer.writeheader()
        writer.writerows(row | {"guess": key[row["item"]]["origin"]} for row in rows)
    capsys.readouterr()
    assert run_ttft("q2d", "analyse", "--score", sheet) == 0
    people_found = json.loads(capsys.readouterr().out)["people"]
    assert (people_found["right"], people_found["guessed"], people_found["high"]) == (6, 6, 1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [([], "give the dialogs"), (["--score", "no.csv"], "no.key.json"), (["d", "--sheet", "s.csv"], "--against")],
)
def test_wrong_options(run_ttft, capsys, options: list[str], said: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_ttft("q2d", "analyse", *options) == 2
    assert said in capsys.readouterr().err


def test_a_judge_that_answers_in_any_order() -> None:
    class Judge:
        def complete(self, requests):
            for place in reversed(range(len(requests))):
                yield place, Completion(("Human", "machine.", "I cannot say", "")[place])

    items = [Item(f"{i:04d}", f"User: {i}") for i in range(4)]
    assert ask_judge(Judge(), items) == {"0000": "human", "0001": "machine"}  # type: ignore[arg-type]


def test_a_judge_needs_its_model_and_no_key_is_shown(tmp_path: Path, run_ttft, capsys, monkeypatch) -> None:
    dialogs, people = _files(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret")
    command = ("q2d", "analyse", dialogs, "--against", people, "--judge", "http://127.0.0.1:9/v1")
    assert run_ttft(*command) == 2
    said = capsys.readouterr()
    assert "--judge-model" in said.err
    assert "sk-verysecret" not in said.err + said.out


@pytest.mark.parametrize("form", ["jsonl", "parquet", "datasets"])
def test_export(tmp_path: Path, run_ttft, capsys, form: str) -> None:
    dialogs, _ = _files(tmp_path)
    out = tmp_path / "set"
    assert run_ttft("q2d", "export", dialogs, "--out", out, "--format", form) == 0
    assert "9 dialogs (train " in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert "dropped, among other reasons: leak | 1" in card
    assert run_ttft("q2d", "export", dialogs, "--out", out) == 2
    if form == "jsonl":
        where: dict[str, set[str]] = {}
        for path in (out / "data").iterdir():
            for line in path.read_text().splitlines():
                where.setdefault(json.loads(line)["question_id"], set()).add(path.stem)
        assert len(where) == 5
        assert all(len(splits) == 1 for splits in where.values())


def test_a_missing_file(tmp_path: Path, run_ttft, capsys) -> None:
    assert run_ttft("q2d", "export", tmp_path / "none.jsonl", "--out", tmp_path / "set") == 2
    assert "none.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
