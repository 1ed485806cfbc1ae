"""Options of `ttft finetune-eval`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft.config.select import SelectionFields
from ttft.config.vetted import training_for


class FinetuneEvalConfig(SelectionFields):
    """Prompts -> chosen texts -> fine-tuned model -> bits per byte, in a run folder."""

    out: str
    """Folder of the run; running the same command again does only what is missing there."""
    model: str = "embedded"
    """A causal language model: embedded (ships with ttft), a Hugging Face name or a folder."""
    model_revision: str | None = None
    """Commit or branch of the model on the hub."""
    max_length: int | None = Field(None, ge=8)
    """Window in tokens, of training texts and of scoring; default: the model's longest input."""
    method: Literal["lora", "full"] | None = None
    """LoRA on the projections, or all weights; default: vetted for the embedded model, else lora."""
    rank: int | None = Field(None, ge=1)
    """Rank of LoRA; default: vetted for the embedded model, else 16."""
    lora_alpha: float | None = Field(None, gt=0)
    """LoRA's scale is lora_alpha/rank; default: rank, so 1."""
    vocabulary: Literal["off", "lora"] | None = None
    """With LoRA, the embedding and output matrix: left alone, or updated in low rank."""
    lr: float | None = Field(None, gt=0)
    """Adam's learning rate; default: vetted for the embedded model, else 5e-5 (the papers') for full, 5e-4 for LoRA."""
    warm_down: float | None = Field(None, gt=0, le=1)
    """The rate of a prompt's last step relative to its first, linear between; 1: constant. Default: vetted, else 1."""
    slots: int | None = Field(None, ge=1)
    """With LoRA, how many prompts are trained side by side; their results do not depend on it. Default: by memory."""
    budget_steps: int | None = Field(None, ge=0)
    """Steps for all prompts together, each where it promises most (by --policy, or by SIFT's variance); n for one."""
    score: Literal["whole", "suffix"] = "whole"
    """whole: the scored text also retrieves (the papers' setting). suffix: a prefix retrieves, the rest is scored."""
    split: float = Field(0.5, gt=0, lt=1)
    """With suffix: the share of characters that is the prefix."""
    score_at: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 50)
    """Steps after which a prompt is scored; 0 (the base) and a prompt's last step always are."""
    score_dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute type of scoring. float32 is exact; bfloat16, with LoRA, also halves the frozen weights' memory."""

    @model_validator(mode="after")
    def _vocabulary_goes_with_lora(self) -> Self:
        if self.method == "full" and self.vocabulary == "lora":
            raise ValueError("method full trains the vocabulary anyway; leave --vocabulary out")
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

    def rule(self) -> str:
        return "never" if self.budget_steps is not None else super().rule()

    def training(self) -> dict:
        """How the weights are trained, as asked for; where silent, what config/vetted.py says for this model."""
        vetted = training_for(self.model, self.method)
        asked = {name: getattr(self, name) for name in vetted if getattr(self, name) is not None}
        return vetted | asked
