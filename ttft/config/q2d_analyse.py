"""Options of `ttft q2d analyse`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ttft.config.base import MOST_SEED, Config


class Q2dAnalyseConfig(Config):
    """What generated dialogs are like, beside human ones; and whether people, or a model, can tell them apart."""

    dialogs: str | None = None
    """Folder of `ttft q2d filter` or `ttft q2d generate`, or a JSONL file of dialogs. Dropped ones are left out."""
    against: str | None = None
    """File of human conversations with rewrites to compare with, such as QReCC's or CANARD's."""
    form: str | None = None
    """Form of the human conversations. Default: found from the records."""
    out: str | None = None
    """JSON file for the numbers."""

    sheet: str | None = None
    """CSV file to write: human and generated dialogs in random order, for people to guess at. Its key goes into a
    file beside it, NAME.key.json."""
    items: int = Field(50, ge=1, le=100_000)
    """Dialogs of each kind on the sheet."""
    score: str | None = None
    """Sheet that was filled in, to score: the column guess holds human or machine."""
    judge: str | None = None
    """Ask this language model (the URL of an OpenAI-compatible endpoint, or a local model) instead of people."""
    judge_model: str | None = None
    """Name of the model at the judge's endpoint."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the judge's API key."""

    device: str = "auto"
    """Device to run a local judge on: auto, cpu, cuda, cuda:0 or mps."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Random seed."""

    @model_validator(mode="after")
    def _what_belongs_together(self) -> Self:
        if (self.dialogs is None) == (self.score is None):
            raise ValueError("give the dialogs to analyse, or a filled sheet with --score, not both")
        if self.against is None and (self.sheet or self.judge):
            raise ValueError("a blind sheet and a judge need human dialogs: --against FILE")
        return self
