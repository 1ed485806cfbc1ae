"""The records that pass between stages. Frozen; each can be written as one line of JSON.

corpus -> Document | Prompt;  selection -> Selection;  finetuning + evaluation -> Result.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Document:
    """One piece of a corpus text: what is embedded, indexed and trained on.

    `source` is "file:line" (or "file", or "dataset:row"); `piece` numbers the pieces of one text from 0.
    Joined in order, the pieces of a text are exactly that text.
    """

    text: str
    subset: str
    source: str
    piece: int = 0

    @property
    def digest(self) -> bytes:
        """16 bytes of BLAKE2b of the text, for finding exact duplicates. The probability of any collision among 210
        million different texts is about 1e-22."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text to answer or score. `id` is unique within a run; a resumed run skips the ids that have results."""

    id: str
    text: str
    subset: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """The texts selected for one prompt, in training order.

    ids            row numbers in the index, repeats allowed
    scores         the strategy's own score of each pick (cosine for nearest, variance reduction for SIFT)
    cosines        cosine of each pick to the prompt (the largest, if the prompt has several vectors)
    sigma          posterior standard deviation of the prompt after 0..n picks; sigma[0] before any
    stopped_because  "n" (all n were selected), "uncertainty" (the adaptive rule), "gain" (the calibrated rule),
                   "budget" (cut by --budget-steps), "pool" (nothing left)
    seconds        by stage: embed, search, select
    pool           size and redundancy of the pool: rows, copies of another row, and near copies (cosine >= 0.95); {} if
                   the pool was the whole index
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
    guard  with --guard or --mix: scale (of the update; 0 is the base), known (nats of the known text by scale) and
    tuned_nats (of the scored text under the full update); with a scale between 0 and 1, nats[-1] is at that scale
    failed says why the base model answers, if a loss or score was not finite; else "".
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

    @property
    def base_nats(self) -> float:
        """Nats of the scored text under the base model: nats[0]."""
        return self.nats[0]

    @property
    def final_nats(self) -> float:
        """Nats of the scored text under the model that answers: nats[0] where `kept` is "base", else nats[-1].

        With a guard this is what the user gets: the base if the guard kept it, or the scaled update.
        """
        return self.nats[0] if self.kept == "base" else self.nats[-1]

    @property
    def tuned_nats(self) -> float:
        """Nats of the scored text under the full update at the last scored step, whatever a guard decided.

        nats[-1], or with a guard guard["tuned_nats"], since nats[-1] may then be under a scaled update. Without any
        step these are the nats of the base model.
        """
        return self.guard.get("tuned_nats", self.nats[-1])

    @property
    def base_bpb(self) -> float:
        """Bits per byte of the scored text under the base model: base_nats / (ln 2 * bytes)."""
        return self.base_nats / (math.log(2) * self.bytes)

    @property
    def final_bpb(self) -> float:
        """Bits per byte of the scored text under the model that answers: final_nats / (ln 2 * bytes)."""
        return self.final_nats / (math.log(2) * self.bytes)

    @property
    def percent_of_base(self) -> float:
        """100 * final_nats / base_nats; below 100 is better than the base model. nan where the base has 0 nats."""
        return 100 * self.final_nats / self.base_nats if self.base_nats else math.nan

    @property
    def steps_taken(self) -> int:
        """The last step after which there is a finite score: steps[-1]. In-context: the texts before the prompt."""
        return self.steps[-1]
