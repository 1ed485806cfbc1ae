"""How many dialogs each filter drops, and how much like their queries the last turns of the kept ones are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ttft.q2d.records import Dialog
from ttft.q2d.similarity import rouge_f

HUMAN_DECILES = (0.43, 0.50, 0.57, 0.63, 0.67, 0.73, 0.77, 0.80, 0.86)
"""ROUGE-1 F of last turn and human rewrite in the 1,633 turns with a context of InfoCQR's QReCC (q2d.md, section 8)."""


@dataclass(frozen=True)
class Step:
    """A filter: how many dialogs it drops, how many no other filter drops, and how many are left after it and all
    filters before it."""

    name: str
    dropped: int
    only: int
    left: int


@dataclass(frozen=True)
class Funnel:
    """last_turn_deciles: of ROUGE-1 F of last turn and query over the kept dialogs, () if there are none. A filter of
    the intent that is too strict keeps copies of the query only: compare HUMAN_DECILES."""

    total: int
    kept: int
    steps: tuple[Step, ...]
    notes: dict[str, int]
    last_turn_deciles: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def funnel_of(dialogs: Sequence[Dialog], rules: Sequence[str]) -> Funnel:
    """The funnel of filtered dialogs. rules: the filters that were applied, in their order."""
    alive = list(dialogs)
    steps = []
    for name in rules:
        alive = [dialog for dialog in alive if name not in dialog.reasons]
        only = sum(dialog.reasons == (name,) for dialog in dialogs)
        steps.append(Step(name, sum(name in dialog.reasons for dialog in dialogs), only, len(alive)))
    notes = Counter(note for dialog in dialogs for note in dialog.notes)
    kept = [dialog for dialog in dialogs if not dialog.reasons]
    return Funnel(len(dialogs), len(kept), tuple(steps), dict(sorted(notes.items())), last_turn_deciles(kept))


def last_turn_deciles(dialogs: Sequence[Dialog]) -> tuple[float, ...]:
    """Deciles 1 to 9 of ROUGE-1 F of last turn and query: the values at k n / 10 of the n sorted ones."""
    values = sorted(rouge_f(dialog.query, dialog.turns[-1].text) for dialog in dialogs if dialog.turns)
    return tuple(values[k * len(values) // 10] for k in range(1, 10)) if values else ()
