"""Dialog -> the query that it asks for, to compare with the question that the dialog was made from.

By a language model, or by a rule: the pronoun of the last turn becomes what was last mentioned. The rule is a stand-in
for tests and for runs without a model, not a measure of the intent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from ttft.q2d.llm import Completion, Request
from ttft.q2d.mentions import Mention, parse
from ttft.q2d.prompts import SHOTS, Demonstrations, load_demonstrations, recovery_messages
from ttft.q2d.records import Dialog, Turn
from ttft.q2d.text import one_line

Complete = Callable[[Sequence[Request]], Iterator[tuple[int, Completion]]]
RULE = "rules"
"""The name of the rule-based recovery among those of models."""
_LABEL = re.compile(
    r"^(?:[-*>#]+\s+)?(?:\*\*)?(?:search |rewritten )?(?:query|question|answer|output)(?:\*\*)?\s*[:\uff1a]\s*", re.I
)
_BEFORE = re.compile(
    r"^(?:sure|certainly|of course|okay|here (?:is|are)|the (?:search |single )?query (?:is|would be))\b.*[:.!]$", re.I
)
_EXPLANATION = re.compile(
    r"\s*(?:\((?:note|explanation|this|the|because|i )[^()]*\)?|(?:note|explanation|reason|this query)\b\s*:?.*)$", re.I
)
_QUOTES = "\"'`*\u201c\u201d\u2018\u2019\u00ab\u00bb"
_POSSESSIVE = {"his", "its", "their"}
_SUBJECT_OBJECT = re.compile(
    r"\b(he|she|they|him|her|them|it|his|its|their|there|that one|this one|this person|that person)\b", re.I
)


def recover_queries(
    dialogs: Sequence[Dialog], complete: Complete, shown: Demonstrations | None = None, *, shots: int = SHOTS
) -> list[str]:
    """The query of each dialog, by a model. "" where it wrote none.

    complete  of an Llm or a Cached, with temperature 0
    """
    shown = shown or load_demonstrations()
    requests = [Request(recovery_messages(dialog.turns, shown, shots)) for dialog in dialogs]
    queries = [""] * len(dialogs)
    for place, answer in complete(requests):
        queries[place] = clean_query(answer.text)
    return queries


def clean_query(text: str) -> str:
    """The query in a model's answer: its first line of substance without label, quotes and explanations after it."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("```")]
    while len(lines) > 1 and _BEFORE.match(lines[0]):
        del lines[0]
    if not lines:
        return ""
    line = _LABEL.sub("", lines[0]).strip()
    if not line and len(lines) > 1:
        line = lines[1]
    if quoted := re.match(
        r"^[\"\u201c`]([^\"\u201c\u201d`]{3,})[\"\u201d`](?=\W*$|\s*[-(\u2013\u2014]|\s+(?:This|Note|The|It)\b)", line
    ):
        line = quoted.group(1)
    ends = re.search(r"\?[\"'\u201d]?(?=\s+[(\u2013\u2014-]|\s+(?:This|Note|Explanation|The query|It)\b)", line)
    if ends:
        line = line[: ends.end()]
    line = _EXPLANATION.sub("", line) if "?" not in line else line
    return one_line(line.strip().strip(_QUOTES).strip())


def rule_query(turns: Sequence[Turn]) -> str:
    """The last turn, with its first pronoun replaced by what an earlier user turn mentioned last. By rules only."""
    last = turns[-1].text.strip()
    found = _SUBJECT_OBJECT.search(last)
    mention = _last_mention(turns[:-1])
    if mention is None:
        return last
    if about := re.match(r"^(?:and|what about|how about|same for)\b\s*(.*?)\??$", last, re.I):
        earlier = turns[-3].text if len(turns) > 2 else ""
        if earlier and about.group(1) and len(about.group(1).split()) < 8 and mention.text in earlier:
            return earlier.replace(mention.text, re.sub(r"^(?:about|for|in)\s+", "", about.group(1)), 1)
    if found is None:
        return last
    word = found.group().lower()
    name = mention.text
    if word in _POSSESSIVE or (word == "her" and re.match(r"\s+[a-z]", last[found.end() :])):
        name += "'s"
    if word == "there":
        name = f"in {name}"
    return last[: found.start()] + name + last[found.end() :]


def rule_queries(dialogs: Sequence[Dialog]) -> list[str]:
    """rule_query of each dialog."""
    return [rule_query(dialog.turns) for dialog in dialogs]


def _last_mention(turns: Sequence[Turn]) -> Mention | None:
    for turn in reversed(turns):
        if turn.role == "user" and not _SUBJECT_OBJECT.search(turn.text):
            mentions = [m for m in parse(turn.text).mentions if m.kind != "time"]
            if mentions:
                return max(mentions, key=lambda m: m.end - m.start)
    return None
