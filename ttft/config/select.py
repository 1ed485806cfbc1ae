"""Options of `ttft select`, and those it shares with `ttft finetune-eval`: prompts and selection."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ttft.config.index import CorpusFields, EffortFields
from ttft.defaults import lambda_for


class SelectionFields(CorpusFields, EffortFields):
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
    strategy: Literal["sift", "itl", "nearest", "nearest-failure", "mmr", "hull", "uncertainty", "uniform"] = "sift"
    """How texts are chosen."""
    n: int = Field(20, ge=0)
    """Texts to choose, one gradient step each; the most, where a rule may stop sooner."""
    k: Annotated[int, Field(ge=1)] | Literal["all"] = 200
    """Nearest neighbours among which to choose; all: the whole index, in one pass for every text that sift takes."""
    lambda_: Annotated[float, Field(gt=0)] | Literal["auto"] | None = None
    """SIFT's noise: small spreads, large stays near; auto: from each pool. Default: vetted for the embedder, else
    0.01"""
    relevance: float = Field(0.5, ge=0, le=1)
    """Of mmr: the weight of nearness against redundancy; 1 is nearest neighbours."""
    stop: Literal["never", "uncertainty", "calibrated"] | None = None
    """When SIFT ends before n: never, by the paper's rule (needs alpha), or by a policy of `ttft calibrate`."""
    alpha: float | None = Field(None, gt=0)
    """The paper's rule: stop when sigma_n > 1/(alpha n). Giving it means --stop uncertainty."""
    policy: str | None = None
    """File made by `ttft calibrate`: the gain to expect of a step. Giving it means --stop calibrated."""
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
    def _rules_fit_together(self) -> Self:
        if self.strategy != "sift" and (self.alpha or self.policy or self.stop not in (None, "never")):
            raise ValueError(
                f"alpha, policy and stop are rules of SIFT and do nothing for {self.strategy}; leave them out"
            )
        if self.alpha is not None and self.policy is not None:
            raise ValueError("alpha and policy are two rules; give one of them")
        if self.stop == "uncertainty" and self.alpha is None:
            raise ValueError("stop uncertainty needs alpha: --alpha 0.3 (the paper: 0.15 to 0.5)")
        if self.stop == "calibrated" and self.policy is None:
            raise ValueError(
                "stop calibrated needs a policy: ttft calibrate RUN --out policy.json, then --policy policy.json"
            )
        if (self.stop == "never" and (self.alpha or self.policy)) or (self.stop == "uncertainty" and self.policy):
            raise ValueError(f"stop {self.stop} contradicts {'policy' if self.policy else 'alpha'}; leave one out")
        return self

    @model_validator(mode="after")
    def _a_pool_has_a_spectrum(self) -> Self:
        if self.k == "all" and (self.lambda_ == "auto" or self.strategy not in ("sift", "nearest", "uniform")):
            raise ValueError("k all is for sift, nearest and uniform, and needs a number for lambda; give -k 200")
        return self

    def rule(self) -> str:
        """Which stopping rule holds: never, uncertainty or calibrated."""
        return self.stop or ("uncertainty" if self.alpha is not None else "calibrated" if self.policy else "never")

    def lambda_for(self, embedder: str) -> float | Literal["auto"]:
        """lambda as asked for, else as vetted for this embedder, else the paper's."""
        return self.lambda_ if self.lambda_ is not None else lambda_for(embedder)


class SelectConfig(SelectionFields):
    """Prompts -> chosen texts, on standard output."""

    texts: bool = True
    """Put the chosen texts into the JSON lines."""
    explain: bool = False
    """Show beside it what nearest neighbour would have taken, with the redundancy and the sigma curve of both."""

    @model_validator(mode="after")
    def _explain_compares(self) -> Self:
        if self.explain and self.strategy == "nearest":
            raise ValueError("explain compares a strategy with nearest; choose another --strategy, such as sift")
        return self
