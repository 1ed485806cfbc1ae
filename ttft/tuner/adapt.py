"""One adapter for a whole corpus, trained by asynchronous workers into a run folder.

The folder holds the log of arrivals, the validation, a checkpoint that the run resumes from, and in the end the adapter
in PEFT's format, which `start_from` of `Tuner` takes. Logs are written before a checkpoint; what they hold beyond the
checkpoint that a run resumes from is removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ttft import runtime
from ttft.async_training.cluster import Cluster
from ttft.async_training.language_model import Loaded, LoraGradient
from ttft.async_training.master import Master
from ttft.async_training.trainer import Arrival, AsyncTrainer
from ttft.defaults import Training
from ttft.errors import TtftError
from ttft.evaluation import encode, prefix_token, score
from ttft.files import write_whole
from ttft.finetuning.export import save_adapter
from ttft.finetuning.lora import LoraLearner
from ttft.json_lines import JsonLines
from ttft.progress import OnNote, OnProgress, Progress, counted, ignore
from ttft.records import TrainingStep, Validation
from ttft.run_dir import (
    ARRIVALS,
    CHECKPOINT,
    VALIDATION,
    claim_run,
    finish_provenance,
    locked,
    provenance,
    record_provenance,
)
from ttft.state import checked_line, read_records
from ttft.tuner.learners import GradientLearner
from ttft.tuner.loading import load_learner


def load_model(
    name: str, training: Training, *, revision: str | None, max_length: int | None, device: str, dtype: str,
    lora_alpha: float | None, start_from: str | None, seed: int, trust_remote_code: bool,
) -> Loaded:  # fmt: skip
    """The model by its name, with one adapter on it. Options as of `Tuner`. Raises MissingArtifact, ConfigError."""
    device = runtime.pick_device(device)
    learner = load_learner(
        name, None, training, name=name, revision=revision, max_length=max_length, device=device,
        dtype=runtime.pick_dtype(dtype, device), score_dtype=runtime.pick_dtype("float32", device), slots=1,
        lora_alpha=lora_alpha, reuse=1, start_from=start_from, seed=seed, trust_remote_code=trust_remote_code,
        on_note=ignore,
    )  # fmt: skip
    assert isinstance(learner, GradientLearner) and isinstance(learner.inner, LoraLearner)
    return Loaded(learner.inner, learner.tokenizer, learner.window, prefix_token(learner.tokenizer))


@dataclass(frozen=True)
class AdaptPlan:
    """The definition of a run.

    identity  the configuration of the folder (config.yaml), made from facts about the model
    gradient  of the adapter;  held_out: the documents that are validated on
    master    makes the master from the start vector;  cluster: opens the cluster
    every     updates between two checkpoints, at each of which the held-out documents are scored
    base, revision  of the model, as PEFT notes them
    """

    folder: Path
    identity: Callable[[dict[str, Any]], dict[str, Any]]
    gradient: LoraGradient
    held_out: Sequence[str]
    master: Callable[[Tensor], Master]
    cluster: Callable[[], AbstractContextManager[Cluster]]
    updates: int
    base: str
    revision: str | None = None
    every: int = 50
    seed: int = 0


@dataclass
class AdaptAccount:
    """The outcome of a run: the validation after each checkpoint, the first before any update, and the time it took."""

    validation: list[Validation] = field(default_factory=list)
    arrivals: int = 0
    seconds: float = 0.0


def adapt_into(
    plan: AdaptPlan, *, on_progress: OnProgress = ignore, on_note: OnNote = ignore
) -> AdaptAccount:  # fmt: skip
    """Train until the master has had `plan.updates` updates, or go on with a run that was stopped, and save the
    adapter.

    Raises ConfigError if the folder belongs to a different configuration, TtftError if another process is writing to it
    or the loss is not finite.
    """
    started = time.perf_counter()
    loaded = plan.gradient.loaded
    start = plan.gradient.start
    master = plan.master(start)
    with locked(plan.folder):
        facts = {"parameters": loaded.learner.count, "window": loaded.window}
        claim_run(plan.folder, plan.identity(facts))
        record_provenance(plan.folder, provenance(plan.seed, {"device": str(loaded.learner.device)}))
        with plan.cluster() as cluster:
            trainer = AsyncTrainer(plan.gradient, master, cluster)
            trainer.begin(plan.folder / CHECKPOINT)
            log = Log(plan, trainer, on_progress)
            if trainer.gradients:
                on_note(f"resuming at update {master.updates:,} of {plan.updates:,}")
            log.open()
            trainer.run(
                plan.updates, on_arrival=log.arrived, before_checkpoint=log.write,
                checkpoint=plan.folder / CHECKPOINT, every=plan.every,
            )  # fmt: skip
        loaded.learner.adapters.values[0] = master.theta
        save_adapter(loaded.learner, 0, plan.folder, base=plan.base, revision=plan.revision)
        log.account.seconds = time.perf_counter() - started
        finish_provenance(plan.folder, log.account.seconds, log.account.arrivals)
    return log.account


class Log:
    """The two logs of a run: arrivals, kept in memory until the next checkpoint, and validation."""

    def __init__(self, plan: AdaptPlan, trainer: AsyncTrainer, on_progress: OnProgress) -> None:
        self.plan, self.trainer, self.on_progress = plan, trainer, on_progress
        self.account = AdaptAccount()
        self.waiting: list[TrainingStep] = []
        self.loss = 0.0
        self.scored = [encode(plan.gradient.loaded.tokenizer, text) for text in plan.held_out]

    def open(self) -> None:
        """Remove what the logs hold beyond the checkpoint, and validate the start if that was not done."""
        known = self.trainer.gradients
        kept = read_records(self.plan.folder / ARRIVALS, TrainingStep, key=lambda step: str(step.gradients))
        self._rewrite(ARRIVALS, [step for step in kept if step.gradients <= known], len(kept))
        done = read_records(self.plan.folder / VALIDATION, Validation, key=lambda one: str(one.updates))
        self.account.validation = [one for one in done if one.gradients <= known]
        self._rewrite(VALIDATION, self.account.validation, len(done))
        if not self.account.validation:
            self._validate()

    def _rewrite(self, name: str, records: Sequence[TrainingStep | Validation], before: int) -> None:
        if len(records) < before:
            write_whole(self.plan.folder / name, b"".join(checked_line(one.to_json()) for one in records))

    def arrived(self, arrival: Arrival) -> None:
        step = TrainingStep(
            arrival.worker, arrival.update, arrival.lag, arrival.gradients, arrival.loss, arrival.lr, arrival.time,
            arrival.raw_gap, arrival.pre_gap,
        )  # fmt: skip
        self.waiting.append(step)
        self.account.arrivals += 1
        self.loss = step.loss if not self.loss else 0.95 * self.loss + 0.05 * step.loss
        gap = "" if step.raw_gap is None else f", gap {step.raw_gap:.1e}"
        detail = f"loss {self.loss:.3f}, lag {step.lag}{gap}, {self._last()}"
        done = min(self.trainer.master.updates, self.plan.updates)
        self.on_progress(Progress("training", done, self.plan.updates, "updates", detail))

    def _last(self) -> str:
        return f"BPB {self.account.validation[-1].bpb:.4f}"

    def write(self) -> None:
        """What a checkpoint refers to: the arrivals so far, and the validation."""
        with JsonLines(self.plan.folder / ARRIVALS) as log:
            log.append(*(step.to_json() for step in self.waiting))
        self.waiting.clear()
        self._validate()

    def _validate(self) -> None:
        """Score the held-out documents under the master's parameters."""
        loaded, trainer = self.plan.gradient.loaded, self.trainer
        loaded.learner.adapters.values[0] = trainer.master.theta
        with loaded.learner.scoring(0) as model:
            scores = [score(model, text, max_length=loaded.window) for text in self.scored]
        nats = sum(one.nats for one in scores)
        if not nats < float("inf"):
            raise TtftError(f"the held-out documents have {nats} nats", "lower the learning rate")
        made = Validation(
            trainer.master.updates, trainer.gradients, trainer.cluster.clock, nats,
            sum(one.bytes for one in scores), sum(one.tokens for one in scores),
        )  # fmt: skip
        self.account.validation.append(made)
        with JsonLines(self.plan.folder / VALIDATION) as log:
            log.append(made.to_json())
        detail = f"{counted(made.updates, 'update')}: {self._last()}"
        self.on_progress(Progress("validating", len(scores), len(scores), "documents", detail))
