"""--guard and --mix of finetune-eval: the known part of each prompt judges the update before its suffix is answered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ttft.commands.tuning import Tuner
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.runtime import Timer

if TYPE_CHECKING:
    from ttft.evaluation import Encoded, Score
    from ttft.finetuning.engine import Trace


@dataclass(frozen=True)
class Verdict:
    """What the guard saw and chose for a prompt: nats of the known text by scale, and the suffix's at the chosen."""

    scale: float
    known: dict[float, float]
    answer: Score

    def to_json(self) -> dict:
        return {"scale": self.scale, "known": {str(scale): round(nats, 4) for scale, nats in self.known.items()}}


class Guard:
    """Known text of every prompt, encoded; `judge` is called when a prompt has taken its last step."""

    def __init__(self, config: FinetuneEvalConfig, tuner: Tuner) -> None:
        from ttft.finetuning.guard import GUARD, MIX

        self.config, self.tuner = config, tuner
        self.scales = MIX if config.mix else GUARD

    def known(self, prefix: str) -> Encoded:
        """The last part of a prefix, conditioned on what stands before it."""
        from ttft.evaluation import encode, split_prompt

        before, last = split_prompt(prefix, 1.0 - self.config.guard_part)
        return encode(self.tuner.tokenizer, last, before)

    def judge(self, trace: Trace, slot: int, prefix: str, suffix: Encoded) -> Verdict:
        """Weigh the update of this slot, and score the suffix at the scale that wins; the time is evaluation's."""
        from ttft.finetuning.guard import choose_scale

        known, timer = self.known(prefix), Timer(str(self.tuner.learner.device))
        with timer("evaluate"):
            nats = {scale: self._score(slot, scale, known).nats for scale in self.scales}
            chosen = choose_scale(nats, self.config.guard_margin)
            scored = {0.0: trace.scores[0], 1.0: trace.scores[max(trace.scores)]}
            answer = scored[chosen] if chosen in scored else self._score(slot, chosen, suffix)
            if not math.isfinite(answer.nats):
                chosen, answer = 0.0, trace.scores[0]
        trace.seconds["evaluate"] += timer.seconds["evaluate"]
        return Verdict(chosen, nats, answer)

    def _score(self, slot: int, scale: float, text: Encoded) -> Any:
        from ttft.evaluation import score

        with self.tuner.learner.scoring(slot, scale) as model:
            return score(model, text, max_length=self.tuner.window)
