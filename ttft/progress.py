"""How the library reports progress: it calls functions that the caller passes in, and prints nothing itself.

Functions that may take long have two optional arguments: `on_progress` is called with a `Progress` after each bit of
work, and `on_note` with a sentence for the user (the index is incomplete, a prompt was truncated). By default both do
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of one stage of the work.

    stage   what is being done, such as "embedding" or "fine-tuning"
    unit    what is counted, such as "pieces" or "steps"
    total   None if it is not known yet
    detail  more about the current state, such as "12 of 150 prompts"
    """

    stage: str
    done: int
    total: int | None
    unit: str
    detail: str = ""


OnProgress = Callable[[Progress], None]
OnNote = Callable[[str], None]


def ignore(_: Any) -> None:
    """The default of `on_progress` and `on_note`."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun, for messages: "1 piece", "1,024 pieces". plural: if it is not noun + "s"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
