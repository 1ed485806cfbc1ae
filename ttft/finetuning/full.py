"""Full fine-tuning (the papers' GPT-2 setting): all weights are trained, one prompt at a time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ttft.finetuning.loss import IGNORED
from ttft.finetuning.model_copy import private_copy
from ttft.finetuning.start import with_adapter
from ttft.finetuning.texts import Batch
from ttft.runtime import autocast


class FullLearner:
    """One slot: a copy of the model. Weights and Adam stay in their own dtype, steps are computed in `dtype`.

    The model given is left as it is. Its weights are the start: `reset` copies them back, bit for bit.

    start_from  a LoRA adapter in PEFT's format, as in start.with_adapter: base + adapter is the model at step 0
    """

    slots = 1
    pass_tokens = 1  # a text a pass

    def __init__(
        self,
        model: Any,
        *,
        lr: float = 5e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        dtype: torch.dtype = torch.float32,
        score_dtype: torch.dtype = torch.float32,
        start_from: str | Path | None = None,
    ) -> None:
        if start_from is not None:
            model, _ = with_adapter(model, start_from)
        self.model, self.dtype, self.score_dtype, self.lr = private_copy(model), dtype, score_dtype, lr
        self.start = [parameter.detach() for parameter in model.parameters()]
        self.parameters = list(self.model.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, lr=lr, betas=betas, eps=eps, fused=True)

    @property
    def device(self) -> Any:
        return self.parameters[0].device

    @property
    def count(self) -> int:
        """Trainable parameters per prompt."""
        return sum(p.numel() for p in self.parameters)

    def room_for(self, prompts: int) -> None:
        """Nothing to do: there is one slot, however many prompts there are."""

    @torch.no_grad()
    def reset(self, slot: int) -> None:
        """Every weight back to its start, bit for bit, its gradient dropped and Adam's state forgotten."""
        for parameter, value in zip(self.parameters, self.start, strict=True):
            parameter.copy_(value)
            parameter.grad = None
        self.optimiser.state.clear()

    def step(self, batch: Batch, factors: dict[int, float] | None = None) -> list[float]:
        """One step of Adam on the batch's one text; its loss before it, in nats per token. Not finite: no step."""
        self.optimiser.zero_grad(set_to_none=True)  # not after the step: `repeat` may want the gradients again
        inputs, targets = batch.inputs.to(self.device), batch.targets.to(self.device)
        with autocast(self.device.type, self.dtype):
            logits = self.model(input_ids=inputs, use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            loss = loss * batch.weights[0]
        if math.isfinite(loss.item()):
            loss.backward()
            self.repeat({0: (factors or {}).get(0, 1.0)})
        return [loss.item()]

    def repeat(self, factors: dict[int, float]) -> None:
        """One step of Adam with the gradients that are there: after `step`, the last text's once more."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * factors[0]
        self.optimiser.step()

    @contextlib.contextmanager
    def scoring(self, slot: int, scale: float = 1.0, *, as_trained: bool = False) -> Iterator[Any]:
        """The model as it stands, its update times `scale`; computed in score_dtype, as_trained: in dtype."""
        tuned = [p.detach().clone() for p in self.parameters] if scale != 1.0 else None
        try:
            if tuned is not None:
                with torch.no_grad():
                    for parameter, value in zip(self.parameters, self.start, strict=True):
                        parameter.lerp_(value, 1.0 - scale)
            with autocast(self.device.type, self.dtype if as_trained else self.score_dtype):
                yield self.model
        finally:
            if tuned is not None:
                with torch.no_grad():
                    for parameter, value in zip(self.parameters, tuned, strict=True):
                        parameter.copy_(value)
