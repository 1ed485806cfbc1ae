"""Test-time fine-tuning of many prompts: which prompt takes which gradient step when.

Prompts wait in a queue. Each that gets a slot starts from the weights' start with a fresh optimiser, takes one step of
Adam per selected text, in the given order, is scored at the chosen steps, and hands its slot to the next prompt as soon
as it is done. In every round each slot takes one step; the texts of a round are put together in passes so that little
is padded. What a prompt learns does not depend on who is beside it.

A prompt's trace is handed out while the prompt still has its slot, so that the caller may generate with the trained
model, judge the update or save it; the slot is reset when the caller asks for the next trace.

With gradient reuse (gradient_reuse.py) a slot whose next step uses its last gradient again takes that step without a
place in the passes of the round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from ttft.finetuning.gradient_reuse import computed
from ttft.finetuning.texts import Batch, Text, make_batch, passes, tokenise
from ttft.runtime import Timer


class Learner(Protocol):
    """A model with room for `slots` prompts at a time: lora.LoraLearner, full.FullLearner."""

    @property
    def slots(self) -> int: ...

    @property
    def device(self) -> Any: ...

    @property
    def pass_tokens(self) -> int: ...

    def room_for(self, prompts: int) -> None: ...

    def reset(self, slot: int) -> None: ...

    def step(self, batch: Batch, factors: dict[int, float] | None = None) -> list[float]: ...

    def repeat(self, factors: dict[int, float]) -> None: ...

    def scoring(self, slot: int, scale: float = 1.0, *, as_trained: bool = False) -> AbstractContextManager[Any]: ...


@dataclass(frozen=True)
class PromptTexts:
    """One prompt's training: its key and its texts in order (repeats allowed)."""

    key: str
    texts: Sequence[str]


S = TypeVar("S")
"""What the scorer returns."""


@dataclass
class Trace(Generic[S]):
    """What happened to one prompt.

    slot       where it was trained: `learner.scoring(slot)` is its model until the next trace is asked for
    losses     [i]: mean nats per token of text i before its step, or, where the step used a gradient again, the last
               one computed for that text
    gradients  how many were computed
    scores     number of steps -> what the scorer returned then
    seconds    train (device synchronised; of a pass with several prompts the share of its tokens) and evaluate
    failed     why training ended early; "" if nothing failed
    """

    key: str
    slot: int = 0
    losses: list[float] = field(default_factory=list)
    gradients: int = 0
    scores: dict[int, S] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "evaluate": 0.0})
    failed: str = ""


Scorer = Callable[[str, Any], S]
GoOn = Callable[[str, Sequence[float]], bool]
OnStep = Callable[[str], None]


def finetune_prompts(
    learner: Learner,
    tokenizer: Any,
    jobs: Iterable[PromptTexts],
    *,
    max_length: int,
    prefix_token: int,
    score_at: Sequence[int] = (),
    scorer: Scorer[S] | None = None,
    go_on: GoOn | None = None,
    on_step: OnStep | None = None,
    warm_down: float = 1.0,
    reuse: int = 1,
    pass_tokens: int | None = None,
) -> Iterator[Trace[S]]:
    """Fine-tune on each job's texts and yield one Trace per job, as they end; jobs are taken one by one as slots free.

    While the caller holds a trace, its slot still has what was learned. The slot is reset when the next trace is asked
    for; every slot is reset when the iteration ends, is closed or raises.

    max_length, prefix_token  as in scoring: a text is one prefix token and its tokens, in windows of max_length
    score_at   numbers of steps after which scorer(key, model) is called; the last step of a job is always scored
    go_on      asked with (key, losses so far) after each step; False ends the prompt there
    on_step    called with the key after each step, also one with a gradient used again: len(trace.losses) times in all
    warm_down  the rate of a job's last step relative to its first; linear between. 1: constant
    reuse      a text that stands several times in a row has its gradient computed every reuse-th time. 1: every time
    pass_tokens  most tokens of a pass, padding included (a single text may have more); default: the learner's
    The result of a job does not depend on the jobs before or beside it. A job whose loss is not finite ends there, its
    slot forgotten, and its trace says so.
    """
    most = pass_tokens if pass_tokens is not None else learner.pass_tokens
    run = _Run(learner, tokenizer, max_length, prefix_token, score_at, scorer, go_on, on_step, warm_down, reuse, most)
    queue, free = iter(jobs), list(range(learner.slots))[::-1]
    busy: dict[int, _Prompt[S]] = {}
    exhausted = False
    try:
        while True:
            while free and not exhausted:
                job = next(queue, None)
                if job is None:
                    exhausted = True
                    break
                slot = free.pop()
                busy[slot] = run.begin(slot, job)
            if not busy:
                return
            run.round(busy)
            for slot in [s for s, prompt in busy.items() if prompt.done]:
                yield busy[slot].trace
                learner.reset(slot)
                del busy[slot]
                free.append(slot)
    finally:
        for slot in busy:
            learner.reset(slot)


@dataclass
class _Prompt(Generic[S]):
    """A prompt in a slot."""

    trace: Trace[S]
    texts: list[Text]
    computed: list[bool]
    done: bool = False

    @property
    def step(self) -> int:
        return len(self.trace.losses)


@dataclass
class _Run(Generic[S]):
    learner: Learner
    tokenizer: Any
    max_length: int
    prefix_token: int
    score_at: Sequence[int]
    scorer: Scorer[S] | None
    go_on: GoOn | None
    on_step: OnStep | None
    warm_down: float
    reuse: int
    pass_tokens: int

    def begin(self, slot: int, job: PromptTexts) -> _Prompt[S]:
        self.learner.reset(slot)
        timer = Timer(str(self.learner.device))
        with timer("train"):
            texts = [tokenise(self.tokenizer, text, self.max_length, self.prefix_token) for text in job.texts]
        prompt = _Prompt(Trace[S](job.key, slot), texts, computed(job.texts, self.reuse), done=not texts)
        prompt.trace.seconds["train"] += timer.seconds["train"]
        self._score(slot, prompt)
        return prompt

    def round(self, busy: dict[int, _Prompt[S]]) -> None:
        """One step in every slot that has one to take."""
        going = {slot: prompt for slot, prompt in busy.items() if not prompt.done}
        texts = {slot: prompt.texts[prompt.step] for slot, prompt in going.items() if prompt.computed[prompt.step]}
        self._repeat({slot: prompt for slot, prompt in going.items() if slot not in texts})
        for group in passes(texts, self.pass_tokens):
            timer = Timer(str(self.learner.device))
            with timer("train"):
                losses = self.learner.step(make_batch(group), {slot: self._factor(busy[slot]) for slot in group})
            tokens = sum(text.tokens for text in group.values()) or 1
            for (slot, text), loss in zip(group.items(), losses, strict=True):
                busy[slot].trace.seconds["train"] += timer.seconds["train"] * text.tokens / tokens
                busy[slot].trace.gradients += 1
                self._after(slot, busy[slot], loss)

    def _repeat(self, prompts: dict[int, _Prompt[S]]) -> None:
        """A step in each of these slots with the gradient that it holds."""
        if not prompts:
            return
        timer = Timer(str(self.learner.device))
        with timer("train"):
            self.learner.repeat({slot: self._factor(prompt) for slot, prompt in prompts.items()})
        for slot, prompt in prompts.items():
            prompt.trace.seconds["train"] += timer.seconds["train"] / len(prompts)
            self._after(slot, prompt, prompt.trace.losses[-1])

    def _factor(self, prompt: _Prompt[S]) -> float:
        """Of the learning rate: from 1 at the first step to warm_down at the last."""
        return 1.0 + (self.warm_down - 1.0) * prompt.step / max(1, len(prompt.texts) - 1)

    def _after(self, slot: int, prompt: _Prompt[S], loss: float) -> None:
        prompt.trace.losses.append(loss)
        if self.on_step is not None:
            self.on_step(prompt.trace.key)
        if not math.isfinite(loss):
            prompt.trace.failed, prompt.done = f"the loss of step {prompt.step} is {loss}", True
            return
        goes = self.go_on is None or self.go_on(prompt.trace.key, prompt.trace.losses)
        prompt.done = prompt.step == len(prompt.texts) or not goes
        self._score(slot, prompt)

    def _score(self, slot: int, prompt: _Prompt[S]) -> None:
        if self.scorer is not None and (prompt.step in self.score_at or prompt.done):
            timer = Timer(str(self.learner.device))
            with timer("evaluate"), self.learner.scoring(slot) as model:
                prompt.trace.scores[prompt.step] = self.scorer(prompt.trace.key, model)
            prompt.trace.seconds["evaluate"] += timer.seconds["evaluate"]
