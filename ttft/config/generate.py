"""Options of `ttft generate`."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from ttft import defaults
from ttft.config.base import MOST_FLOAT
from ttft.config.tuning import TuningFields

SAMPLING = ("temperature", "top_k", "top_p")


class GenerateConfig(TuningFields):
    """Prompts -> selected texts -> fine-tuned model -> its answers, on standard output."""

    max_new_tokens: int = Field(defaults.MAX_NEW_TOKENS, ge=1, le=1_000_000)
    """Maximum length of an answer in tokens. It ends earlier at an end-of-sequence token."""
    do_sample: bool = False
    """Sample the tokens instead of greedy decoding."""
    temperature: float | None = Field(None, gt=0, le=MOST_FLOAT)
    """With --do-sample: sampling temperature. Default: from the model's generation config, else 1."""
    top_k: int | None = Field(None, ge=0, le=10**9)
    """With --do-sample: sample from the k most likely tokens; 0 means all. Default: from the model's generation config,
    else 50."""
    top_p: float | None = Field(None, gt=0, le=1)
    """With --do-sample: sample from the most likely tokens whose probabilities add up to this. Default: from the
    model's generation config, else 1."""
    repetition_penalty: float | None = Field(None, gt=0, le=MOST_FLOAT)
    """Penalty on tokens that have already occurred; 1 is none. Default: from the model's generation config, else 1."""
    compare: bool = False
    """Also show the base model's answer, before that of the fine-tuned model."""
    json_lines: bool = False
    """Print one JSON line per answer when it is complete, instead of streaming plain text."""

    @model_validator(mode="after")
    def _sampling_is_asked_for(self) -> Self:
        given = [name for name in SAMPLING if getattr(self, name) is not None]
        if given and not self.do_sample:
            raise ValueError(f"{', '.join(given)} has no effect without sampling; add --do-sample")
        return self

    @model_validator(mode="after")
    def _room_for_a_prompt(self) -> Self:
        if self.max_length is not None and self.max_new_tokens >= self.max_length:
            raise ValueError(f"max_new_tokens must be below max_length ({self.max_length}), to leave room for a prompt")
        return self

    def decoding(self) -> dict[str, Any]:
        """The arguments for transformers' `generate`, without those left to the model's generation config."""
        names = ("max_new_tokens", "do_sample", *SAMPLING, "repetition_penalty")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}
