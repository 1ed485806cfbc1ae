"""What is trained, and how it goes back: LoRA on a frozen causal LM (Hu et al., arXiv 2106.09685), or all weights.

LoRA adds to a projection W the product of two thin matrices, W x + (alpha/r) B (A x), with B zero at the start; it sits
on every attention and MLP projection of the blocks. A small model also needs its vocabulary side: `vocabulary`="lora"
puts one shared low-rank pair on the (tied) embedding and output matrix, "full" trains that matrix itself.

`Trainable` holds the trained tensors and a copy of each at the start; `reset()` restores them bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from ttft.errors import ConfigError


class LowRank(nn.Module):
    """A frozen nn.Linear or Conv1D plus its low-rank update, computed in the dtype of the frozen part's output."""

    def __init__(self, base: Any, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        wide, high = base.weight.shape if isinstance(base, Conv1D) else base.weight.shape[::-1]
        self.base, self.scale = base, scale
        self.down = _kaiming(rank, wide, generator, base.weight.device)
        self.up = nn.Parameter(torch.zeros(high, rank, device=base.weight.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.base(x)
        thin = nn.functional.linear(x.to(out.dtype), self.down.to(out.dtype))
        return out + self.scale * nn.functional.linear(thin, self.up.to(out.dtype))


class LowRankEmbedding(nn.Module):
    """A frozen embedding E (V,d) plus up (V,r) @ down (r,d): looked up row by row."""

    def __init__(self, base: nn.Embedding, down: nn.Parameter, up: nn.Parameter, scale: float) -> None:
        super().__init__()
        self.base, self.down, self.up, self.scale = base, down, up, scale

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.base(ids) + (self.scale * nn.functional.embedding(ids, self.up) @ self.down).to(
            self.base.weight.dtype
        )

    @property
    def weight(self) -> torch.Tensor:
        return self.base.weight


class LowRankHead(nn.Module):
    """The output matrix with the same low-rank update: logits = h (E + up @ down)^T."""

    def __init__(self, base: nn.Linear, down: nn.Parameter, up: nn.Parameter, scale: float) -> None:
        super().__init__()
        self.base, self.down, self.up, self.scale = base, down, up, scale

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        out = self.base(hidden)
        thin = nn.functional.linear(hidden.to(out.dtype), self.down.to(out.dtype))
        return out + self.scale * nn.functional.linear(thin, self.up.to(out.dtype))

    @property
    def weight(self) -> torch.Tensor:
        return self.base.weight


def _kaiming(rank: int, wide: int, generator: torch.Generator, device: Any) -> nn.Parameter:
    """A (rank, wide) uniform in +-1/sqrt(wide): nn.init.kaiming_uniform_(a=sqrt(5)), the initial A of LoRA and PEFT."""
    bound = 1.0 / math.sqrt(wide)
    values = torch.rand(rank, wide, generator=generator) * 2 * bound - bound
    return nn.Parameter(values.to(device))


@dataclass
class Trainable:
    """A model prepared for throw-away training: the trained parameters and their start."""

    model: Any
    parameters: list[nn.Parameter]
    start: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.start = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def reset(self) -> None:
        """Every trained tensor back to its start, bit for bit, and its gradient dropped."""
        for parameter, value in zip(self.parameters, self.start, strict=True):
            parameter.copy_(value)
            parameter.grad = None

    @property
    def count(self) -> int:
        return sum(p.numel() for p in self.parameters)


def attach_full(model: Any) -> Trainable:
    """All weights are trained (the papers' GPT-2 setting)."""
    model.requires_grad_(True)
    return Trainable(model, [p for p in model.parameters() if p.requires_grad])


def attach_lora(
    model: Any, *, rank: int = 16, alpha: float | None = None, vocabulary: str = "off", seed: int = 0
) -> Trainable:
    """Freeze the model and put LoRA of this rank on all attention and MLP projections; the model is changed in place.

    alpha       scale is alpha/rank; default alpha = rank, so scale 1
    vocabulary  "off", "lora" (low-rank update of embedding and output), "full" (train that matrix itself)
    Raises ConfigError when the model has no projection to put LoRA on.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    scale = (alpha if alpha is not None else rank) / rank
    trained: list[nn.Parameter] = []
    for parent, name, base in list(projections(model)):
        layer = LowRank(base, rank, scale, generator)
        setattr(parent, name, layer)
        trained += [layer.down, layer.up]
    if not trained:
        raise ConfigError(f"{type(model).__name__} has no linear projection to put LoRA on", "use --method full")
    if vocabulary == "lora":
        trained += _attach_vocabulary(model, rank, scale, generator)
    elif vocabulary == "full":
        matrices = {id(m.weight): m.weight for m in (model.get_input_embeddings(), model.get_output_embeddings())}
        trained += [w.requires_grad_(True) for w in matrices.values()]
    return Trainable(model, trained)


def projections(model: Any) -> Iterator[tuple[nn.Module, str, Any]]:
    """(parent, attribute, layer) of every nn.Linear and Conv1D but the output head, in the model's order."""
    head = model.get_output_embeddings()
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, (nn.Linear, Conv1D)) and child is not head:
                yield parent, name, child


def _attach_vocabulary(model: Any, rank: int, scale: float, generator: torch.Generator) -> list[nn.Parameter]:
    """Low-rank update of embedding and head: one shared pair where they are tied, two pairs where they are not."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    rows, width = embedding.weight.shape
    tied = head.weight is embedding.weight

    def pair() -> tuple[nn.Parameter, nn.Parameter]:
        device = embedding.weight.device
        return _kaiming(rank, width, generator, device), nn.Parameter(torch.zeros(rows, rank, device=device))

    first = pair()
    second = first if tied else pair()
    model.set_input_embeddings(LowRankEmbedding(embedding, *first, scale))
    model.set_output_embeddings(LowRankHead(head, *second, scale))
    return [*first] if tied else [*first, *second]
