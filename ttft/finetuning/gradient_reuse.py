"""Gradient Reuse (HullFT, Khamis & Maalouf 2026, arXiv 2605.30337): a repeated text's gradient is not computed anew
every time.

A text that stands J times in a row takes J steps of Adam. Steps 0, r, 2r, ... of the row compute its gradient at the
weights as they are then; a step between them hands Adam the last one again. Adam's moments and its count of steps go on
in each. The row costs ceil(J / r) forward and backward passes instead of J; r = 1 computes every gradient.
"""

from __future__ import annotations

from collections.abc import Sequence


def computed(texts: Sequence[str], reuse: int) -> list[bool]:
    """Per step, whether its gradient is computed; if not, that of the step before serves again. reuse is r >= 1."""
    steps: list[bool] = []
    repeats = 0
    for place, text in enumerate(texts):
        repeats = repeats + 1 if place > 0 and text == texts[place - 1] else 0
        steps.append(repeats % reuse == 0)
    return steps
