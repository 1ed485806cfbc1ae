"""Options of `ttft select`, and those it shares with `ttft finetune-eval`: prompts and selection."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft.config.index import CorpusFields
from ttft.config.vetted import PAPER_LAMBDA, VETTED_LAMBDA


class SelectionFields(CorpusFields):
    """Which prompts, and which texts for them."""

    index: str
    """Folder of an index made by `ttft index`."""
    prompts: str | None = None
    """File of prompts (the formats of a corpus), or - for standard input."""
    prompt: str | None = None
    """One prompt, given as text."""
    max_prompts: int | None = Field(None, ge=1)
    """Stop after this many prompts."""
    max_prompt_chars: int | None = Field(None, ge=1)
    """Use only the first piece of at most this many characters of each prompt."""
    embedder: str | None = None
    """The index's own encoder; naming another than the index was made with is an error."""
    strategy: Literal["sift", "nearest", "uniform"] = "sift"
    """How texts are chosen."""
    n: int = Field(20, ge=0)
    """Texts to choose, one gradient step each; the most, where a rule may stop sooner."""
    k: int = Field(200, ge=1)
    """Nearest neighbours among which to choose."""
    lambda_: float | None = Field(None, gt=0)
    """SIFT's observation noise: small spreads, large stays near; default: vetted for the embedder, else the paper's."""
    alpha: float | None = Field(None, gt=0)
    """Adaptive SIFT: stop when sigma_n > 1/(alpha n). Default: always take n."""
    query: Literal["windows", "first"] = "windows"
    """Long prompts: embed all their pieces (SIFT sums over them), or only the first, as the papers do."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:0, mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute type; auto is bf16 where the hardware has it."""
    seed: int = 0
    """Seed of everything random."""
    trust_remote_code: bool = False
    """Run model code that comes with a checkpoint."""

    @model_validator(mode="after")
    def _one_source_of_prompts(self) -> Self:
        if self.prompt is not None and self.prompts is not None:
            raise ValueError("give --prompt TEXT or --prompts FILE, not both")
        if self.prompt is not None and not self.prompt.strip():
            raise ValueError("the prompt is empty; give some text: --prompt 'def quicksort(items):'")
        return self

    @model_validator(mode="after")
    def _alpha_goes_with_sift(self) -> Self:
        if self.alpha is not None and self.strategy != "sift":
            raise ValueError(f"alpha is the adaptive rule of SIFT and does nothing for {self.strategy}; leave it out")
        return self

    def lambda_for(self, embedder: str) -> float:
        """lambda as asked for, else as vetted for this embedder, else the paper's."""
        return self.lambda_ if self.lambda_ is not None else VETTED_LAMBDA.get(embedder, PAPER_LAMBDA)


class SelectConfig(SelectionFields):
    """Prompts -> chosen texts, on standard output."""

    texts: bool = True
    """Put the chosen texts into the JSON lines."""
