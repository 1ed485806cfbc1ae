"""The threshold of the intent filter, from pairs of which it is known whether they ask the same.

Positives are pairs of the same intent (two people's rewrites of a question), negatives pairs of another one (two
rewrites from one dialog, which share names and topic, are hard; pairs drawn at random are easy). For a threshold tau, a
pair is taken for the same if its similarity is >= tau. The area under the ROC curve (AUC) is the probability that a
positive pair is more alike than a negative one, ties counted by half:

    AUC = (R - P (P+1) / 2) / (P N),  R the sum of the ranks of the P positives among all P + N, ties averaged.

Chosen is the threshold of the grid with the largest kept - accepted (Youden's J), the smaller one of two: a positive
that is dropped and a negative that is accepted count alike. With ROUGE-1 it is 0.60, which is also the largest one that
keeps 90% of the positives. With a similarity that separates worse that other rule is of no use: MiniLM keeps 90% at
0.65 and there accepts half of the hard negatives. `keep` asks for it all the same. Our choice: the paper does not tell
its threshold.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ttft.errors import CorpusError
from ttft.q2d.conversation_forms import OTHERS_MAY_FOLLOW
from ttft.q2d.reading import Row, read_rows, typed

Pairs = list[tuple[str, str]]
PAIR_HINT = 'a pair is a list of two texts, or {"a": text, "b": text, "same": true or false}'
STEP = 0.05


@dataclass(frozen=True)
class Point:
    """A threshold, and the shares of the positive and of the negative pairs with a similarity of at least that."""

    tau: float
    kept: float
    accepted: float


@dataclass(frozen=True)
class Calibration:
    """The curve of a similarity. `chosen` is a threshold of `points`."""

    auc: float
    chosen: float
    keep: float | None
    positives: int
    negatives: int
    points: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Area under the ROC curve, ties averaged. Raises CorpusError if there is none of either."""
    check_pairs(positives, negatives)
    order = np.sort(np.asarray(negatives, float))
    below = np.searchsorted(order, positives, "left").sum()
    not_above = np.searchsorted(order, positives, "right").sum()
    return float((below + not_above) / 2 / (len(positives) * len(negatives)))


def calibrate(
    positives: Sequence[float], negatives: Sequence[float], *, keep: float | None = None, step: float = STEP
) -> Calibration:
    """The curve over thresholds 0, step, 2 step, ... 1 from the similarities of both kinds of pairs.

    keep  choose the largest threshold that keeps this share of the positives; None: the one of Youden's J

    Raises CorpusError if there are no pairs of either kind.
    """
    area = auc(positives, negatives)
    same, other = np.asarray(positives, float), np.asarray(negatives, float)
    taus = [round(number * step, 10) for number in range(round(1 / step) + 1)]
    points = tuple(Point(tau, float((same >= tau).mean()), float((other >= tau).mean())) for tau in taus)
    if keep is None:
        chosen = max(points, key=lambda point: point.kept - point.accepted).tau  # the first of equal ones
    else:
        chosen = max((point.tau for point in points if point.kept >= keep), default=0.0)
    return Calibration(area, chosen, keep, len(same), len(other), points)


def pairs_within(groups: Mapping[str, Sequence[str]], seed: int = 0) -> Pairs:
    """Hard negatives: for every text of a group another one of the same group, drawn at random. A text that is drawn
    with itself, or with one that is equal in lower case, gives no pair."""
    rng = random.Random(seed)
    pairs = []
    for texts in groups.values():
        for place, text in enumerate(texts):
            drawn = rng.randrange(len(texts))
            if drawn != place and texts[drawn].lower() != text.lower():
                pairs.append((text, texts[drawn]))
    return pairs


@dataclass(frozen=True)
class _Labelled:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    a: str
    b: str
    same: bool = True


def read_query_pairs(path: Path) -> tuple[Pairs, Pairs]:
    """(pairs of the same intent, pairs of another one) of a file: a list or lines of [a, b], which count as the same,
    or of {"a", "b", "same"}.

    Raises CorpusError that names the place of what is neither.
    """
    same: Pairs = []
    other: Pairs = []
    for where, value in read_rows(path):
        if isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value):
            same.append((value[0], value[1]))
        elif isinstance(value, dict) and {"a", "b"} <= value.keys():
            pair = typed(_Labelled, Row(where, value))
            (same if pair.same else other).append((pair.a, pair.b))
        else:
            raise CorpusError(f"{where} is not a pair of texts", PAIR_HINT)
    return same, other


def check_pairs(positives: Sequence[object], negatives: Sequence[object]) -> None:
    """Raises CorpusError if there is nothing of either kind."""
    if not len(positives) or not len(negatives):
        missing = "of another intent" if len(positives) else "of the same intent"
        raise CorpusError(f"there are no pairs {missing} to calibrate with", f"{PAIR_HINT}; or give --negatives FILE")


def is_query_pairs(path: Path) -> bool:
    """Whether the first record of a file is a pair of texts."""
    first = read_rows(path)[0].value
    return isinstance(first, list) or (isinstance(first, dict) and {"a", "b"} <= first.keys())
