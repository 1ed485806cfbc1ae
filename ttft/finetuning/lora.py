"""LoRA for many prompts at once: one frozen model, P adapters, one forward and one backward pass for all their texts.

LoRA (Hu et al., arXiv 2106.09685) adds to a projection W the product of two thin matrices, B zero at the start; it sits
on every attention and MLP projection of the blocks. Here each row of the batch has its own two:

    y = x W + s (x A) B        x (R, T, in), A (R, in, r), B (R, r, out), s = alpha / r, or alpha / sqrt(r)

A small model also needs its vocabulary side: `vocabulary`="lora" puts one shared low-rank pair on the (tied) embedding
and output matrix. Nothing of one row enters another row's result, so a prompt does not feel its neighbours.

The model computes in the dtype of its weights, bf16 or float32; the adapters, their gradients and their Adam stay in
float32. Where scores are wanted in another dtype than the steps are taken in, a second copy of the frozen weights is
kept for them; both read the same adapters.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

from ttft import runtime
from ttft.errors import ConfigError
from ttft.finetuning import attention, memory
from ttft.finetuning.adapters import Adapters
from ttft.finetuning.loss import row_nats
from ttft.finetuning.low_rank import LowRank, LowRankEmbedding, LowRankHead
from ttft.finetuning.model_copy import sharing_copy
from ttft.finetuning.start import StartLayer, with_adapter
from ttft.finetuning.texts import Batch


class LoraLearner:
    """`slots` adapters on a frozen causal LM of transformers; see the module.

    The model given is left as it is: the learner works on a copy that shares its weights.

    slots        most prompts side by side; None: as many as memory has room for (`memory.slots_that_fit`)
    prompts      how many there are at first, so that no more slots are made; `room_for` makes more. None: all slots
    window       tokens of a row, for `pass_tokens`: how many tokens of a pass memory has room for
    rank, alpha, rslora  scale is alpha/rank, with rslora alpha/sqrt(rank) (Kalajdzievski, arXiv 2312.03732); default
                 alpha = rank
    vocabulary   "off", or "lora": a low-rank update of embedding and output
    lr, betas, eps  Adam's
    start_from   a LoRA adapter in PEFT's format, as in start.with_adapter: base + adapter is the model at step 0
    dtype        of the steps; score_dtype: of the model that `scoring` gives; default: that of the model
    Raises ConfigError when the model has no projection to put LoRA on.
    """

    def __init__(
        self,
        model: Any,
        *,
        slots: int | None = 1,
        prompts: int | None = None,
        window: int = 1024,
        rank: int = 16,
        alpha: float | None = None,
        rslora: bool = False,
        vocabulary: str = "off",
        lr: float = 5e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        dtype: torch.dtype | None = None,
        score_dtype: torch.dtype | None = None,
        seed: int = 0,
        start_from: str | Path | None = None,
    ) -> None:
        self.start_layers: dict[str, StartLayer] = {}
        if start_from is not None:
            model, self.start_layers = with_adapter(model, start_from)
        self.adapters = Adapters(lr=lr, betas=betas, eps=eps)
        given = model.get_input_embeddings().weight.dtype
        self.dtype, self.score_dtype = dtype or given, score_dtype or given
        self.rank, self.alpha, self.rslora = rank, alpha if alpha is not None else rank, rslora
        self.scale = self.alpha / (math.sqrt(rank) if rslora else rank)
        declare(self.adapters, model, rank, vocabulary, seed)
        kinds = {self.dtype, self.score_dtype}
        copies = {kind: sharing_copy(model).to(kind) for kind in kinds}
        attached = {kind: attach(one, self.adapters, self.scale, vocabulary) for kind, one in copies.items()}
        self.model, self.scorer = attached[self.dtype], attached[self.score_dtype]
        train_fast(self.model)
        free, kind = runtime.free_memory(str(model.device)), model.device.type
        self.most_slots = slots or memory.slots_that_fit(self.count, free, kind)
        self.token_numbers = memory.token_numbers(model, self._widths(), window)
        self.pass_tokens = memory.tokens_that_fit(self.token_numbers, free, kind, self.dtype)
        self.adapters.allocate(self._slots_for(prompts), model.device)

    def _slots_for(self, prompts: int | None) -> int:
        return self.most_slots if prompts is None else max(1, min(self.most_slots, prompts))

    def room_for(self, prompts: int) -> None:
        """Make slots for this many prompts, or as many as `slots` allows, if there are fewer; never takes one away.

        Only between prompts: no slot may hold anything that was learned.
        """
        if self._slots_for(prompts) > self.slots:
            self.adapters.allocate(self._slots_for(prompts), self.device)

    def _widths(self) -> int:
        """Sum of the inputs and outputs of all projections: A is (in, r), B is (r, out)."""
        parts = self.adapters.parts.items()
        return sum(part.shape[0 if name.endswith(".A") else 1] for name, part in parts if name[-2:] in (".A", ".B"))

    @property
    def slots(self) -> int:
        return self.adapters.slots

    @property
    def count(self) -> int:
        """Trainable parameters per prompt."""
        return self.adapters.count

    def reset(self, slot: int) -> None:
        self.adapters.reset(slot)

    @property
    def device(self) -> Any:
        return self.adapters.values.device

    def step(self, batch: Batch, factors: dict[int, float] | None = None) -> list[float]:
        """One step of Adam for each text of the batch, in its slot; the texts' losses before it, in nats per token.

        factors  by slot: of the learning rate. A text whose loss is not finite takes no step.
        """
        losses = self.gradients(batch)
        for slot, loss in losses.items():
            if math.isfinite(loss):
                self.adapters.step(slot, (factors or {}).get(slot, 1.0))
        return [losses[slot] for slot in batch.order]

    def gradients(self, batch: Batch) -> dict[int, float]:
        """The loss of each slot of the batch, in nats per token; its gradient is in `adapters.gradients`."""
        inputs, targets = batch.inputs.to(self.model.device), batch.targets.to(self.model.device)
        with self.adapters.rows(batch.slots, self.dtype, train=True):
            nats = self._nats(inputs, targets)
            weights = torch.tensor(batch.weights, device=nats.device)
            (nats * weights).sum().backward()
            self.adapters.collect()
        return batch.per_slot((nats.detach() * weights).tolist())

    def repeat(self, factors: dict[int, float]) -> None:
        """One more step of Adam in each of these slots, with the gradient of its last step; factors as in `step`."""
        for slot, factor in factors.items():
            self.adapters.step(slot, factor)

    def _nats(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        hidden = self.model.base_model(input_ids=inputs, use_cache=False).last_hidden_state
        head = self.model.get_output_embeddings()
        if not isinstance(head, LowRankHead):
            return row_nats(hidden, head.weight, targets, bias=head.bias)
        update = {"thin": head.thin(hidden), "up": self.adapters.take(f"{head.name}.up")}
        return row_nats(hidden, head.weight, targets, bias=head.base.bias, **update)

    @contextlib.contextmanager
    def scoring(self, slot: int, scale: float = 1.0, *, as_trained: bool = False) -> Iterator[Any]:
        """The model with the adapter of this slot, its update times `scale`; for inputs of any number of rows.

        as_trained  computed in the dtype of the steps, which is faster, and not in that of scores
        """
        with self.adapters.rows([slot], self.dtype if as_trained else self.score_dtype, scale=scale):
            yield self.model if as_trained else self.scorer


def declare(adapters: Adapters, model: Any, rank: int, vocabulary: str, seed: int) -> None:
    """The matrices of LoRA on this model, in the order of its modules, with A drawn from the seed and B zero."""
    generator = torch.Generator().manual_seed(seed)
    found = False
    for name, _, _, base in projections(model):
        wide, high = base.weight.shape if isinstance(base, Conv1D) else base.weight.shape[::-1]
        adapters.declare(f"{name}.A", kaiming(rank, wide, generator).t().contiguous())
        adapters.declare(f"{name}.B", torch.zeros(rank, high))
        found = True
    if not found:
        raise ConfigError(f"{type(model).__name__} has no linear projection to put LoRA on", "use --method full")
    if vocabulary == "lora":
        rows, width = model.get_input_embeddings().weight.shape
        for name in ("embedding",) if tied(model) else ("embedding", "head"):
            adapters.declare(f"{name}.down", kaiming(rank, width, generator))
            adapters.declare(f"{name}.up", torch.zeros(rows, rank))


def attach(model: Any, adapters: Adapters, scale: float, vocabulary: str) -> Any:
    """Put modules around the projections of a frozen model that add what the adapters say."""
    for name, parent, attribute, base in list(projections(model)):
        setattr(parent, attribute, LowRank(base, adapters, name, scale))
    if vocabulary == "lora":
        one = tied(model)
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        model.set_input_embeddings(LowRankEmbedding(embedding, adapters, "embedding", scale))
        model.set_output_embeddings(LowRankHead(head, adapters, "embedding" if one else "head", scale))
    return model


def projections(model: Any) -> Iterator[tuple[str, nn.Module, str, Any]]:
    """(name, parent, attribute, layer) of every nn.Linear and Conv1D but the output head, in the model's order."""
    head = model.get_output_embeddings()
    for prefix, parent in model.named_modules():
        for attribute, child in parent.named_children():
            if isinstance(child, (nn.Linear, Conv1D)) and child is not head:
                yield f"{prefix}.{attribute}".lstrip("."), parent, attribute, child


def tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def kaiming(rank: int, wide: int, generator: torch.Generator) -> torch.Tensor:
    """(rank, wide) uniform in +-1/sqrt(wide): nn.init.kaiming_uniform_(a=sqrt(5)), the initial A of LoRA and PEFT."""
    bound = 1.0 / math.sqrt(wide)
    return torch.rand(rank, wide, generator=generator) * 2 * bound - bound


def train_fast(model: Any) -> None:
    """The same functions in fewer passes over memory: attention, and GPT-2's GELU, which transformers spells out."""
    attention.use(model)
    for parent in list(model.modules()):
        for attribute, child in parent.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(parent, attribute, nn.GELU(approximate="tanh"))
