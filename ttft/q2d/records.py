"""The records that pass between the steps of q2d. Frozen; each can be written as one line of JSON.

questions -> Question;  generate, filter -> Dialog;  train -> Pair;  human data to train or evaluate on -> Example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from ttft.state import STRICT

Role = Literal["user", "assistant"]
Verdict = Literal["keep", "drop"]
NO_SEARCH = "NONE"
"""The target of a dialog whose last turn needs no search: a greeting, thanks, a question about the talk itself."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a dialog. The text of a turn that came from elsewhere may hold anything, line breaks too."""

    __pydantic_config__: ClassVar = STRICT

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a dialog is made from.

    answers    forms of its answer, () if unknown: a dialog must not give it away
    forbidden  answers of its intermediate steps (multi-hop questions), which the dialog must not say either
    """

    __pydantic_config__: ClassVar = STRICT

    id: str
    question: str
    answers: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Generator:
    """How a dialog was made. prompt_sha256: of the instruction and demonstrations; sample: which of n, from 0."""

    __pydantic_config__: ClassVar = STRICT

    model: str
    prompt_sha256: str
    seed: int
    temperature: float
    sample: int


@dataclass(frozen=True, slots=True)
class Dialog:
    """A dialog made from a question; `query` is the question, unchanged.

    recovered_query  what a model wrote as the search query of the dialog, None before it was asked
    scores           numbers that filters computed, by name
    verdict          "keep" or "drop", None before filtering; reasons: of a drop, all of them
    notes            what the parser or a filter has to say, such as "trimmed_tail" and "leak_check:skipped"
    """

    __pydantic_config__: ClassVar = STRICT

    id: str
    question_id: str
    query: str
    turns: tuple[Turn, ...]
    generator: Generator
    answers: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    source: str = ""
    recovered_query: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Pair:
    """What a query model is trained on. source: the dialog as `text.model_text` writes it; target: its query."""

    __pydantic_config__: ClassVar = STRICT

    id: str
    source: str
    target: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Example:
    """A turn of a human conversation with its rewrite.

    turns         up to and with the last turn, the user's; with real data roles need not alternate
    target        the human rewrite of the last turn
    conversation  its id, for splits;  depth: user turns, this one included, so that 1 has no history
    rewrites      by others, by name, such as {"gpt": ...}
    """

    id: str
    conversation: str
    turns: tuple[Turn, ...]
    target: str
    source: str = ""
    depth: int = 1
    answers: tuple[str, ...] = ()
    rewrites: dict[str, str] = field(default_factory=dict)


def alternating(texts: Sequence[str]) -> tuple[Turn, ...]:
    """Turns of these texts, the first the user's, then by turns."""
    roles: tuple[Role, Role] = ("user", "assistant")
    return tuple(Turn(roles[place % 2], text) for place, text in enumerate(texts))
