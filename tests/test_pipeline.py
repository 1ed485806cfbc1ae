"""The whole line by its four commands with no further option, on real text: a few modules of the standard library."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pytest
from small import ttft


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("line")
    library = Path(sysconfig.get_paths()["stdlib"])
    (folder / "corpus").mkdir()
    for name in ("queue.py", "sched.py", "bisect.py", "heapq.py", "cmd.py"):
        (folder / "corpus" / name).write_bytes((library / name).read_bytes())
    text = (library / "shelve.py").read_text()
    with open(folder / "prompts.jsonl", "w") as out:
        for i in range(2):
            out.write(json.dumps({"id": f"shelve-{i}", "text": text[4000 + 500 * i : 4500 + 500 * i]}) + "\n")
    return folder


def test_index_select_finetune_eval_report(work, capsys):
    assert ttft("index", work / "corpus", "--out", work / "index") == 0
    capsys.readouterr()
    assert ttft("select", work / "index", "--prompt", "def merge(one, two):", "-n", 3) == 0
    selection = json.loads(capsys.readouterr().out)
    assert selection["strategy"] == "sift" and len(selection["ids"]) == 3
    for name, more in (("nearest", ("--strategy", "nearest")), ("sift", ())):
        assert (
            ttft(
                "finetune-eval",
                work / "index",
                "--prompts",
                work / "prompts.jsonl",
                "--out",
                work / name,
                "-n",
                5,
                *more,
            )
            == 0
        )
    capsys.readouterr()
    assert ttft("report", work / "nearest", work / "sift") == 0
    said = capsys.readouterr().out
    assert "nearest" in said and "SIFT" in said and said.rstrip().endswith("report.html")
    page = (work / "report.html").read_text()
    assert "<svg" in page and "shelve-0" in page
    for name in ("nearest", "sift"):
        results = [json.loads(x) for x in (work / name / "results.jsonl").read_text().splitlines()]
        assert sum(r["nats"][-1] for r in results) < sum(r["nats"][0] for r in results)  # it helps
