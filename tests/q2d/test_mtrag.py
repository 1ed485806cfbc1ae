"""MTRAG-UN as it is in the shared corpora; a wrong record of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from q2d.corpora import corpus

from ttft.errors import CorpusError
from ttft.q2d.mtrag import QRELS, REFERENCE, collection_lines, mtrag

TASK = {
    "conversation_id": "c", "task_id": "c<::>2", "turn": "2", "Collection": "clapnq", "Multi-Turn": ["Follow-up"],
    "contexts": [{"document_id": "d", "text": "A passage."}],
    "input": [{"speaker": "user", "text": "One?"}, {"speaker": "agent", "text": "Yes."},
              {"speaker": "user", "text": "And two?"}],
}  # fmt: skip


def test_the_counts() -> None:
    data = mtrag(corpus("mtrag"))
    assert (len(data.passages), len(data.tasks), len(data.judged)) == (560, 273, 169)
    assert sum(len(gains) for gains in data.judged.values()) == 181 + 251
    kinds = Counter(data.tasks[i].kind for i in data.judged)
    assert kinds == {"follow-up": 126, "clarification": 29, "standalone": 14}
    assert all(data.tasks[i].number == 1 for i in data.among("standalone"))
    assert len(data.among("all")) == 169
    assert all(task.turns[-1].role == "user" for task in data.tasks.values())


def _folder(tmp_path: Path, task: dict, judged: str = "c<::>2\td\t1") -> Path:
    (tmp_path / REFERENCE).write_text(json.dumps(task) + "\n")
    (tmp_path / QRELS[0]).write_text(f"query-id\tcorpus-id\tscore\n{judged}\n")
    (tmp_path / QRELS[1]).write_text("query-id\tcorpus-id\tscore\nc<::>2\td\t1\n")
    return tmp_path


def test_a_task(tmp_path: Path) -> None:
    data = mtrag(_folder(tmp_path, TASK))
    (task,) = data.tasks.values()
    assert (task.kind, task.number, [turn.role for turn in task.turns]) == (
        "follow-up", 2, ["user", "assistant", "user"],
    )  # fmt: skip
    assert data.conversations == {"c<::>2": "c"}
    lines = collection_lines(data.passages, [("x", "Line\nbreak")]).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"_id": "d", "text": "A passage."}, {"_id": "x", "text": "Line\nbreak"}
    ]  # fmt: skip


def test_wrong_records(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=":1 is not a task of MTRAG: KeyError"):
        mtrag(_folder(tmp_path, TASK | {"Multi-Turn": ["Other"]}))
    with pytest.raises(CorpusError, match="judges 'c<::>2'"):
        mtrag(_folder(tmp_path, TASK, "c<::>2\tunknown\t1"))
