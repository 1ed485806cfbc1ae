"""How near predicted queries are to human rewrites: per turn, in the mean, by source and depth, and between systems.

For a system S, the human-trained reference H and the copy baseline C (the last turn), with the means of one score:

    relative performance = S / H          gap closed = (S - C) / (H - C)

Copying already reaches most of H, so that the ratio flatters and the gap closed does not. Intervals are percentile
bootstrap intervals over whole conversations, whose turns are alike; all systems are resampled together (paired).
Lead with F: recall alone rewards long queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ttft.errors import ConfigError, MissingArtifact, install_hint
from ttft.q2d.records import Example
from ttft.q2d.similarity import Embed, by_embedding
from ttft.q2d.text import norm, rouge1

RESAMPLES = 2000
BASELINES: dict[str, Callable[[Example], str]] = {
    "last turn": lambda one: one.turns[-1].text,
    "all user turns": lambda one: " ".join(turn.text for turn in one.turns if turn.role == "user"),
    "whole history": lambda one: " ".join(turn.text for turn in one.turns),
    "gold rewrite": lambda one: one.target,
}
"""Queries that need no model, to stand beside every system."""


@dataclass(frozen=True)
class Scores:
    """Of each turn, 0..1, arrays (n,): ROUGE-1 F and recall, equality of the texts in lower case, equality of their
    normal forms, and cosine of their embeddings or None."""

    targets: tuple[str, ...]
    predictions: tuple[str, ...]
    f: np.ndarray
    recall: np.ndarray
    exact: np.ndarray
    exact_norm: np.ndarray
    sbert: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def part(self, rows: np.ndarray) -> Scores:
        """The scores of these rows (indices)."""
        pick = lambda texts: tuple(texts[row] for row in rows)  # noqa: E731
        sbert = None if self.sbert is None else self.sbert[rows]
        arrays = (self.f[rows], self.recall[rows], self.exact[rows], self.exact_norm[rows], sbert)
        return Scores(pick(self.targets), pick(self.predictions), *arrays)


def score(targets: Sequence[str], predictions: Sequence[str], embed: Embed | None = None) -> Scores:
    """The scores of predictions against targets, in the same order; a missing prediction is "".

    embed: texts -> unit vectors, for the cosine. Raises ConfigError for different lengths, MissingArtifact without
    rouge-score.
    """
    if len(targets) != len(predictions):
        raise ConfigError(f"{len(predictions):,} predictions for {len(targets):,} targets", "give one per target")
    pairs = list(zip(targets, predictions, strict=True))
    both = np.array([rouge1(*pair) for pair in pairs]).reshape(-1, 2)
    exact = np.array([one.strip().lower() == other.strip().lower() for one, other in pairs], float)
    exact_norm = np.array([norm(one) == norm(other) for one, other in pairs], float)
    sbert = None if embed is None else np.array(by_embedding(embed)(pairs))
    return Scores(tuple(targets), tuple(predictions), both[:, 0], both[:, 1], exact, exact_norm, sbert)


@dataclass(frozen=True)
class Summary:
    """Means in percent; bleu: sacreBLEU of the corpus; sbert: mean cosine x 100, None without an embedder."""

    n: int
    f: float
    recall: float
    exact: float
    exact_norm: float
    bleu: float
    sbert: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summary(scores: Scores) -> Summary:
    """Raises ConfigError if there are no scores, MissingArtifact without sacrebleu."""
    if not len(scores):
        raise ConfigError("there is nothing to score", "give at least one turn with a rewrite")
    percent = lambda values: 100 * float(values.mean())  # noqa: E731
    return Summary(
        len(scores),
        percent(scores.f),
        percent(scores.recall),
        percent(scores.exact),
        percent(scores.exact_norm),
        bleu(scores.targets, scores.predictions),
        None if scores.sbert is None else percent(scores.sbert),
    )


def bleu(targets: Sequence[str], predictions: Sequence[str]) -> float:
    """sacreBLEU of a corpus with its defaults, 0..100. Raises MissingArtifact without sacrebleu."""
    try:
        from sacrebleu import corpus_bleu
    except ImportError:
        raise MissingArtifact("BLEU needs the package sacrebleu", install_hint("q2d")) from None
    return corpus_bleu(list(predictions), [list(targets)]).score


def depth_group(example: Example) -> str:
    """How deep in its conversation a turn is: "2", "3-4", "5-7" or "8+" user turns; "1" has no history."""
    for most, name in ((1, "1"), (2, "2"), (4, "3-4"), (7, "5-7")):
        if example.depth <= most:
            return name
    return "8+"


def by_group(
    examples: Sequence[Example], scores: Scores, group: Callable[[Example], str] = lambda one: one.source
) -> dict[str, Summary]:
    """The summaries of the examples' groups, by default their sources; `depth_group` is another one."""
    names = np.array([group(one) for one in examples], dtype=object)
    return {str(name): summary(scores.part(np.flatnonzero(names == name))) for name in sorted(set(names))}


# ---- systems beside each other -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A value with its 95% interval; nan where it cannot be computed."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        return {key: number if np.isfinite(number) else None for key, number in asdict(self).items()}


@dataclass(frozen=True)
class Comparison:
    """A system beside a reference and the copy baseline: mean of its score, mean difference to the reference, relative
    performance and gap closed (1 is the reference). Gap closed is nan where the interval of reference minus copy holds
    0."""

    mean: Interval
    difference: Interval
    relative: Interval
    gap_closed: Interval

    def to_json(self) -> dict[str, dict[str, float | None]]:
        parts = ("mean", "difference", "relative", "gap_closed")
        return {name: getattr(self, name).to_json() for name in parts}


def resampled_means(
    values: Mapping[str, np.ndarray], conversations: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, np.ndarray]:
    """Means over bootstrap resamples of whole conversations, (resamples,) each; the same resamples for all systems.
    nan for fewer than two conversations.

    values: of each system, (n,) in the order of `conversations`.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(conversations))}
    if len(names) < 2:  # one conversation says nothing about others
        return {key: np.full(resamples, np.nan) for key in values}
    groups = np.array([names[name] for name in conversations])
    counts = np.bincount(groups, minlength=len(names)).astype(float)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    turns = drawn @ counts
    return {key: drawn @ np.bincount(groups, one, len(names)) / turns for key, one in values.items()}


def compare(
    system: np.ndarray,
    reference: np.ndarray,
    copy: np.ndarray,
    conversations: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Scores (n,) of a system, the human-trained reference and the copy baseline on the same turns -> Comparison.

    conversations (n,): what each turn belongs to; give every turn its own name where there are none.
    """
    values = {"s": system, "h": reference, "c": copy}
    s, h, c = (float(one.mean()) for one in values.values())
    means = resampled_means(values, conversations, resamples=resamples, seed=seed)
    rs, rh, rc = means["s"], means["h"], means["c"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, gap = rs / rh, (rs - rc) / (rh - rc)
    wider = _interval(h - c, rh - rc)
    there_is_a_gap = h != c and not wider.low <= 0 <= wider.high  # a share of what may be nothing says nothing
    nothing = Interval(np.nan, np.nan, np.nan)
    return Comparison(
        _interval(s, rs),
        _interval(s - h, rs - rh),
        _interval(s / h if h else np.nan, ratio),
        _interval((s - c) / (h - c), gap) if there_is_a_gap else nothing,
    )


def mean_interval(
    values: np.ndarray, conversations: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The mean of (n,) scores with its interval."""
    means = resampled_means({"": values}, conversations, resamples=resamples, seed=seed)[""]
    return _interval(float(values.mean()), means)


def _interval(value: float, resampled: np.ndarray) -> Interval:
    if not np.isfinite(resampled).all():
        return Interval(float(value), np.nan, np.nan)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Interval(float(value), float(low), float(high))
