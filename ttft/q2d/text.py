"""Text as the parts of q2d compare and write it: normal form, words, a dialog as one text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

from ttft.errors import MissingArtifact, install_hint
from ttft.q2d.records import Turn

ANSWER_WORDS = 40  # human answers in QReCC have at most 37
LABELS = {"user": "User", "assistant": "Assistant"}
_STOP_WORDS = """a an the of in on at to for and or is are was were be been do does did has have had what who whom whose
which when where why how that this it its by from with as about any other there s"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
_NOT_WORDS, _ARTICLES, _SPACES = re.compile(r"[^\w\s]"), re.compile(r"\b(a|an|the)\b"), re.compile(r"\s+")


def norm(text: str) -> str:
    """NFKC, lower case, punctuation to space, no articles, single spaces: texts that differ in these only are equal."""
    plain = _NOT_WORDS.sub(" ", unicodedata.normalize("NFKC", text).lower())
    return _SPACES.sub(" ", _ARTICLES.sub(" ", plain)).strip()


def content_words(text: str) -> list[str]:
    """The words of norm(text) that are not stop words, repeats kept."""
    return [word for word in norm(text).split() if word not in STOP_WORDS]


def one_line(text: str) -> str:
    """The text without line breaks: a turn must not be able to begin another one."""
    return " ".join(text.split())


def dialog_text(turns: Sequence[Turn]) -> str:
    """One line a turn, oldest first: "User: ..." or "Assistant: ...". Line breaks within a turn become spaces."""
    return "\n".join(f"{LABELS[turn.role]}: {one_line(turn.text)}" for turn in turns)


def model_turns(turns: Sequence[Turn]) -> list[Turn]:
    """What a query model reads of a dialog: of a long answer the first ANSWER_WORDS words. What a question leans on
    stands mostly in the user's turns and at the beginning of answers; whole answers would push the user's turns out of
    the window."""
    return [_begun(turn) if turn.role == "assistant" else turn for turn in turns]


def _begun(turn: Turn) -> Turn:
    words = turn.text.split(maxsplit=ANSWER_WORDS)
    return turn if len(words) <= ANSWER_WORDS else Turn(turn.role, " ".join(words[:ANSWER_WORDS]) + " ...")


def model_text(turns: Sequence[Turn]) -> str:
    """`dialog_text` of the `model_turns`: the input of a query model."""
    return dialog_text(model_turns(turns))


@cache
def _scorer() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise MissingArtifact("ROUGE needs the package rouge-score", install_hint("q2d")) from None
    return RougeScorer(["rouge1"], use_stemmer=True)


def rouge1(target: str, prediction: str) -> tuple[float, float]:
    """(F, recall) of ROUGE-1 with stemming (rouge_score), 0..1. It reads ASCII letters and digits only: a text of
    another script scores 0 even with itself."""
    score = _scorer().score(target, prediction)["rouge1"]
    return score.fmeasure, score.recall
