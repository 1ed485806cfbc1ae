"""First, do no harm: decides how much of an update to keep, by its effect on known text.

Fine-tuning on retrieved texts helps most prompts and harms some. In suffix scoring the prefix is known: comparing its
likelihood under the tuned and the base model indicates what the update will do to the suffix. `--guard` considers two
candidates, the full update (scale 1) and none (scale 0); `--mix` also considers scales in between, which multiply the
difference of the trained parameters from their start. Ours, not a paper's; PonderTTT (arXiv 2601.00894) gates updates
by a loss in a similar way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ttft import defaults
from ttft.errors import ConfigError
from ttft.evaluation import Encoded, Score, encode, split_prompt

GUARD = (0.0, 1.0)
MIX = (0.0, 0.25, 0.5, 0.75, 1.0)


def choose_scale(nats: Mapping[float, float], margin: float = 0.0) -> float:
    """The scale with the fewest nats on the known text; 0 unless they are below (1 - margin) times the base's.

    nats    of the same known text, by scale; 0 must be among them. Ties go to the smaller scale, and nats that are not
            finite are never chosen
    margin  fraction of the base's nats that the update must save
    """
    finite = {scale: value for scale, value in nats.items() if math.isfinite(value)}
    best = min(sorted(finite), key=finite.__getitem__, default=0.0)
    return best if finite.get(best, math.inf) < (1.0 - margin) * nats[0.0] else 0.0


@dataclass(frozen=True)
class Guard:
    """How an update is judged.

    mix     also consider scales between the base and the full update
    part    fraction of the prefix, taken from its end, on which the update is judged
    margin  see `choose_scale`
    Raises ConfigError for a part or margin outside 0 to 1.
    """

    mix: bool = False
    part: float = defaults.GUARD_PART
    margin: float = defaults.GUARD_MARGIN

    def __post_init__(self) -> None:
        if not 0 < self.part <= 1 or not 0 <= self.margin < 1:
            raise ConfigError(
                f"guard: part is {self.part} and margin {self.margin}", "0 < part <= 1 and 0 <= margin < 1"
            )

    @property
    def scales(self) -> tuple[float, ...]:
        return MIX if self.mix else GUARD

    def known(self, tokenizer: Any, prefix: str) -> Encoded:
        """The last part of a prefix, conditioned on the text before it."""
        before, last = split_prompt(prefix, 1.0 - self.part)
        return encode(tokenizer, last, before)

    def judge(
        self, known: Encoded, scored: Mapping[float, Score], answer: Encoded,
        score: Callable[[float, Encoded], Score],
    ) -> Verdict:  # fmt: skip
        """Choose a scale by the known text, and score the answer at that scale.

        scored  existing scores of the answer by scale: base (0) and full update (1)
        score   scores a text under the update times a scale
        """
        nats = {scale: score(scale, known).nats for scale in self.scales}
        chosen = choose_scale(nats, self.margin)
        at_chosen = scored[chosen] if chosen in scored else score(chosen, answer)
        if not math.isfinite(at_chosen.nats):
            chosen, at_chosen = 0.0, scored[0.0]
        return Verdict(chosen, nats, at_chosen)


@dataclass(frozen=True)
class Verdict:
    """A guard's decision for a prompt: the chosen scale, the nats of the known text by scale, and the answer's score at
    the chosen scale."""

    scale: float
    known: dict[float, float]
    answer: Score

    def known_finite(self) -> dict[str, float | None]:
        """The nats of the known text by scale, rounded, for the result record; None where they are not finite."""
        return {str(scale): round(nats, 4) if math.isfinite(nats) else None for scale, nats in self.known.items()}
