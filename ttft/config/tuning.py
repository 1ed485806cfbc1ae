"""Options of the commands that fine-tune on chosen texts: which model, and how it is trained."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft import defaults
from ttft.config.select import SelectionFields
from ttft.defaults import Training


class TuningFields(SelectionFields):
    """What is trained on the chosen texts, and how."""

    model: str = "embedded"
    """A causal language model: embedded (ships with ttft), smollm2 (make smollm2), a Hugging Face name, a folder or a
    .gguf file."""
    model_revision: str | None = None
    """Commit or branch of the model on the hub."""
    max_length: int | None = Field(None, ge=8)
    """Window in tokens, of training texts and of scoring. Default: the model's longest input, at most 2048."""
    method: defaults.Method | None = None
    """LoRA on the projections, full (all weights), or in-context: the texts stand before the prompt and nothing is
    trained. Default: lora."""
    start_from: str | None = None
    """A LoRA adapter in PEFT's format (a folder) that every prompt begins from, of any rank."""
    rank: int | None = Field(None, ge=1)
    """Rank of LoRA; default: vetted for the embedded model, else 16."""
    lora_alpha: float | None = Field(None, gt=0)
    """LoRA's scale is lora_alpha/rank, with rslora lora_alpha/sqrt(rank); default: rank."""
    rslora: bool | None = None
    """rsLoRA's scale, which does not shrink as the rank grows; default: vetted for the embedded model, else not."""
    vocabulary: Literal["off", "lora"] | None = None
    """With LoRA, the embedding and output matrix: left alone, or updated in low rank."""
    lr: float | None = Field(None, gt=0)
    """Adam's learning rate; default: vetted for the embedded model, else 5e-5 (the papers') for full, 5e-4 for LoRA."""
    warm_down: float | None = Field(None, gt=0, le=1)
    """The rate of a prompt's last step relative to its first, linear between; 1: constant. Default: vetted, else 1."""
    reuse: int = Field(1, ge=1)
    """Of a text chosen several times in a row, compute the gradient only every reuse-th time (HullFT); 1: each time."""
    slots: int | None = Field(None, ge=1)
    """With LoRA, how many prompts are trained side by side; their results do not depend on it. Default: by memory."""

    @model_validator(mode="after")
    def _vocabulary_goes_with_lora(self) -> Self:
        if self.method == "full" and self.vocabulary == "lora":
            raise ValueError("method full trains the vocabulary anyway; leave --vocabulary out")
        return self

    @model_validator(mode="after")
    def _a_start_is_trained_on(self) -> Self:
        if self.start_from is not None and self.method == "in-context":
            raise ValueError("start_from: method in-context trains nothing; leave it out")
        return self

    def training(self) -> Training:
        """How the weights are trained, as asked for; where nothing is said, what defaults.py says for this model."""
        asked = {name: getattr(self, name) for name in ("rank", "rslora", "vocabulary", "lr", "warm_down")}
        return defaults.training_for(defaults.named_model(self.model), self.method, **asked)
