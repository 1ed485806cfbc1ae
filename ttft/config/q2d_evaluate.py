"""Options of `ttft q2d evaluate`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft.config.base import MOST_SEED, Config


class Q2dEvaluateConfig(Config):
    """Queries of models and baselines, scored against human rewrites and by what they retrieve."""

    data: str
    """File of human conversations: with rewrites to score the queries' text (QReCC, CANARD, CAsT, AdaQR, InfoCQR,
    MTRAG), or with judgements to score what they retrieve."""
    out: str
    """Folder for predictions.jsonl, results.json, results.csv and the TREC run files. The same command again goes on
    where it ended."""
    models: list[str] = Field(default_factory=list)
    """What writes the queries: a folder made by `ttft q2d train`, or a causal language model; may be repeated. The
    baselines (last-turn, user-turns, history) are always evaluated too."""
    reference: str | None = None
    """One of the models, trained on human data: the others' scores are given relative to it, and as the share of the
    gap between it and the last turn that they close."""
    collection: str | None = None
    """Index of the passages to retrieve, made by `ttft index COLLECTION.jsonl` of records with _id and text."""
    qrels: list[str] = Field(default_factory=list)
    """File of judgements of the turns' ids (BEIR or TREC form); may be repeated."""

    form: str | None = None
    """Form of the conversations. Default: found from the records."""
    max_examples: int | None = Field(None, ge=1, le=10**9)
    """Evaluate only this many turns, drawn with the seed. Default: all."""
    n: int = Field(1, ge=1, le=64)
    """Queries per turn. With more than one, retrieval is also scored with their rankings fused."""
    k: int = Field(5, ge=1, le=100)
    """Number of passages that nDCG and recall look at."""
    similarity: Literal["minilm", "none"] = "none"
    """Embedder for the cosine of query and rewrite (SBERT); none leaves it out."""
    max_new_tokens: int | None = Field(None, ge=1, le=100_000)
    """Maximum length of a query in tokens. Default: what the model was trained with."""

    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:0 or mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type for computation; auto is bfloat16 where the hardware supports it, else float32."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Random seed."""

    @model_validator(mode="after")
    def _what_belongs_together(self) -> Self:
        if (self.collection is None) != (not self.qrels):
            raise ValueError("retrieval needs both --collection INDEX and --qrels FILE")
        if self.reference is not None and self.reference not in self.models:
            raise ValueError("reference must be one of the models: give it with --model too")
        if len(set(self.models)) < len(self.models):
            raise ValueError("models: one of them is given twice")
        return self
