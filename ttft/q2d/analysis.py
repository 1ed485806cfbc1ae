"""What dialogs are like, in numbers: lengths, pronouns, variety, leaks, and how near the last turn is to the query.

The same numbers for dialogs that were generated and for human ones say where they differ. Shares and ROUGE are 0..1.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ttft.errors import CorpusError
from ttft.q2d.filters import LEAK_SKIPPED, Limits, leak
from ttft.q2d.records import Dialog, Example, Generator, Turn
from ttft.q2d.similarity import rouge_f

PRONOUN = re.compile(
    r"\b(he|she|it|they|him|her|his|hers|its|their|theirs|them|this|that|these|those|there|one|ones)\b", re.I
)
_NOBODY = Generator("", "", 0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Case:
    """A dialog to describe, wherever it is from. Turns without text are left out.

    id, query, answers  as in records.Dialog: the query of a human dialog is the rewrite of its last turn
    """

    id: str
    turns: tuple[Turn, ...]
    query: str
    answers: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        return self.turns[-1].text


def generated(dialogs: Sequence[Dialog]) -> list[Case]:
    """The dialogs that no filter dropped."""
    return [Case(d.id, _said(d.turns), d.query, d.answers) for d in dialogs if d.verdict != "drop" and _said(d.turns)]


def human(examples: Sequence[Example]) -> list[Case]:
    """The turns after the first of human conversations: a first turn is a question, not a dialog."""
    return [
        Case(e.id, _said(e.turns), e.target, e.answers) for e in examples if e.depth > 1 and len(_said(e.turns)) > 1
    ]


def gives_answer_away(case: Case) -> bool | None:
    """What the filter says that looks for answers in dialogs; None where it cannot look."""
    verdict = leak(Dialog(case.id, case.id, case.query, case.turns, _NOBODY, case.answers), Limits())
    return None if not case.answers or LEAK_SKIPPED in verdict.notes else verdict.drop


def _said(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    return tuple(turn for turn in turns if turn.text.strip())


@dataclass(frozen=True, slots=True)
class Spread:
    """Of whole numbers: mean, median, the 95th percentile sorted(v)[int(0.95 n)], and the largest."""

    mean: float
    median: float
    p95: int
    largest: int


@dataclass(frozen=True)
class Intrinsic:
    """The description of a set of dialogs. Lengths are in words, split at white space.

    turns         turns -> dialogs
    user, assistant  of single turns before the last one;  last, query, whole: of the last turn, the query, the dialog
    pronouns      share of last turns with a pronoun;  query_pronouns: of queries
    distinct_1, distinct_2  different words, and pairs of words, among all of the last turns of `compared` dialogs;
                  they fall as there are more
    leaks         share of the dialogs that give an answer away, among those with answers that can be checked; None
                  where there are none
    deciles       1 to 9 of ROUGE-1 F (stemmed) of the last turn against the query
    """

    dialogs: int
    turns: dict[int, int]
    user: Spread
    assistant: Spread
    last: Spread
    query: Spread
    whole: Spread
    pronouns: float
    query_pronouns: float
    distinct_1: float
    distinct_2: float
    compared: int
    leaks: float | None
    deciles: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(cases: Sequence[Case], *, compared: int, seed: int = 0) -> Intrinsic:
    """The numbers of a set of dialogs.

    compared  dialogs, drawn with the seed, that distinct-n is computed over: the same number for sets to compare
    Raises CorpusError without any dialog.
    """
    if not cases:
        raise CorpusError("there is no dialog to describe", "were all of them dropped? see funnel.json")
    drawn = cases if compared >= len(cases) else random.Random(seed).sample(list(cases), compared)
    checked = [found for case in cases if (found := gives_answer_away(case)) is not None]
    before = [turn for case in cases for turn in case.turns[:-1]]
    near = sorted(rouge_f(case.query, case.last) for case in cases)
    return Intrinsic(
        dialogs=len(cases),
        turns=dict(sorted(Counter(len(case.turns) for case in cases).items())),
        user=spread([_words(turn.text) for turn in before if turn.role == "user"]),
        assistant=spread([_words(turn.text) for turn in before if turn.role == "assistant"]),
        last=spread([_words(case.last) for case in cases]),
        query=spread([_words(case.query) for case in cases]),
        whole=spread([sum(_words(turn.text) for turn in case.turns) for case in cases]),
        pronouns=_share([case.last for case in cases]),
        query_pronouns=_share([case.query for case in cases]),
        distinct_1=distinct([case.last for case in drawn], 1),
        distinct_2=distinct([case.last for case in drawn], 2),
        compared=len(drawn),
        leaks=sum(checked) / len(checked) if checked else None,
        deciles=tuple(near[int(tenth * len(near) / 10)] for tenth in range(1, 10)),
    )


def spread(values: Sequence[int]) -> Spread:
    """Zeros for no values."""
    if not values:
        return Spread(0.0, 0.0, 0, 0)
    ranked, half = sorted(values), len(values) // 2
    median = float(ranked[half]) if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2
    return Spread(sum(ranked) / len(ranked), median, ranked[int(0.95 * len(ranked))], ranked[-1])


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of lower-cased words over all n-grams of the texts; 0 without any."""
    grams = [
        tuple(words[start : start + n])
        for words in (text.lower().split() for text in texts)
        for start in range(len(words) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0


def _words(text: str) -> int:
    return len(text.split())


def _share(texts: Sequence[str]) -> float:
    return sum(bool(PRONOUN.search(text)) for text in texts) / len(texts)
