"""Options of `ttft q2d export`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ttft.config.base import MOST_SEED, Config


class Q2dExportConfig(Config):
    """Dialogs as a data set with splits and a card."""

    dialogs: str
    """Folder of `ttft q2d filter` or `ttft q2d generate`, or a JSONL file of dialogs. Dropped ones are left out."""
    out: str
    """Folder for the data set; it must not be there yet."""
    format: Literal["jsonl", "parquet", "datasets"] = "jsonl"
    """jsonl or parquet: one file per split, as the Hugging Face Hub reads them; datasets: for load_from_disk."""
    shares: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.8, 0.1, 0.1)  # fmt: skip  # noqa: E501
    """Shares of train, validation and test; 0 leaves a split out. No question is in two of them."""
    name: str | None = None
    """Name of the data set on its card. Default: the name of the folder."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Seed of the splits."""

    @model_validator(mode="after")
    def _some_share(self) -> Self:
        if not any(self.shares):
            raise ValueError("shares: one of them must be above 0")
        return self
