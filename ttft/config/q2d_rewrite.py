"""Options of `ttft q2d rewrite`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft.config.base import Config


class RewriteConfig(Config):
    """Dialogs -> search queries, as JSON lines."""

    dialogs: str | None = None
    """File of dialogs, one JSON object per line with turns (role and text, or just texts) or messages (chat format), or
    - for standard input."""
    turn: list[str] | None = None
    """A turn of a single dialog; repeat the option, oldest first: the user's, the assistant's, ..., the user's."""
    model: str
    """What writes the queries: a folder made by `ttft q2d train`, a causal language model that can follow an
    instruction, or a baseline: last-turn, user-turns, history."""
    n: int = Field(1, ge=1, le=64)
    """Number of different queries per dialog, at most."""
    out: str | None = None
    """File to write to, when all queries are there. Default: standard output, batch by batch."""
    lenient: bool = False
    """Join several turns of the user in a row and drop empty turns, with a note, where it would else be an error."""
    batch: int | None = Field(None, ge=1, le=4096)
    """Dialogs to rewrite at a time. Default: 16 of a file; 1 of standard input, where a line is answered before the
    next one is read."""
    max_new_tokens: int | None = Field(None, ge=1, le=100_000)
    """Maximum length of a query in tokens. Default: what the model was trained with."""
    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:0 or mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type for computation; auto is bfloat16 where the hardware supports it, else float32."""

    @model_validator(mode="after")
    def _one_source_of_dialogs(self) -> Self:
        if (self.dialogs is None) == (self.turn is None):
            raise ValueError("give a file of DIALOGS (- for standard input) or one dialog with --turn, not both")
        return self
