"""Options of `ttft finetune-eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from ttft import defaults
from ttft.config.backend import BackendFields
from ttft.config.tuning import TuningFields
from ttft.jobs import JobText


class FinetuneEvalConfig(TuningFields, BackendFields):
    """Prompts -> chosen texts -> fine-tuned model -> bits per byte, in a run folder."""

    out: str
    """Folder of the run; running the same command again does only what is missing there."""
    job: JobText | None = None
    """i/n: job i of n does the prompts number i, i+n, i+2n, ..., each into an --out of its own; report joins them."""
    budget_steps: int | None = Field(None, ge=0)
    """Steps for all prompts together, each where it promises most (by --policy, or by SIFT's variance); n for one."""
    score: Literal["whole", "suffix"] = "whole"
    """whole: the scored text also retrieves (the papers' setting). suffix: a prefix retrieves, the rest is scored."""
    split: float = Field(defaults.PREFIX_SHARE, gt=0, lt=1)
    """With suffix: the share of characters that is the prefix."""
    guard: bool = False
    """With suffix: keep the base where the update made the prefix less likely."""
    mix: bool = False
    """With suffix: keep of the update the share (0, 1/4 to 1) under which the prefix is most likely."""
    guard_part: float = Field(defaults.GUARD_PART, gt=0, le=1)
    """The share of the prefix, its last part, that judges the update: it is most like the suffix."""
    guard_margin: float = Field(defaults.GUARD_MARGIN, ge=0, lt=1)
    """The share of the base's nats on it that an update must save to be kept; the chosen texts flatter the prefix.
    Chosen on 120 validation documents that are not reported: the largest that costs at most a tenth of the gain."""
    score_at: tuple[int, ...] = defaults.SCORE_AT
    """Steps (in-context: texts) after which a prompt is scored; 0 (the base) and a prompt's last always are."""
    save_adapters: str | None = None
    """Folder for each prompt's LoRA adapter in PEFT's format, a folder each by the prompt's id. A guard changes nothing
    in it: it holds the whole update. A job has a folder of its own below it: job-1-of-8."""
    score_dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute type of scoring. float32 is exact; bfloat16, with LoRA, also halves the frozen weights' memory."""

    @model_validator(mode="after")
    def _guards_need_known_text(self) -> Self:
        if (self.guard or self.mix) and self.score != "suffix":
            raise ValueError("guard and mix judge an update by known text, the prefix; add --score suffix")
        if self.guard and self.mix:
            raise ValueError("mix includes guard; give one of them")
        if (self.guard or self.mix) and self.method == "in-context":
            raise ValueError("method in-context makes no update to judge; leave guard and mix out")
        return self

    @model_validator(mode="after")
    def _steps_are_counts(self) -> Self:
        if any(s < 0 for s in self.score_at):
            raise ValueError("score_at holds a negative number of steps")
        return self

    @model_validator(mode="after")
    def _budget_is_a_rule_of_its_own(self) -> Self:
        if self.budget_steps is not None and (
            self.strategy != "sift" or self.alpha is not None or self.stop is not None
        ):
            raise ValueError("budget_steps spreads the steps of SIFT by itself; leave strategy, alpha and stop out")
        return self

    @model_validator(mode="after")
    def _adapters_are_of_lora(self) -> Self:
        if self.save_adapters is not None and self.training().method != "lora":
            raise ValueError(f"save_adapters needs LoRA: method {self.training().method} leaves no adapter")
        return self

    def adapters(self) -> Path | None:
        """The folder of --save-adapters; a job's own, so that it is never written by two."""
        if self.save_adapters is None:
            return None
        own = f"job-{self.job.replace('/', '-of-')}" if self.job else ""
        return Path(self.save_adapters) / own

    def rule(self) -> str:
        return "never" if self.budget_steps is not None else super().rule()
