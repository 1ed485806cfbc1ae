"""Test-time fine-tuning of prompts: which prompt takes which gradient step when.

For each prompt: the weights at their start, a fresh optimiser, one step of Adam per selected text in the given order,
the scorer called at the chosen steps, and everything back to the start. Prompts come and go through one generator, so
that many can be trained at once behind the same call; today they are trained one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ttft.finetuning.lora import Trainable
from ttft.runtime import Timer, autocast

IGNORED = -100


@dataclass(frozen=True)
class Job:
    """One prompt's training: its key and its texts in order (repeats allowed)."""

    key: str
    texts: Sequence[str]


@dataclass
class Trace:
    """What happened to one prompt. losses[i] is the mean nats per token of text i before its step; scores maps a number
    of steps to what the scorer returned then; seconds: train (device synchronised), evaluate."""

    key: str
    losses: list[float] = field(default_factory=list)
    scores: dict[int, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def finetune_prompts(
    trainable: Trainable,
    tokenizer: Any,
    jobs: Iterable[Job],
    *,
    lr: float = 5e-5,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    max_length: int,
    prefix_token: int,
    dtype: Any = torch.float32,
    score_at: Sequence[int] = (),
    scorer: Callable[[str], Any] | None = None,
) -> Iterator[Trace]:
    """Fine-tune on each job's texts and yield one Trace per job, in the order of the jobs.

    max_length, prefix_token  as in scoring: a text is one prefix token and its tokens, in windows of max_length
    dtype     compute type of the steps; the trained weights and Adam's state stay in their own (float32)
    score_at  numbers of steps after which scorer(key) is called; the last step of a job is always scored
    The result of a job does not depend on the jobs before it. Dropout is off: a step is a function of its text.
    """
    device = trainable.parameters[0].device
    for job in jobs:
        trace, timer = Trace(job.key), Timer(str(device))
        trainable.reset()
        optimiser = torch.optim.Adam(trainable.parameters, lr=lr, betas=betas, eps=eps, fused=True)
        try:
            _score(trace, 0, job, score_at, scorer, timer)
            for step, text in enumerate(job.texts, 1):
                with timer("train"):
                    loss = _step(trainable, optimiser, tokenizer, text, max_length, prefix_token, dtype)
                trace.losses.append(loss)
                _score(trace, step, job, score_at, scorer, timer)
        finally:
            trainable.reset()
        trace.seconds = {"train": 0.0, "evaluate": 0.0} | timer.seconds
        yield trace


def _score(
    trace: Trace, step: int, job: Job, score_at: Sequence[int], scorer: Callable[[str], Any] | None, timer: Timer
) -> None:
    if scorer is not None and (step in score_at or step == len(job.texts)):
        with timer("evaluate"):
            trace.scores[step] = scorer(job.key)


def _step(
    trainable: Trainable, optimiser: Any, tokenizer: Any, text: str, max_length: int, prefix_token: int, dtype: Any
) -> float:
    """One step of Adam on one text; returns its loss before the step, in nats per token."""
    model = trainable.model
    model.eval()  # dropout off; gradients are unaffected
    inputs, targets = text_windows(tokenizer, text, max_length, prefix_token)
    if not (targets != IGNORED).any():
        return 0.0
    inputs, targets = inputs.to(model.device), targets.to(model.device)
    with autocast(model.device.type, dtype):
        logits = model(input_ids=inputs, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return loss.item()


def text_windows(tokenizer: Any, text: str, max_length: int, prefix_token: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(inputs, targets), each (windows, T): [prefix] + tokens cut to windows of max_length, every token a target once.

    Padding stands on the right, with target IGNORED. A long text is still one step: no part of it is dropped.
    """
    ids = [prefix_token, *tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
    starts = range(0, max(1, len(ids) - 1), max_length)
    width = min(max_length, max(1, len(ids) - 1))
    inputs = torch.full((len(starts), width), prefix_token)
    targets = torch.full((len(starts), width), IGNORED)
    for row, start in enumerate(starts):
        window = torch.tensor(ids[start : start + max_length + 1])
        inputs[row, : max(0, len(window) - 1)] = window[:-1]
        targets[row, : max(0, len(window) - 1)] = window[1:]
    return inputs, targets
