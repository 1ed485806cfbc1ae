"""Texts as the model reads them in training: one prefix token and the tokens, in windows, padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ttft.finetuning.loss import IGNORED

OVERHEAD = 192  # tokens that a pass costs beyond its own: measured with the embedded model on two cores
STEP = 64  # widths are multiples of it: libraries prepare their products anew for every shape they have not seen


@dataclass(frozen=True)
class Text:
    """A tokenised text: ids with the prefix token in front, cut to windows of `window` tokens; every token but the
    prefix is a target once. A long text is still one step: no part of it is dropped."""

    ids: list[int]
    window: int

    @property
    def tokens(self) -> int:
        return len(self.ids) - 1

    @property
    def rows(self) -> int:
        return max(1, -(-self.tokens // self.window))

    @property
    def width(self) -> int:
        """Tokens of a row, padding included."""
        return min(self.window, max(1, -(-self.tokens // STEP)) * STEP)


@dataclass(frozen=True)
class Batch:
    """Texts of one or several slots: inputs and targets (rows, T), the slot and the weight of a token of each row."""

    inputs: torch.Tensor
    targets: torch.Tensor
    slots: list[int]
    weights: list[float]
    order: list[int]

    def per_slot(self, values: Sequence[float]) -> dict[int, float]:
        """Values of rows, summed over the rows of each slot."""
        sums = dict.fromkeys(self.order, 0.0)
        for slot, value in zip(self.slots, values, strict=True):
            sums[slot] += value
        return sums


def tokenise(tokenizer: Any, text: str, window: int, prefix_token: int) -> Text:
    return Text([prefix_token, *tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]], window)


def make_batch(texts: dict[int, Text]) -> Batch:
    """One batch of one text per slot. Padding has the target IGNORED."""
    return _batch([(slot, text, 1.0 / max(1, text.tokens)) for slot, text in texts.items()], list(texts))


def joint_batch(texts: Sequence[Text], slot: int = 0) -> Batch:
    """One batch of several texts for one slot: its loss is the mean over all their tokens."""
    weight = 1.0 / max(1, sum(text.tokens for text in texts))
    return _batch([(slot, text, weight) for text in texts], [slot])


def _batch(parts: Sequence[tuple[int, Text, float]], order: list[int]) -> Batch:
    """The rows of (slot, text, weight of a token)."""
    width = max(text.width for _, text, _ in parts)
    rows = sum(text.rows for _, text, _ in parts)
    inputs = torch.zeros((rows, width), dtype=torch.long)
    targets = torch.full((rows, width), IGNORED)
    slots: list[int] = []
    weights: list[float] = []
    for slot, text, weight in parts:
        for start in range(0, max(1, text.tokens), text.window):
            window = torch.tensor(text.ids[start : start + text.window + 1])
            inputs[len(slots), : max(0, len(window) - 1)] = window[:-1]
            targets[len(slots), : max(0, len(window) - 1)] = window[1:]
            slots.append(slot)
            weights.append(weight)
    return Batch(inputs, targets, slots, weights, order)


def passes(texts: dict[int, Text], most: int, overhead: int = OVERHEAD) -> list[dict[int, Text]]:
    """Cut a round into passes: every text once, texts of like length together.

    Sorted by length, cut where the sum over passes of (rows x longest + overhead) tokens is least, with at most `most`
    padded tokens a pass, unless one text has more by itself. Equal lengths keep the order of the slots.
    """
    order = sorted(texts, key=lambda slot: (texts[slot].width, slot))
    best, cut = [0.0], [0]  # best[i]: least cost of the first i texts; their last pass begins at cut[i]
    for end in range(1, len(order) + 1):
        width, rows = texts[order[end - 1]].width, 0
        best.append(float("inf"))
        cut.append(end - 1)
        for begin in range(end - 1, -1, -1):
            rows += texts[order[begin]].rows
            if rows * width > most and begin < end - 1:
                break
            if best[begin] + rows * width + overhead < best[end]:
                best[end], cut[end] = best[begin] + rows * width + overhead, begin
    groups, end = [], len(order)
    while end:
        groups.append({slot: texts[slot] for slot in order[cut[end] : end]})
        end = cut[end]
    return groups[::-1]
