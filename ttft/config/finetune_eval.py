"""Options of `ttft finetune-eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ttft import defaults
from ttft.config.backend import BackendFields
from ttft.config.base import MOST_TEXTS
from ttft.config.tuning import TuningFields
from ttft.jobs import JobText


class FinetuneEvalConfig(TuningFields, BackendFields):
    """Prompts -> selected texts -> fine-tuned model -> bits per byte, in a run folder."""

    out: str
    """Run folder. Running the same command again resumes: prompts with a result are skipped."""
    job: JobText | None = None
    """i/n: run as job i of n, on prompts i, i+n, i+2n, ... Give each job its own --out; `ttft report` joins them."""
    budget_steps: int | None = Field(None, ge=0, le=10**12)
    """Total number of gradient steps over all prompts. Each step goes to the prompt with the largest expected gain, by
    --policy or else by SIFT's variance; no prompt gets more than n."""
    score: Literal["whole", "suffix"] = "whole"
    """What is scored. whole: the prompt that was used for retrieval (the papers' setting). suffix: retrieve with a
    prefix of the prompt and score only the rest, so that nothing leaks."""
    split: float = Field(defaults.PREFIX_SHARE, gt=0, lt=1)
    """With --score suffix: fraction of the characters that make up the prefix."""
    guard: bool = False
    """With --score suffix: fall back to the base model where the update makes the prefix less likely."""
    mix: bool = False
    """With --score suffix: scale the update by the factor (0, 1/4, 1/2, 3/4 or 1) that makes the prefix most likely."""
    guard_part: float = Field(defaults.GUARD_PART, gt=0, le=1)
    """With guard or mix: fraction of the prefix that the update is judged on, taken from its end, which is most like
    the suffix."""
    guard_margin: float = Field(defaults.GUARD_MARGIN, ge=0, lt=1)
    """With guard or mix: fraction of the base model's nats on that part that an update must save to be kept. It is
    above 0 because the texts were selected for the prefix. The default was chosen on 120 validation documents: the
    largest margin that costs at most a tenth of the gain."""
    score_at: tuple[Annotated[int, Field(ge=0, le=MOST_TEXTS)], ...] = defaults.SCORE_AT
    """Numbers of steps after which to score a prompt (in-context: numbers of texts). Step 0, the base model, and the
    last step are always scored."""
    save_adapters: str | None = None
    """Folder to save the LoRA adapters to, in PEFT's format: one subfolder per prompt, named by its id. With --job they
    go into a subfolder such as job-1-of-8. guard and mix do not affect what is saved: the full update."""
    score_dtype: Literal["float32", "bfloat16"] = "float32"
    """Data type for scoring. float32 is exact; bfloat16 with LoRA also halves the memory for the frozen weights."""

    @model_validator(mode="after")
    def _guards_need_known_text(self) -> Self:
        if (self.guard or self.mix) and self.score != "suffix":
            raise ValueError("guard and mix judge an update on the prefix, which only exists with --score suffix")
        if self.guard and self.mix:
            raise ValueError("mix includes guard; give only one of them")
        if (self.guard or self.mix) and self.method == "in-context":
            raise ValueError("method in-context makes no update that guard or mix could judge; leave them out")
        return self

    @model_validator(mode="after")
    def _budget_is_a_rule_of_its_own(self) -> Self:
        if self.budget_steps is not None and (
            self.strategy != "sift" or self.alpha is not None or self.stop is not None
        ):
            raise ValueError(
                "budget_steps needs strategy sift and decides when to stop; leave strategy, alpha, stop out"
            )
        return self

    @model_validator(mode="after")
    def _adapters_are_of_lora(self) -> Self:
        if self.save_adapters is not None and self.training().method != "lora":
            raise ValueError(f"save_adapters needs LoRA: method {self.training().method} has no adapter to save")
        return self

    def adapters(self) -> Path | None:
        """The folder for adapters: a job gets its own subfolder, so that no two processes write to the same one."""
        if self.save_adapters is None:
            return None
        own = f"job-{self.job.replace('/', '-of-')}" if self.job else ""
        return Path(self.save_adapters) / own

    def rule(self) -> str:
        return "never" if self.budget_steps is not None else super().rule()
