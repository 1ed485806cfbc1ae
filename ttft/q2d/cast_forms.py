"""TREC CAsT in the forms in which it is published, as Examples."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ttft.q2d.conversation_forms import OTHERS_MAY_FOLLOW, Number, example
from ttft.q2d.reading import Row, read_text, typed
from ttft.q2d.records import Example, Turn


@dataclass(frozen=True)
class _CastTurn:
    """2019 and 2020 have no answers, 2021 calls them passage, 2022 response."""

    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    number: Number
    raw_utterance: str = ""
    utterance: str = ""
    manual_rewritten_utterance: str = ""
    automatic_rewritten_utterance: str = ""
    passage: str | None = None
    response: str | None = None


@dataclass(frozen=True)
class _CastTopic:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    number: Number
    turn: list[_CastTurn]


def cast(path: Path, rows: list[Row]) -> Iterator[Example]:
    """TREC CAsT, 2019 to 2022. The rewrites of 2019 lie in a file beside the topics (*_resolved_*.tsv). In the
    flattened form of 2022 a topic is a path through a tree, so that its first turns may be those of another one."""
    resolved = _resolved(path)
    for topic in (typed(_CastTopic, row) for row in rows):
        said: list[Turn] = []
        for turn in topic.turn:
            said.append(Turn("user", turn.raw_utterance or turn.utterance))
            id, automatic = f"{topic.number}_{turn.number}", turn.automatic_rewritten_utterance
            target = turn.manual_rewritten_utterance or resolved.get(id, "")
            others = {"automatic": automatic} if automatic else {}
            yield example(id, str(topic.number), said, target, source="trec", rewrites=others)
            answer = turn.response if turn.response is not None else turn.passage
            said += [] if answer is None else [Turn("assistant", answer)]


def _resolved(path: Path) -> dict[str, str]:
    """The rewrites by "<topic>_<turn>" in the files beside the topics of 2019, {} if there are none."""
    found: dict[str, str] = {}
    stem = path.name.split("topic")[0]
    for other in sorted(path.parent.glob(f"{glob.escape(stem)}topic*resolved*.tsv")):
        for line in read_text(other).split("\n"):
            id, tab, rewrite = line.rstrip("\r").partition("\t")
            if tab:
                found[id] = rewrite
    return found


@dataclass(frozen=True)
class _Llm4csTurn:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    turn_id: Number
    question: str
    manual_rewrite: str
    response: str = ""


@dataclass(frozen=True)
class _Llm4cs:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    conv_id: Number
    turns: list[_Llm4csTurn]


def llm4cs(path: Path, rows: list[Row]) -> Iterator[Example]:
    """CAsT as LLM4CS writes it; the responses of 2019 are empty."""
    for conversation in (typed(_Llm4cs, row) for row in rows):
        said: list[Turn] = []
        for turn in conversation.turns:
            said.append(Turn("user", turn.question))
            id = f"{conversation.conv_id}_{turn.turn_id}"
            yield example(id, str(conversation.conv_id), said, turn.manual_rewrite, source="trec")
            said.append(Turn("assistant", turn.response))
