"""MTRAG-UN: human conversations with relevance judgements (IBM/mt-rag-benchmark, Apache-2.0), as a test of retrieval.

Rosenthal et al., Findings of ACL 2026 (arXiv 2602.23184); MTRAG: Katsis et al., TACL 2025.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ttft.errors import CorpusError
from ttft.files import read_bytes
from ttft.q2d.records import Turn
from ttft.q2d.retrieval import LARGEST, Judgements, read_qrels
from ttft.state import parse_json

REFERENCE = "mtragun_reference_clapnq_cloud.jsonl"
QRELS = ("mtragun_qrels_clapnq.tsv", "mtragun_qrels_cloud.tsv")
Kind = Literal["follow-up", "clarification", "standalone"]
KINDS: dict[str, Kind] = {"Follow-up": "follow-up", "Clarification": "clarification", "N/A": "standalone"}
"""Of the field "Multi-Turn": "N/A" are the turns that need nothing of what was said before, most of them first ones."""
ROLES = {"user": "user", "agent": "assistant"}


@dataclass(frozen=True, slots=True)
class Task:
    """A turn to answer. turns: up to and with it;  number: of the turn, from 1;  collection: "clapnq", "ibmcloud"."""

    id: str
    conversation: str
    turns: tuple[Turn, ...]
    kind: Kind
    number: int
    collection: str


@dataclass(frozen=True)
class Mtrag:
    """passages: id -> text of the reference passages;  tasks: by id, also those without judgements."""

    passages: dict[str, str]
    tasks: dict[str, Task]
    judged: Judgements

    @property
    def conversations(self) -> dict[str, str]:
        return {task.id: task.conversation for task in self.tasks.values()}

    def among(self, kind: str) -> list[str]:
        """The judged tasks of a kind, or "all"."""
        return [i for i in self.judged if kind in ("all", self.tasks[i].kind)]


def mtrag(folder: Path) -> Mtrag:
    """Read the reference file and the judgements of MTRAG-UN. Raises CorpusError for a record that is none of its, or a
    judgement of an unknown task or passage; MissingArtifact."""
    passages, tasks = read_tasks(folder / REFERENCE)
    judged: Judgements = {}
    for name in QRELS:
        for query, gains in read_qrels(folder / name).items():
            unknown = [passage for passage in gains if passage not in passages]
            if query not in tasks or unknown:
                raise CorpusError(f"{folder / name} judges {query!r}, whose task or passages are not in {REFERENCE}")
            judged[query] = gains
    return Mtrag(passages, tasks, judged)


def read_tasks(path: Path) -> tuple[dict[str, str], dict[str, Task]]:
    """(passages, tasks) of a reference file, by id. Raises CorpusError naming the line."""
    passages: dict[str, str] = {}
    tasks: dict[str, Task] = {}
    for number, line in enumerate(read_bytes(path, LARGEST).split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        record = parse_json(line, where, CorpusError)
        try:
            task = _task(record)
            contexts = {context["document_id"]: context["text"] for context in record["contexts"]}
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorpusError(f"{where} is not a task of MTRAG: {error!r}") from None
        tasks[task.id] = task
        passages |= contexts
    return passages, tasks


def _task(record: Mapping[str, Any]) -> Task:
    turns = tuple(Turn(ROLES[turn["speaker"]], turn["text"]) for turn in record["input"])  # type: ignore[arg-type]
    return Task(
        id=record["task_id"], conversation=record["conversation_id"], turns=turns,
        kind=KINDS[record["Multi-Turn"][0]], number=int(record["turn"]), collection=record["Collection"],
    )  # fmt: skip


def collection_lines(passages: Mapping[str, str], distractors: Iterable[tuple[str, str]]) -> str:
    """A collection as JSON lines {"_id", "text"}: the passages, then (id, text) pairs that answer nothing."""
    records = ({"_id": key, "text": text} for key, text in (*passages.items(), *distractors))
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def kinds(path: Path) -> dict[str, str]:
    """Task id -> kind of a reference file of MTRAG or MTRAG-UN; {} for a file of another form."""
    first = read_bytes(path, LARGEST).split(b"\n", 1)[0]
    if path.suffix != ".jsonl" or b'"Multi-Turn"' not in first:
        return {}
    return {task.id: task.kind for task in read_tasks(path)[1].values()}
