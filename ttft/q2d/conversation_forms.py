"""The data sets of conversations with rewrites, each in the form in which it is published, as Examples.

A form's reader gives every turn of the file, empty ones too, and an empty target where nobody rewrote the turn;
`conversations` decides what becomes of both.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from ttft.errors import CorpusError, MissingArtifact
from ttft.q2d.reading import FIX, Row, read_rows, typed
from ttft.q2d.records import Example, Turn, alternating

OTHERS_MAY_FOLLOW = ConfigDict(strict=True, extra="ignore")
"""For records of other people's files: the fields named here are checked, others do not matter."""
Number = int | str


def example(id: str, conversation: str, turns: Sequence[Turn], target: str, **more: Any) -> Example:
    depth = sum(turn.role == "user" for turn in turns)
    return Example(id, conversation, tuple(turns), target, depth=depth, **more)


def _given(*texts: str | None) -> tuple[str, ...]:
    return tuple(text for text in texts if text and text.strip())


# ---- QReCC and its relatives ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _QReCC:
    """A turn of the released file. Its Context holds the *rewritten* earlier questions."""

    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    Context: list[str]
    Question: str
    Conversation_no: Number
    Turn_no: Number
    Rewrite: str = ""
    Answer: str = ""
    Conversation_source: str = ""


def qrecc(path: Path, rows: list[Row]) -> Iterator[Example]:
    for row in (typed(_QReCC, row) for row in rows):
        turns = alternating([*row.Context, row.Question])
        conversation = str(row.Conversation_no)
        yield example(
            f"{conversation}_{row.Turn_no}", conversation, turns, row.Rewrite, source=row.Conversation_source,
            answers=_given(row.Answer),
        )  # fmt: skip


@dataclass(frozen=True)
class _InfoCQR:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    NewContext: list[str]
    Question: str
    Conversation_no: Number
    Turn_no: Number
    Truth_rewrite: str = ""
    Truth_answer: str = ""
    Conversation_source: str = ""
    GPT_rewrite: str = ""
    Editor_rewrite: str | dict[str, Any] = ""


def infocqr(path: Path, rows: list[Row]) -> Iterator[Example]:
    """InfoCQR puts the raw earlier questions back. The question of a turn 1 was overwritten with its rewrite."""
    for place in rows:
        row = typed(_InfoCQR, place)
        others = {"gpt": row.GPT_rewrite, "editor": _completion(row.Editor_rewrite, place.where)}
        conversation = str(row.Conversation_no)
        yield example(
            f"{conversation}_{row.Turn_no}", conversation, alternating([*row.NewContext, row.Question]),
            row.Truth_rewrite, source=row.Conversation_source, answers=_given(row.Truth_answer),
            rewrites={name: text for name, text in others.items() if text},
        )  # fmt: skip


def _completion(value: str | dict[str, Any], where: str) -> str:
    """The text of a chat.completion object."""
    if isinstance(value, str):
        return value
    try:
        content = value["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        content = None
    if not isinstance(content, str):
        raise CorpusError(f"{where}: Editor_rewrite is neither a text nor a chat.completion object", FIX)
    return content.strip()


@dataclass(frozen=True)
class _Scai:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    Truth_rewrite: str
    Conversation_no: Number
    Turn_no: int
    Truth_answer: str = ""
    Question: str = ""
    Context: list[str] | None = None
    Conversation_source: str = ""


def scai(path: Path, rows: list[Row]) -> Iterator[Example]:
    """SCAI-QReCC. Its ground truth has neither raw questions nor contexts: a question is then its rewrite, and the
    context is made of the earlier turns of the conversation in the file."""
    known: dict[str, list[_Scai]] = {}
    parsed = [typed(_Scai, row) for row in rows]
    for row in sorted(parsed, key=lambda row: row.Turn_no):
        known.setdefault(str(row.Conversation_no), []).append(row)
    for row in parsed:
        conversation = str(row.Conversation_no)
        earlier = [turn for turn in known[conversation] if turn.Turn_no < row.Turn_no]
        told = [text for turn in earlier for text in (turn.Question or turn.Truth_rewrite, turn.Truth_answer)]
        texts = [*(told if row.Context is None else row.Context), row.Question or row.Truth_rewrite]
        yield example(
            f"{conversation}_{row.Turn_no}", conversation, alternating(texts), row.Truth_rewrite,
            source=row.Conversation_source, answers=_given(row.Truth_answer),
        )  # fmt: skip


@dataclass(frozen=True)
class _ScaiAnnotation:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    id: str
    question: str
    gt: str = ""


def scai_annotations(path: Path, rows: list[Row]) -> Iterator[Example]:
    """SCAI's annotated answers (CSV): a line per answer of a system; `question` is the human rewrite."""
    lines = {line.id: line for line in reversed([typed(_ScaiAnnotation, row) for row in rows])}
    for line in reversed(lines.values()):
        turns = alternating([line.question])
        yield example(line.id, line.id.split("_")[0], turns, line.question, answers=_given(line.gt))


@dataclass(frozen=True)
class _AdaQR:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    conversation: str
    question: str
    label: str


def adaqr(path: Path, rows: list[Row]) -> Iterator[Example]:
    """AdaQR: the context is a text, "Q: ... A: ..." a line. `label` is a human's rewrite or an LLM's: the file's name
    says whose. Rows with the same first exchange count as one conversation."""
    for number, row in enumerate((typed(_AdaQR, row) for row in rows), 1):
        context = [part for line in re.split(r"\n(?=Q: )", row.conversation) for part in _exchange(line)]
        first = hashlib.sha256("\n".join(context[:2]).encode()).hexdigest()[:12]
        yield example(f"adaqr-{number}", first, alternating([*context, row.question]), row.label, source="qrecc")


def _exchange(line: str) -> list[str]:
    if not line.strip():
        return []
    question, _, answer = line.removeprefix("Q:").partition(" A:")
    return [question.strip(), answer.strip()]


@dataclass(frozen=True)
class _Canard:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    History: list[str]
    QuAC_dialog_id: str
    Question: str
    Question_no: int
    Rewrite: str


def canard(path: Path, rows: list[Row]) -> Iterator[Example]:
    """CANARD: the first two items of History are the titles of article and section."""
    for row in (typed(_Canard, row) for row in rows):
        turns = alternating([*row.History[2:], row.Question])
        conversation = row.QuAC_dialog_id
        yield example(f"{conversation}_{row.Question_no}", conversation, turns, row.Rewrite, source="quac")


# ---- MTRAG -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Said:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    speaker: Literal["user", "agent"]
    text: str


@dataclass(frozen=True)
class _MtragTask:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    conversation_id: str
    task_id: str
    input: list[_Said]
    Collection: str = ""


def mtrag_tasks(path: Path, rows: list[Row]) -> Iterator[Example]:
    """Tasks of MTRAG: dialogs without rewrites, to retrieve for."""
    for task in (typed(_MtragTask, row) for row in rows):
        turns = [Turn("user" if said.speaker == "user" else "assistant", said.text) for said in task.input]
        yield example(task.task_id, task.conversation_id, turns, "", source=task.Collection)


MTRAG_FILES = re.compile(r"(questions|rewrite|lastturn)(?=\.jsonl?$)")


@dataclass(frozen=True)
class _MtragQuery:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    id: str
    text: str

    @property
    def turns(self) -> list[str]:
        return re.split(r"(?:^|\n)\|user\|: ?", self.text)[1:]


def mtrag(path: Path, rows: list[Row]) -> Iterator[Example]:
    """Queries of MTRAG: *_questions.jsonl holds all user turns, *_rewrite.jsonl beside it the authors' rewrite. Any of
    the files may be given. The turns are the user's alone."""
    if not MTRAG_FILES.search(path.name):
        raise CorpusError(f"{path} is not named *_questions.jsonl", "queries of MTRAG keep the names of their files")
    questions, rewrites = (path.with_name(MTRAG_FILES.sub(name, path.name)) for name in ("questions", "rewrite"))
    if not rewrites.exists():
        raise MissingArtifact(f"{rewrites} is missing: it holds the rewrites of {path.name}", "put it beside the file")
    written = {query.id: " ".join(query.turns) for query in _queries(read_rows(rewrites))}
    for query in _queries(rows if questions == path else read_rows(questions)):
        turns = [Turn("user", text) for text in query.turns]
        yield example(query.id, query.id.split("<::>")[0], turns, written.get(query.id, ""), source="mtrag")


def _queries(rows: Iterable[Row]) -> Iterator[_MtragQuery]:
    for where, value in rows:
        named = {"id": value.get("_id"), "text": value.get("text")} if isinstance(value, dict) else value
        yield typed(_MtragQuery, Row(where, named))
