"""The records that pass between stages. Frozen; each can be written as one line of JSON.

corpus -> Document | Prompt;  selection -> Selection;  finetuning + evaluation -> Result.

The annotations of Selection and Result are what state.py checks when it reads them from a file.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import TypedDict

from ttft.state import STRICT

LARGEST = 2**53  # of whole numbers: they are all exact as floats
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[int, Field(gt=0, le=LARGEST)]
NotNegative = Annotated[float, Field(ge=0, le=1e100)]  # so that sums of them are finite
StoppedBecause = Literal["n", "uncertainty", "gain", "budget", "pool", "no search"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


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
    """A text to answer or score. `id` is unique within a run; a resumed run skips the ids that have results.

    turns    (role, text) of a dialog, the last one the user's; `text` is then the dialog as one text
    rewrite  the queries of a dialog; None: not asked for yet
    """

    id: str
    text: str
    subset: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    rewrite: QueryRecord | None = None

    @property
    def query(self) -> str | tuple[str, ...]:
        """What texts are retrieved with: the text itself; of a dialog its queries, () if it needs no search."""
        if self.rewrite is not None:
            return tuple(self.rewrite.queries)
        return (self.turns[-1][1],) if self.turns else self.text


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """The queries of a prompt that is a dialog, a line of rewrites.jsonl.

    text_sha256  of the dialog as one text
    queries      best first; [] if no search is needed
    how, note    who made them, and what went wrong: see q2d.rewrites.Rewrite
    """

    __pydantic_config__: ClassVar = STRICT

    prompt_id: str
    text_sha256: Sha256
    queries: list[str]
    search: bool
    how: str
    note: str = ""

    def __post_init__(self) -> None:
        if bool(self.queries) != self.search:
            raise ValueError("there are queries exactly where a search is needed")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Selection:
    """The texts selected for one prompt, in training order.

    ids            row numbers in the index, repeats allowed
    scores         the strategy's own score of each pick (cosine for nearest, variance reduction for SIFT)
    cosines        cosine of each pick to the prompt (the largest, if the prompt has several vectors)
    sigma          posterior standard deviation of the prompt after 0..n picks; sigma[0] before any
    stopped_because  "n" (all n were selected), "uncertainty" (the adaptive rule), "gain" (the calibrated rule),
                   "budget" (cut by --budget-steps), "pool" (nothing left), "no search" (a dialog whose last turn needs
                   none: nothing was embedded, and sigma is [1])
    seconds        by stage: embed, search, select
    pool           size and redundancy of the pool: rows, copies of another row, and near copies (cosine >= 0.95); {} if
                   the pool was the whole index
    """

    __pydantic_config__: ClassVar = STRICT

    prompt_id: str
    strategy: str
    parameters: dict[str, Any]
    ids: list[Count]
    scores: list[float]
    cosines: list[float]
    sigma: list[NotNegative]
    stopped_because: StoppedBecause
    seconds: dict[str, NotNegative]
    pool: dict[str, Count] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.scores) == len(self.cosines) == len(self.sigma) - 1:
            raise ValueError("ids, scores and cosines must have equal length, and sigma one more")

    def to_json(self) -> dict:
        return asdict(self)


class GuardRecord(TypedDict, total=False):
    """scale: of the update, 0 is the base; known: nats of the known text by scale, null where they are not finite;
    tuned_nats: of the scored text under the full update."""

    scale: Annotated[float, Field(ge=0, le=1)]
    known: dict[str, NotNegative | None]
    tuned_nats: NotNegative


@dataclass(frozen=True, slots=True)
class Result:
    """What fine-tuning did for one prompt.

    steps and nats have equal length: nats[i] is the negative log-likelihood (natural log) of the scored text after
    steps[i] gradient steps (in-context: with steps[i] texts before it); steps[0] is 0, the base model. bytes and tokens
    are those of exactly the scored text.
    kept is "tuned" or "base": which model answers (without a guard: "tuned" whenever steps[-1] > 0).
    guard  with --guard or --mix, else {}; with a scale between 0 and 1, nats[-1] is at that scale
    failed says why the base model answers, if a loss or score was not finite; else "". If not even the base model's
    score is finite, steps and nats are empty: the prompt was not scored, and its numbers below are nan.
    """

    __pydantic_config__: ClassVar = STRICT

    prompt_id: str
    subset: str
    text_sha256: Sha256
    model: str
    adapter: dict[str, Any]
    ids: list[Count]
    sigma: list[NotNegative]
    steps: list[Count]
    nats: list[NotNegative]
    bytes: Positive
    tokens: Positive
    kept: Literal["tuned", "base"]
    losses: list[float] = field(default_factory=list)
    seconds: dict[str, NotNegative] = field(default_factory=dict)
    failed: str = ""
    guard: GuardRecord = field(default_factory=GuardRecord)

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.nats):
            raise ValueError("steps and nats differ in length")
        if not self.steps and not self.failed:
            raise ValueError("a prompt that has not failed needs a score")
        if self.steps and self.steps != sorted({0, *self.steps}):
            raise ValueError("steps must rise from 0")
        if self.guard and self.guard.keys() != GuardRecord.__annotations__.keys():
            raise ValueError(f"guard needs {', '.join(GuardRecord.__annotations__)}")

    def to_json(self) -> dict:
        return asdict(self)

    @property
    def scored(self) -> bool:
        """Whether the base model's score is finite, so that there is something to compare."""
        return bool(self.nats)

    @property
    def base_nats(self) -> float:
        """Nats of the scored text under the base model: nats[0]."""
        return self.nats[0] if self.nats else math.nan

    @property
    def final_nats(self) -> float:
        """Nats of the scored text under the model that answers: nats[0] where `kept` is "base", else nats[-1].

        With a guard this is what the user gets: the base if the guard kept it, or the scaled update.
        """
        return self.base_nats if self.kept == "base" or not self.nats else self.nats[-1]

    @property
    def tuned_nats(self) -> float:
        """Nats of the scored text under the full update at the last scored step, whatever a guard decided.

        nats[-1], or with a guard guard["tuned_nats"], since nats[-1] may then be under a scaled update. Without any
        step these are the nats of the base model.
        """
        if self.guard:
            return self.guard["tuned_nats"]
        return self.nats[-1] if self.nats else math.nan

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
        return self.steps[-1] if self.steps else 0


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One arrival of asynchronous training, a line of arrivals.jsonl.

    update, lag  updates of the master before it, and since the worker's parameters were sent
    gradients    that have arrived, this one included: the key of the record
    loss         nats per token of the worker's documents, before the update
    time         seconds of the cluster's clock, simulated ones of a simulated cluster
    raw_gap, pre_gap  see async_training.master; null where gaps are not logged
    """

    __pydantic_config__: ClassVar = STRICT

    worker: Count
    update: Count
    lag: Count
    gradients: Positive
    loss: NotNegative
    lr: NotNegative
    time: NotNegative
    raw_gap: NotNegative | None = None
    pre_gap: NotNegative | None = None

    def to_json(self) -> dict:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Validation:
    """The held-out documents under the shared adapter after some updates, a line of validation.jsonl."""

    __pydantic_config__: ClassVar = STRICT

    updates: Count
    gradients: Count
    time: NotNegative
    nats: NotNegative
    bytes: Positive
    tokens: Positive

    def to_json(self) -> dict:
        return asdict(self)

    @property
    def bpb(self) -> float:
        """Bits per byte: nats / (ln 2 * bytes)."""
        return self.nats / (math.log(2) * self.bytes)
