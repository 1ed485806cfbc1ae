"""The layers of LoRA for many prompts: a frozen layer plus, for each row of the batch, the update of its own adapter.

Which adapter a row uses is said by `Adapters.rows`; outside of it the layers compute what their frozen base does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from ttft.finetuning.adapters import Adapters


class _LowRankProduct(torch.autograd.Function):
    """x W + b + s (x A) B for x (R,T,in), frozen W (in,out) and b (out,), and A, B of each row."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, w: torch.Tensor, bias: Any, a: torch.Tensor, b: torch.Tensor, s: float
    ) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        out = (flat @ w if bias is None else torch.addmm(bias, flat, w)).view(*x.shape[:-1], -1)
        thin = torch.bmm(x, a)
        ctx.save_for_backward(x, w, a, b, thin)
        ctx.scale = s
        return out.baddbmm_(thin, b, alpha=s)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        x, w, a, b, thin = ctx.saved_tensors
        out = gradients[0].contiguous()
        towards_thin = torch.bmm(out, b.mT).mul_(ctx.scale)
        towards_b = torch.bmm(thin.mT, out).mul_(ctx.scale)
        towards_a = torch.bmm(x.mT, towards_thin)
        towards_x = None
        if ctx.needs_input_grad[0]:
            towards_x = (out.view(-1, out.shape[-1]) @ w.t()).view(x.shape)
            towards_x.baddbmm_(towards_thin, a.mT)
        return towards_x, None, None, towards_a, towards_b, None


class LowRank(nn.Module):
    """A frozen nn.Linear or Conv1D plus, for each row of the batch, the update of its adapter."""

    def __init__(self, base: Any, adapters: Adapters, name: str, scale: float) -> None:
        super().__init__()
        self.base, self.adapters, self.name, self.scale = base, adapters, name, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        current = self.adapters.current
        if current is None:
            return self.base(x)
        w = self.base.weight if isinstance(self.base, Conv1D) else self.base.weight.t()
        a, b = self.adapters.take(f"{self.name}.A"), self.adapters.take(f"{self.name}.B")
        rows = x.reshape(len(current.slots), -1, x.shape[-1])
        return _LowRankProduct.apply(rows, w, self.base.bias, a, b, self.scale * current.scale).view(*x.shape[:-1], -1)


class LowRankEmbedding(nn.Module):
    """A frozen embedding E (V,d) plus up (V,r) @ down (r,d) of each row's adapter: looked up token by token."""

    def __init__(self, base: nn.Embedding, adapters: Adapters, name: str, scale: float) -> None:
        super().__init__()
        self.base, self.adapters, self.name, self.scale = base, adapters, name, scale

    @property
    def weight(self) -> torch.Tensor:
        return self.base.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        current = self.adapters.current
        if current is None:
            return self.base(ids)
        up, down = self.adapters.take(f"{self.name}.up"), self.adapters.take(f"{self.name}.down")
        rows = torch.arange(len(up), device=ids.device)[:, None]
        update = torch.bmm(up[rows, ids.reshape(len(up), -1)], down)
        return self.base(ids) + self.scale * current.scale * update.view(*ids.shape, -1)


class LowRankHead(nn.Module):
    """The output matrix with such an update: logits = h E^T + s (h down^T) up^T."""

    def __init__(self, base: nn.Linear, adapters: Adapters, name: str, scale: float) -> None:
        super().__init__()
        self.base, self.adapters, self.name, self.scale = base, adapters, name, scale

    @property
    def weight(self) -> torch.Tensor:
        return self.base.weight

    def thin(self, hidden: torch.Tensor) -> torch.Tensor:
        current = self.adapters.current
        assert current is not None
        down = self.adapters.take(f"{self.name}.down")
        return self.scale * current.scale * torch.bmm(hidden.reshape(len(down), -1, hidden.shape[-1]), down.mT)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        out = self.base(hidden)
        if self.adapters.current is None:
            return out
        return out + torch.bmm(self.thin(hidden), self.adapters.take(f"{self.name}.up").mT).view(out.shape)
