"""The text that a language model wrote -> the turns of a dialog, or the reason why it has none.

Read are lines "User: ..." / "Assistant: ..." and their usual variants (Human, AI, Bot, Q, A; bold; list marks; within a
code fence; after an introduction), and JSON lists of messages.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ttft.q2d.records import Role, Turn

LONGEST = 100_000  # characters of a reply: a longer one is no dialog
TRIMMED_TAIL, TRIMMED_CHATTER, TRUNCATED = "trimmed_tail", "trimmed_chatter", "truncated"
USER_NAMES = ("user", "human", "q", "customer", "me")
ASSISTANT_NAMES = ("assistant", "ai assistant", "ai", "bot", "chatbot", "a", "model", "agent")
_ROLES: dict[str, Role] = {
    **dict.fromkeys(USER_NAMES, "user"),
    **dict.fromkeys(ASSISTANT_NAMES, "assistant"),
}  # type: ignore[dict-item]
_NAMES = "|".join(sorted(map(re.escape, _ROLES), key=len, reverse=True))
_LABEL = re.compile(
    rf"^\s*(?:[-*>#]+\s+|\d+[.)]\s+)?(?:\*\*|__|\[|<)?\s*({_NAMES})(?:\s+\d+)?\s*(?:\*\*|__|\]|>)?\s*[:\uff1a]\s*"
    r"(?:\*\*|__)?\s*(.*)$",
    re.IGNORECASE,
)
_NEXT_CASE = re.compile(r"^\s*(?:\*\*)?(?:new )?question(?: \d+)?(?:\*\*)?\s*[:\uff1a]", re.IGNORECASE)
_FENCE = re.compile(r"```[\w-]*[^\S\n]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_CONTENT_KEYS, _LIST_KEYS = ("content", "text", "value", "utterance"), ("turns", "messages", "dialog", "conversation")


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """turns, or () and why not; notes on what was cut off."""

    turns: tuple[Turn, ...] = ()
    notes: tuple[str, ...] = ()
    why: str = ""


def parse_dialog(text: str, *, complete: bool = True) -> ParsedReply:
    """The dialog in a reply. complete=False: the reply was cut off at its longest, so its last turn is left out.

    Reasons: empty, too_long, not_unicode, no_turns, starts_with_assistant, two_in_a_row, empty_turn.
    """
    if not text.strip():
        return ParsedReply(why="empty")
    if len(text) > LONGEST:
        return ParsedReply(why="too_long")
    turns, notes = _from_json(text), []
    if turns is None:
        turns, chatter = _from_lines(_inside_fence(text))
        notes = [TRIMMED_CHATTER] * chatter
    if any(0xD800 <= ord(letter) < 0xE000 for turn in turns for letter in turn.text):
        return ParsedReply(why="not_unicode")
    if not complete and turns:
        turns, notes = turns[:-1], [*notes, TRUNCATED]
    while turns and turns[-1].role == "assistant":
        turns = turns[:-1]
        notes += [TRIMMED_TAIL] * (TRIMMED_TAIL not in notes)
    return ParsedReply(tuple(turns), tuple(notes)) if not (why := _fault(turns)) else ParsedReply((), tuple(notes), why)


def _fault(turns: list[Turn]) -> str:
    if not turns:
        return "no_turns"
    if turns[0].role != "user":
        return "starts_with_assistant"
    if any(one.role == other.role for one, other in pairwise(turns)):
        return "two_in_a_row"
    return "" if all(turn.text.strip() for turn in turns) else "empty_turn"


def _inside_fence(text: str) -> str:
    """What stands in a code fence, if that has turns."""
    for match in _FENCE.finditer(text):
        if any(_LABEL.match(line) for line in match.group(1).splitlines()):
            return match.group(1)
    return text


def _from_lines(text: str) -> tuple[list[Turn], bool]:
    """(turns, whether text after them was left out). Lines without a label go on with a turn, unless they stand apart
    at the end."""
    turns: list[tuple[Role, list[str]]] = []
    apart: list[str] = []
    blank = chatter = False
    for line in text.splitlines():
        if label := _LABEL.match(line):
            if apart:
                turns[-1][1].extend(apart)
            turns.append((_ROLES[label.group(1).lower()], [label.group(2)]))
            apart, blank = [], False
        elif turns and _NEXT_CASE.match(line):
            chatter = True
            break
        elif not line.strip() or line.strip().startswith("```"):
            blank = bool(turns)
        elif turns:
            (apart if blank else turns[-1][1]).append(line)
    return [Turn(role, _clean(" ".join(lines))) for role, lines in turns], chatter or bool(apart)


def _clean(text: str) -> str:
    text = " ".join(text.split())
    return text.removesuffix("**").rstrip() if text.count("**") % 2 else text


def _from_json(text: str) -> list[Turn] | None:
    """The turns of a JSON list of messages within the text, None if there is none."""
    for match in re.finditer(r"[\[{]", text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text, match.start())
        except RecursionError:
            return None
        except ValueError:
            if match.start() > 2000:
                return None
            continue
        if turns := _messages(value):
            return turns
    return None


def _messages(value: Any) -> list[Turn] | None:
    if isinstance(value, dict):
        value = next((value[key] for key in _LIST_KEYS if key in value), None)
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return None
    turns = []
    for item in value:
        role = item.get("role", item.get("from", item.get("speaker")))
        content = next((item[key] for key in _CONTENT_KEYS if key in item), None)
        if isinstance(role, str) and role.lower() == "system":
            continue
        if not isinstance(role, str) or role.lower() not in _ROLES or not isinstance(content, str):
            return None
        turns.append(Turn(_ROLES[role.lower()], " ".join(content.split())))
    return turns
