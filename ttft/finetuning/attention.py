"""Causal attention for training on a CPU: matrix products and a softmax, with a backward pass that copies little.

softmax(scale q k^T + mask) v. For texts of some hundred tokens the products are small and torch's fused CPU kernel and
the plain formula under autograd both spend more time on copies than on products. Long texts, whose (T, T) scores would
not fit in memory, and other devices go to torch's fused kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask

NAME = "ttft"
LONGEST = 512  # tokens; beyond, the (T, T) scores of a row cost more than they save


class _Attention(torch.autograd.Function):
    """q, k, v (N, T, D) and mask, broadcast to (N, T, T) -> (N, T, D)."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, scale: float) -> Any:
        weights = torch.softmax(torch.baddbmm(mask, q, k.mT, alpha=scale), -1)
        ctx.save_for_backward(q, k, v, weights)
        ctx.scale = scale
        return torch.bmm(weights, v)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        q, k, v, weights = ctx.saved_tensors
        out = gradients[0].contiguous()
        towards_v = torch.bmm(weights.mT, out)
        products = torch.bmm(out, v.transpose(1, 2))
        scores = torch._softmax_backward_data(products, weights, -1, weights.dtype)
        return ctx.scale * torch.bmm(scores, k), ctx.scale * torch.bmm(scores.mT, q), towards_v, None, None


def forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers' attention functions: (B, heads, T, D) each -> (B, T, heads, D). The mask is added."""
    batch, heads, length, width = query.shape
    one_mask = attention_mask is not None and attention_mask.shape == (1, 1, length, length)
    if query.device.type != "cpu" or length > LONGEST or not one_mask:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    if key.shape[1] != heads:  # grouped queries: several heads read one key
        key, value = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (key, value))
    flat = (x.reshape(batch * heads, length, width) for x in (query, key, value))
    assert attention_mask is not None
    out = _Attention.apply(*flat, attention_mask[0], width**-0.5 if scaling is None else scaling)
    return out.view(batch, heads, length, width).transpose(1, 2), None


def mask(batch_size: int, attention_mask: torch.Tensor | None = None, **others: Any) -> torch.Tensor:
    """As transformers' mask functions; one mask for all rows where no row's padding asks for its own."""
    rows = 1 if attention_mask is None else batch_size
    return eager_mask(batch_size=rows, attention_mask=attention_mask, **others)


def use(model: Any) -> None:
    """Have a model of transformers use this attention. Its layers must read their attention from the registry."""
    AttentionInterface.register(NAME, forward)
    AttentionMaskInterface.register(NAME, mask)
    model.set_attn_implementation(NAME)
