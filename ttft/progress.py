"""How the library tells how far long work is: it calls a function of the caller's, and prints nothing itself.

Functions that take long have two optional arguments: `on_progress`, called with a `Progress` whenever something was
done, and `on_note`, called with a sentence that a person should read (an index that is unfinished, a prompt that was
cut). Both do nothing by default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of one stage of the work.

    stage   what is being done: "embedding", "fine-tuning"
    unit    what is counted: "pieces", "steps"
    total   None where nobody knows it yet
    detail  what else is known at this moment, in words: "12 of 150 prompts"
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
