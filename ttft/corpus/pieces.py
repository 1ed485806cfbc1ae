"""Texts -> Documents: pieces of a text, cut at line ends or spaces without losing a byte."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ttft.records import Document


@dataclass(frozen=True, slots=True)
class Text:
    """One whole text of a source. `id` is the "id" field of its record, else its "_id" (as in BEIR), if there is one;
    `turns`: (role, text) of a dialog, if it is a prompt that is one."""

    text: str
    subset: str
    source: str
    id: str | None = None
    turns: tuple[tuple[str, str], ...] = ()


def cut(text: str, size: int) -> list[str]:
    """Pieces of at most `size` characters that joined are exactly the text; [] for "".

    A piece ends after the last newline in the second half of the window, else after the last white space there, else at
    `size`. "\\r\\n" is never split (with size 1 it is a piece of 2). Raises ValueError if size < 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    found, start = [], 0
    while start < len(text):
        end, half = start + size, text[start + size // 2 : start + size]
        if end < len(text):
            words = half.split("\n") if "\n" in half else re.split(r"\s", half)
            end -= len(words[-1]) if len(words) > 1 else 0
            if text[end - 1 : end + 1] == "\r\n":
                end += -1 if end - 1 > start else 1
        found.append(text[start:end])
        start = end
    return found


def pieces(texts: Iterable[Text], size: int) -> Iterator[Document]:
    """Cut texts into Documents (see `cut`). The Documents of a text joined are that text.

    A piece of nothing but white space is joined to the piece before it (at the start: to the first piece), which may
    then exceed `size`. A text of nothing but white space, which no reader here yields, has no Document. Raises
    ValueError if size < 1.
    """
    for text in texts:
        groups: list[list[str]] = []
        blank: list[str] = []
        for part in cut(text.text, size):
            if not part.isspace():
                groups.append([*blank, part])
                blank = []
            else:
                (groups[-1] if groups else blank).append(part)
        for number, group in enumerate(groups):
            yield Document("".join(group), text.subset, text.source, number)
