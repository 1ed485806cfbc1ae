"""Dialogs as others write them -> turns: lists of strings, {"role", "text"}, or chat format ({"role", "content"}).

What makes no search query, messages of the system and results of tools, is left out of the turns. Every error names
the record, file and line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttft.errors import CorpusError
from ttft.q2d.records import Role, Turn, alternating
from ttft.state import check_plain, parse_json

FIELDS = ("turns", "messages")
ROLES: dict[str, Role] = {
    "user": "user", "human": "user", "assistant": "assistant", "ai": "assistant", "bot": "assistant",
    "model": "assistant",
}  # fmt: skip
SYSTEM, TOOLS = ("system", "developer"), ("tool", "function")
LONGEST_TURN = 1 << 20  # bytes of UTF-8
FORM = (
    'give {"turns": [{"role": "user", "text": "..."}, ...]}, or "messages" with "role" and "content"; the last turn is '
    "the user's"
)


@dataclass(frozen=True, slots=True)
class DialogInput:
    """A dialog that was read.

    id      of its record, else where it stands
    turns   the user's and the assistant's, the last one the user's
    system  what the system was told, "" if nothing: for a model that answers, not for the query
    notes   what was left out or joined
    """

    id: str
    turns: tuple[Turn, ...]
    system: str = ""
    notes: tuple[str, ...] = ()


def is_dialog(record: Any) -> bool:
    """Whether a record holds a dialog, well-formed or not."""
    return isinstance(record, Mapping) and any(field in record for field in FIELDS)


def read_turns(record: Any, where: str) -> tuple[Turn, ...]:
    """The turns of a dialog; see `read_dialog`."""
    return read_dialog(record, where).turns


def read_dialog(record: Any, where: str, *, lenient: bool = False) -> DialogInput:
    """The dialog in a record: a mapping with "turns" or "messages", or the list itself.

    Turns are strings, the user's and the assistant's by turns, or mappings with a role and a text ("text" or "content",
    which may be a list of parts, of which those with a text count). Several turns of the assistant in a row become one.
    lenient  join several turns of the user in a row with a space, and drop empty turns but the last, with a note
    Raises CorpusError that begins with `where`.
    """
    items = _items(record, where)
    check_plain(items, where, CorpusError, "write it as valid Unicode")
    if all(isinstance(item, str) for item in items):
        spoken: list[tuple[str, str]] = [(turn.role, turn.text) for turn in alternating(items)]
    else:
        spoken = [_spoken(item, f"{where}: turn {number}") for number, item in enumerate(items, 1)]
    reader = _Reader(where, lenient)
    for number, (role, text) in enumerate(spoken, 1):
        reader.add(number, role, text)
    name = record.get("id") if isinstance(record, Mapping) else None
    known = isinstance(name, str | int) and not isinstance(name, bool) and name != ""
    return reader.dialog(str(name) if known else where)


def read_dialogs(lines: Iterable[bytes], name: str, *, lenient: bool = False) -> Iterator[DialogInput]:
    """The dialogs of a file of JSON lines; blank lines are skipped. Raises CorpusError that names file and line."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{name}:{number}"
            yield read_dialog(parse_json(line, where, CorpusError, FORM), where, lenient=lenient)


def _items(record: Any, where: str) -> list[Any]:
    if isinstance(record, Mapping):
        there = [field for field in FIELDS if field in record]
        if not there:
            fields = ", ".join(map(repr, list(record)[:20])) or "none"
            raise CorpusError(f"{where}: no dialog: there is no 'turns' or 'messages'; fields there: {fields}", FORM)
        record = record[there[0]]
    if not isinstance(record, Sequence) or isinstance(record, str | bytes):
        raise CorpusError(f"{where}: a dialog must be a list of turns, not {type(record).__name__}", FORM)
    if not record:
        raise CorpusError(f"{where}: the dialog is empty", FORM)
    return list(record)


def _spoken(item: Any, where: str) -> tuple[str, str]:
    """(role, text) of one turn; the role is user, assistant, system or tool."""
    if not isinstance(item, Mapping):
        raise CorpusError(f"{where} is {type(item).__name__}, but other turns are mappings", FORM)
    role = item.get("role")
    if not isinstance(role, str) or role.lower() not in (*ROLES, *SYSTEM, *TOOLS):
        raise CorpusError(f"{where} has the role {role!r:.80}", f"roles: {', '.join((*ROLES, *SYSTEM, *TOOLS))}")
    role = role.lower()
    known = "system" if role in SYSTEM else "tool" if role in TOOLS else ROLES[role]
    return known, "" if known == "tool" else _text(item, where)


def _text(item: Mapping[str, Any], where: str) -> str:
    text = item["text"] if "text" in item else item.get("content", "")
    if text is None:  # a call of a tool
        return ""
    if isinstance(text, str):
        return text
    if isinstance(text, Sequence):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in text]
        return "\n".join(part for part in parts if isinstance(part, str))
    raise CorpusError(f"{where} has a text that is {type(text).__name__}", FORM)


class _Reader:
    """Collects the turns of one dialog and what there is to say about them."""

    def __init__(self, where: str, lenient: bool) -> None:
        self.where, self.lenient = where, lenient
        self.turns: list[Turn] = []
        self.system: list[str] = []
        self.notes: dict[str, None] = {}

    def add(self, number: int, role: str, text: str) -> None:
        place = f"{self.where}: turn {number}"
        if (size := len(text.encode())) > LONGEST_TURN:
            raise CorpusError(f"{place} has {size:,} bytes, more than {LONGEST_TURN:,}", "shorten it")
        if role == "system":
            self.system.append(text)
        elif role == "tool":
            self.notes["the results of tools were left out"] = None
        elif not text.strip():
            if role == "user" and not self.lenient:
                raise CorpusError(f"{place}, the user's, is empty", "leave it out")
            self.notes[f"turn {number}, which is empty, was left out"] = None
        elif self.turns and self.turns[-1].role == role:
            self._join(number, text)
        else:
            self.turns.append(Turn("user" if role == "user" else "assistant", text))

    def _join(self, number: int, text: str) -> None:
        last = self.turns[-1]
        if last.role == "user" and not self.lenient:
            raise CorpusError(
                f"{self.where}: turn {number} and the one before it are both the user's", "join them to one turn"
            )
        self.notes[f"turn {number} was joined to the one before it, both the {last.role}'s"] = None
        self.turns[-1] = Turn(last.role, f"{last.text} {text}")

    def dialog(self, name: str) -> DialogInput:
        if not self.turns:
            raise CorpusError(f"{self.where}: the dialog is empty", FORM)
        if self.turns[-1].role != "user":
            raise CorpusError(f"{self.where}: the last turn is the assistant's", "end the dialog with the user's turn")
        return DialogInput(name, tuple(self.turns), "\n\n".join(self.system), tuple(self.notes))
