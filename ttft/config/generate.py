"""Options of `ttft generate`."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from ttft import defaults
from ttft.config.tuning import TuningFields

SAMPLING = ("temperature", "top_k", "top_p")


class GenerateConfig(TuningFields):
    """Prompts -> chosen texts -> fine-tuned model -> its answers, on standard output."""

    max_new_tokens: int = Field(defaults.MAX_NEW_TOKENS, ge=1)
    """Longest answer in tokens; it ends sooner at the model's end token."""
    do_sample: bool = False
    """Draw the tokens; else always the likeliest."""
    temperature: float | None = Field(None, gt=0)
    """With do_sample: below 1 nearer to the likeliest. Default: the model's own, else 1."""
    top_k: int | None = Field(None, ge=0)
    """With do_sample: draw among this many tokens; 0: among all. Default: the model's own, else 50."""
    top_p: float | None = Field(None, gt=0, le=1)
    """With do_sample: draw among the likeliest tokens that together have this probability. Default: the model's own,
    else 1."""
    repetition_penalty: float | None = Field(None, gt=0)
    """Above 1 speaks against tokens that are there already. Default: the model's own, else 1."""
    compare: bool = False
    """Give the base model's answer, too, before the tuned one's."""
    json_lines: bool = False
    """Answers as JSON lines, each when it is complete; else as plain text while it is made."""

    @model_validator(mode="after")
    def _sampling_is_asked_for(self) -> Self:
        given = [name for name in SAMPLING if getattr(self, name) is not None]
        if given and not self.do_sample:
            raise ValueError(f"{', '.join(given)} does nothing without sampling; give --do-sample, too")
        return self

    @model_validator(mode="after")
    def _room_for_a_prompt(self) -> Self:
        if self.max_length is not None and self.max_new_tokens >= self.max_length:
            raise ValueError(f"max_new_tokens must be less than max_length ({self.max_length}), to leave a prompt room")
        return self

    def decoding(self) -> dict[str, Any]:
        """The options of transformers' `generate`, without those that are left to the model."""
        names = ("max_new_tokens", "do_sample", *SAMPLING, "repetition_penalty")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}
