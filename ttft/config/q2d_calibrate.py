"""Options of `ttft q2d calibrate`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ttft import defaults
from ttft.config.base import MOST_SEED, Config


class Q2dCalibrateConfig(Config):
    """Pairs of queries that ask the same, and pairs that do not -> the threshold of the intent filter."""

    pairs: str
    """File of pairs: a JSON list or JSON lines of [a, b], which ask the same, such as CANARD's multiple_refs.json; or
    JSON lines of {"a", "b", "same": true or false}."""
    negatives: str | None = None
    """Pairs that do not ask the same: such a file, of which every [a, b] is one; or human conversations with rewrites
    (CANARD's dev.json, QReCC, CAsT, ...), of which pairs from one conversation are drawn. Not needed if PAIRS holds
    them (same: false)."""
    similarity: Literal["rouge", "sbert"] = "rouge"
    """How queries are compared: ROUGE-1 F of their words, or the cosine of their embeddings."""
    embedder: str = defaults.EMBEDDER
    """With --similarity sbert: encoder, as for `ttft index`."""
    keep: float | None = Field(None, gt=0, le=1)
    """Choose the largest threshold that keeps this share of the pairs that ask the same. Default: the threshold that
    best tells both kinds apart (largest kept - accepted)."""
    step: float = Field(0.05, ge=0.001, le=0.5)
    """Distance of the thresholds on the curve."""
    out: str | None = None
    """JSON file for the curve."""
    device: str = defaults.DEVICE
    """With --similarity sbert: device to run on: auto, cpu, cuda, cuda:0 or mps."""
    seed: int = Field(defaults.SEED, ge=0, le=MOST_SEED)
    """Random seed for the pairs drawn from conversations."""
