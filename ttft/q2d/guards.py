"""What a model wrote as a query: tidied, and refused where it cannot be one. Ours, not the paper's.

The checks follow what users of such models complain about: a query in another language, an answer in place of a query,
words of something else, a loop. They are cheap and need no model; a query that passes may still be a bad one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise

from ttft.q2d.records import NO_SEARCH, Turn
from ttft.q2d.text import content_words

LONGEST_QUERY = 400  # characters; human rewrites have about sixty
MOST_WORDS = 60
LOOP = re.compile(r"(.{3,40}?)\1{3,}")  # four times the same
SAME_SCRIPT = 0.2  # least share of a query's letters in the script of the dialog, unless all of it stands in the dialog
STEM = 5  # letters of a word that count: "founded" is found in "founding"
_LABEL = re.compile(r"^\s*\**(search query|standalone question|rewritten query|rewrite|query)\**\s*[:\-]\s*\**", re.I)
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "«": "»", "„": "“", "*": "*"}
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "HALFWIDTH", "FULLWIDTH")
_NO_SPACES = ("EAST ASIAN", "THAI", "LAO", "KHMER", "MYANMAR")


def tidy(output: str) -> str:
    """The query in a model's output: its first line without a label, quotes and control characters."""
    text = output.strip()
    if text.startswith("{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(text)
            text = value["query"] if isinstance(value, dict) and isinstance(value.get("query"), str) else text
    line = next((line for line in text.splitlines() if line.strip()), "")
    line = _LABEL.sub("", "".join(" " if unicodedata.category(c) == "Cc" else c for c in line)).strip()
    while len(line) > 1 and _QUOTES.get(line[0]) == line[-1]:
        line = line[1:-1].strip()
    return line


def is_no_search(query: str) -> bool:
    return query.strip(" .!\"'").upper() == NO_SEARCH


def fault(query: str, turns: Sequence[Turn]) -> str:
    """Why a query cannot be that of a dialog, as the end of a sentence; "" where nothing speaks against it."""
    if not query:
        return "it is empty"
    if len(query) > LONGEST_QUERY or len(query.split()) > MOST_WORDS:
        return f"it is too long ({len(query):,} characters)"
    if not any(char.isalnum() for char in query):
        return "it has no words"
    if loops(query):
        return "it repeats itself"
    said = " ".join(turn.text for turn in turns)
    there, made = units(said), units(query)
    known = made & there
    script, share = main_script(turn.text for turn in turns if turn.role == "user"), scripts(query)
    if script and share and share.get(script, 0) < SAME_SCRIPT * sum(share.values()) and known != made:
        return f"it is in {max(share, key=share.__getitem__).lower()} script, the dialog in {script.lower()}"
    return "" if known else "it has no content word of the dialog"


def loops(query: str) -> bool:
    """Whether a part of at least three characters stands there four times in a row, or few words make up most of it."""
    lower = query.lower()
    if any(char.isalpha() for found in LOOP.finditer(lower + " ") for char in found[1]):
        return True
    words = lower.split()
    return len(words) >= 12 and len(set(words)) < len(words) / 2


def units(text: str) -> set[str]:
    """What two texts are compared by: beginnings of content words; in scripts without spaces, pairs of letters."""
    found = {word[:STEM] for word in content_words(text)}
    letters = [(char, script_of(char)) for char in unicodedata.normalize("NFKC", text)]
    unspaced = [char if script in _NO_SPACES else " " for char, script in letters]
    if any(char != " " for char in unspaced):
        found = {word for word in found if script_of(word[0]) not in _NO_SPACES}
        found |= {a + b for a, b in pairwise(unspaced) if " " not in (a, b)}
    return found


def main_script(texts: Iterable[str]) -> str:
    """The script of most letters, "" where there are none."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(scripts(text))
    return max(counts, key=counts.__getitem__) if counts else ""


def scripts(text: str) -> Counter[str]:
    """The letters of a text by script. Chinese characters and kana are one script: Japanese mixes them."""
    counts: Counter[str] = Counter()
    for char, number in Counter(text).items():
        if script := script_of(char):
            counts[script] += number
    return counts


def script_of(char: str) -> str:
    """The script of a letter or its mark, by the first word of its Unicode name; "" for any other character."""
    if char.isascii():
        return "LATIN" if char.isalpha() else ""
    if unicodedata.category(char)[0] not in "LM":
        return ""
    first = unicodedata.name(char, "").split(" ")[0]
    return "EAST ASIAN" if first in _EAST_ASIAN else "" if first in ("COMBINING", "MODIFIER") else first
