"""The records that pass between stages. Frozen; every one of them can be written as one line of JSON.

corpus -> Document | Prompt;  selection -> Selection;  finetuning + evaluation -> Result.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Document:
    """One piece of a corpus text: what is embedded, indexed and trained on.

    `source` is "file:line" (or "file", or "dataset:row"); `piece` counts the cuts of one text from 0.
    The pieces of a text, joined in order, are the text.
    """

    text: str
    subset: str
    source: str
    piece: int = 0

    @property
    def digest(self) -> bytes:
        """What equal texts share: 16 bytes of BLAKE2b. Among 210 million differing texts two are alike with 1e-22."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text to be answered or scored. `id` is unique within a run and is the key by which a run resumes."""

    id: str
    text: str
    subset: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen for one prompt, in training order.

    ids            row numbers in the index, repeats allowed
    scores         the strategy's own score of each pick (cosine for nearest, variance reduction for SIFT)
    cosines        cosine of each pick to the prompt (its largest, where the prompt has several vectors)
    sigma          posterior standard deviation of the prompt after 0..n picks; sigma[0] before any
    stopped_because  "n" (all asked for were taken), "uncertainty" (the adaptive rule), "pool" (nothing left)
    seconds        by stage: embed, search, select
    pool           what there was to choose from: rows, and how many of them are copies of another or near to one
                   (cosine 0.95); {} where that was the whole index
    """

    prompt_id: str
    strategy: str
    parameters: dict
    ids: list[int]
    scores: list[float]
    cosines: list[float]
    sigma: list[float]
    stopped_because: str
    seconds: dict[str, float]
    pool: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Result:
    """What fine-tuning did for one prompt.

    steps and nats have equal length: nats[i] is the negative log-likelihood (natural log) of the scored text after
    steps[i] gradient steps (in-context: with steps[i] texts before it); steps[0] is 0, the base model. bytes and tokens
    are those of exactly the scored text.
    kept is "tuned" or "base": which model answers (without a guard: "tuned" whenever steps[-1] > 0).
    guard  with --guard and --mix: scale (of the update, 0 is the base), known (nats of the known text by scale) and
    tuned_nats (of the scored text under the whole update); with a scale between 0 and 1 nats[-1] is at that scale
    failed says why the base answers where a loss or a score was not finite; "" where nothing failed.
    """

    prompt_id: str
    subset: str
    text_sha256: str
    model: str
    adapter: dict
    ids: list[int]
    sigma: list[float]
    steps: list[int]
    nats: list[float]
    bytes: int
    tokens: int
    kept: str
    losses: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    guard: dict = field(default_factory=dict)

    def to_json(self) -> dict:
        return asdict(self)
