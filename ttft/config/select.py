"""Options of `ttft select`, and the options on prompts and selection that other commands share."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ttft import defaults
from ttft.config.base import MOST_FLOAT, MOST_SEED, MOST_TEXTS
from ttft.config.index import CorpusFields, EffortFields


class SelectionFields(CorpusFields, EffortFields):
    """The prompts, and how texts are selected for them."""

    index: str
    """Index folder made by `ttft index`."""
    prompts: str | None = None
    """File of prompts, in any format that `ttft index` reads, or - for standard input."""
    prompt: str | None = None
    """A single prompt, given as text."""
    max_prompts: int | None = Field(None, ge=1, le=10**12)
    """Use at most this many prompts."""
    max_prompt_chars: int | None = Field(None, ge=1, le=10**12)
    """Use only the beginning of each prompt: its first piece of at most this many characters."""
    embedder: str | None = None
    """Encoder for the prompts. It must be the one the index was built with, which is the default."""
    strategy: defaults.Strategy = defaults.STRATEGY
    """Selection strategy."""
    n: int = Field(defaults.N, ge=0, le=MOST_TEXTS)
    """Number of texts to select; fine-tuning takes one gradient step on each. With a stopping rule, the maximum."""
    k: Annotated[int, Field(ge=1, le=10_000_000)] | Literal["all"] = defaults.K
    """Size of the pool of nearest neighbours to select from. all: the whole index, which sift reads once per text it
    selects."""
    lambda_: Annotated[float, Field(gt=0, le=MOST_FLOAT)] | Literal["auto"] | None = None
    """SIFT's noise: a smaller value favours diversity, a larger one favours the nearest neighbours; auto: estimated
    from each pool. Default: 1 with minilm, else 0.01 (the paper's)."""
    relevance: float = Field(defaults.RELEVANCE, ge=0, le=1)
    """With strategy mmr: weight of relevance against redundancy; 1 is nearest neighbours."""
    stop: Literal["never", "uncertainty", "calibrated"] | None = None
    """When SIFT stops before n texts: never; by the paper's uncertainty rule (needs --alpha); or by a calibrated policy
    (needs --policy). Default: the rule that --alpha or --policy implies, else never."""
    alpha: float | None = Field(None, gt=0, le=MOST_FLOAT)
    """The paper's stopping rule: stop when sigma_n > 1/(alpha n). Implies --stop uncertainty."""
    policy: str | None = None
    """Policy file made by `ttft calibrate`, which predicts the gain of the next step. Implies --stop calibrated."""
    query: defaults.Query = defaults.QUERY
    """How a long prompt is embedded: windows embeds all of its pieces (SIFT sums over them), first only the first
    piece, as the papers do."""
    rewrite: str | None = None
    """What writes the search query of prompts that are dialogs (records with turns or messages): a folder made by
    `ttft q2d train`, a causal language model, or last-turn, user-turns or history. Default: the last turn."""
    rewrites: int = Field(1, ge=1, le=64)
    """With --rewrite: number of queries per dialog. Those after the first also search for candidates (reciprocal rank
    fusion); texts are selected for the first."""
    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:0 or mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type for computation; auto is bfloat16 where the hardware supports it, else float32."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Random seed."""
    trust_remote_code: bool = False
    """Allow model code that comes with a checkpoint to run."""

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
                f"alpha, policy and stop are stopping rules of SIFT and have no effect on {self.strategy}; "
                "leave them out"
            )
        if self.alpha is not None and self.policy is not None:
            raise ValueError("alpha and policy are different stopping rules; give only one of them")
        if self.stop == "uncertainty" and self.alpha is None:
            raise ValueError("stop uncertainty needs alpha, such as --alpha 0.3 (the paper uses 0.15 to 0.5)")
        if self.stop == "calibrated" and self.policy is None:
            raise ValueError(
                "stop calibrated needs a policy: ttft calibrate RUN --out policy.json, then --policy policy.json"
            )
        if (self.stop == "never" and (self.alpha or self.policy)) or (self.stop == "uncertainty" and self.policy):
            raise ValueError(f"stop {self.stop} contradicts {'policy' if self.policy else 'alpha'}; leave one out")
        return self

    @model_validator(mode="after")
    def _queries_are_rewritten(self) -> Self:
        if self.rewrites > 1 and self.rewrite is None:
            raise ValueError("rewrites is the number of queries that --rewrite MODEL makes; give a model")
        return self

    @model_validator(mode="after")
    def _a_pool_has_a_spectrum(self) -> Self:
        if self.k == "all" and (self.lambda_ == "auto" or self.strategy not in ("sift", "nearest", "uniform")):
            raise ValueError("k all works with sift, nearest and uniform, and a number for lambda; or give -k 200")
        return self

    def rule(self) -> str:
        """The stopping rule in effect: never, uncertainty or calibrated."""
        return self.stop or ("uncertainty" if self.alpha is not None else "calibrated" if self.policy else "never")


class SelectConfig(SelectionFields):
    """Prompts -> selected texts, on standard output."""

    texts: bool = True
    """Include the selected texts in the JSON lines."""
    explain: bool = False
    """Compare the selection with what nearest neighbours would have selected: redundancy and sigma of both."""

    @model_validator(mode="after")
    def _explain_compares(self) -> Self:
        if self.explain and self.strategy == "nearest":
            raise ValueError("explain compares a strategy with nearest; give another one, such as --strategy sift")
        return self
