"""Dialogs of one's own with their queries, and those of Alexa's contextual query rewrites, as Examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ttft.errors import CorpusError
from ttft.q2d.conversation_forms import OTHERS_MAY_FOLLOW, example
from ttft.q2d.reading import FIX, Row, typed
from ttft.q2d.records import Example, Turn

ROLES = {"user": "user", "human": "user", "assistant": "assistant", "agent": "assistant", "ai": "assistant"}


@dataclass(frozen=True)
class _Said:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    role: str
    text: str = ""
    content: str = ""


@dataclass(frozen=True)
class _Own:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    id: str = ""
    turns: list[_Said] = field(default_factory=list)
    messages: list[_Said] = field(default_factory=list)
    target: str = ""
    query: str = ""
    conversation: str = ""
    question_id: str = ""
    source: str = ""
    answers: list[str] = field(default_factory=list)


def own(path: Path, rows: list[Row]) -> Iterator[Example]:
    """`turns` ({"role", "text"}) or `messages` ({"role", "content"}), and the query as `target` or `query`; the dialogs
    that `ttft q2d filter` writes are such records."""
    for number, (where, value) in enumerate(rows, 1):
        row = typed(_Own, Row(where, value))
        turns = [_turn(said, where) for said in row.turns or row.messages]
        if not turns:
            raise CorpusError(f"{where}: the dialog has no turns", FIX)
        id = row.id or f"{path.stem}-{number}"
        yield example(
            id, row.conversation or row.question_id or id, turns, row.target or row.query, source=row.source,
            answers=tuple(row.answers),
        )  # fmt: skip


def _turn(said: _Said, where: str) -> Turn:
    if said.role not in ROLES:
        raise CorpusError(f"{where}: unknown role {said.role!r}", "roles: user, assistant")
    return Turn("user" if ROLES[said.role] == "user" else "assistant", said.text or said.content)


@dataclass(frozen=True)
class _AlexaData:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    utterance: str


@dataclass(frozen=True)
class _Reformulation:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    reformulated_utt: str | None


@dataclass(frozen=True)
class _AlexaTurn:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    turn: str
    data: _AlexaData
    reformulation: _Reformulation | None = None


@dataclass(frozen=True)
class _Alexa:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    dialogue: list[_AlexaTurn]
    scenario: dict[str, Any] = field(default_factory=dict)


def alexa(path: Path, rows: list[Row]) -> Iterator[Example]:
    """Alexa's contextual query rewrites: the reformulation stands at the assistant's answer and rewrites the driver's
    turn before it. In-car tasks, not search."""
    for number, row in enumerate(rows, 1):
        talk = typed(_Alexa, row)
        id = str(talk.scenario.get("uuid") or f"{path.stem}-{number}")
        said: list[Turn] = []
        for place, turn in enumerate(talk.dialogue, 1):
            if turn.reformulation and said:
                yield example(f"{id}_{place}", id, said, turn.reformulation.reformulated_utt or "", source="alexa-cqr")
            said.append(Turn("user" if turn.turn == "driver" else "assistant", turn.data.utterance))
