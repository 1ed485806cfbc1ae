"""Options of the commands that fine-tune on chosen texts: which model, and how it is trained."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft.config.select import SelectionFields
from ttft.defaults import training_for


class TuningFields(SelectionFields):
    """What is trained on the chosen texts, and how."""

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

    def training(self) -> dict:
        """How the weights are trained, as asked for; where silent, what defaults.py says for this model."""
        vetted = training_for(self.model, self.method)
        asked = {name: getattr(self, name) for name in vetted if getattr(self, name) is not None}
        return vetted | asked
