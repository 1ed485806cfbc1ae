"""A dialog -> the query to search with: the result, the interface of everything that makes one, and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from ttft.errors import ConfigError
from ttft.q2d.records import Turn

How = Literal["model", "rule", "unchanged", "last turn", "no search"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The queries of a dialog, best first.

    search  False: the last turn needs no search, and there are no queries
    how     model: a model wrote them; rule: a baseline did; unchanged: a dialog of one turn, which is its own query;
            last turn: the baseline of this name, or what is used where a model failed (`note` says why);
            no search: a model said so
    """

    queries: tuple[str, ...]
    search: bool
    how: How
    note: str = ""

    @property
    def query(self) -> str | None:
        return self.queries[0] if self.queries else None

    def to_json(self) -> dict[str, Any]:
        return {"query": self.query} | asdict(self)


class Rewrites(Protocol):
    """Makes queries of dialogs, each a sequence of turns of which the last is the user's; at most n for each."""

    def rewrite(self, dialogs: Sequence[Sequence[Turn]], *, n: int = 1) -> Sequence[Rewrite]: ...


def unchanged(turns: Sequence[Turn]) -> Rewrite:
    return Rewrite((turns[-1].text,), True, "unchanged")


def last_turn(turns: Sequence[Turn], note: str = "") -> Rewrite:
    return Rewrite((turns[-1].text,), True, "last turn", note)


def check_dialogs(dialogs: Sequence[Sequence[Turn]], n: int) -> None:
    """Raises ConfigError for n below 1, and for a dialog that is empty or does not end with the user's turn."""
    if n < 1:
        raise ConfigError(f"n is {n}", "ask for at least one query")
    for number, turns in enumerate(dialogs):
        if not turns or turns[-1].role != "user":
            what = "is empty" if not turns else "does not end with the user's turn"
            raise ConfigError(f"dialog {number} {what}", "the last turn of a dialog is what the query is for")


def _joined(texts: Sequence[str]) -> str:
    return " ".join(text.strip() for text in texts)


RULES: dict[str, Callable[[Sequence[Turn]], Rewrite]] = {
    "last-turn": last_turn,
    "user-turns": lambda turns: Rewrite((_joined([t.text for t in turns if t.role == "user"]),), True, "rule"),
    "history": lambda turns: Rewrite((_joined([t.text for t in turns]),), True, "rule"),
}
"""Baselines without a model: the last turn, all turns of the user, all turns."""


@dataclass(frozen=True)
class Rule:
    """A baseline by its name. It has one query for a dialog, whatever n is."""

    name: str

    def rewrite(self, dialogs: Sequence[Sequence[Turn]], *, n: int = 1) -> list[Rewrite]:
        check_dialogs(dialogs, n)
        return [unchanged(turns) if len(turns) == 1 else RULES[self.name](turns) for turns in dialogs]
