"""Next-token loss of a batch of rows without its logits in memory: output matrix, softmax and gradient chunk by chunk.

For a row with hidden states h (T, d), output matrix W (V, d) and, from an adapter, a low-rank update of it:

    logits = h W^T + thin up^T,      thin (T, r) = scale h down^T,  up (V, r)
    nats   = sum over the counted tokens of -log softmax(logits)[target]

The gradient of nats towards the logits is softmax - onehot, so it is made while the logits of a chunk are there, and
what leaves is the gradients towards h, thin and up. Padding, which stands on the right, is never multiplied.
"""

from __future__ import annotations

from typing import Any

import torch

IGNORED = -100
CHUNK = 1 << 22  # logits at a time: 16 MB of float32


class _RowNats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        bias: torch.Tensor | None,
        thin: torch.Tensor | None,
        up: torch.Tensor | None,
    ) -> torch.Tensor:
        train = any(ctx.needs_input_grad)
        nats = torch.zeros(len(hidden), dtype=torch.float32, device=hidden.device)
        gradients = [torch.zeros_like(x) if train and x is not None else None for x in (hidden, thin, up)]
        lengths = (targets != IGNORED).sum(1).tolist()
        size = max(1, CHUNK // len(weight))
        for row, length in enumerate(lengths):
            for begin in range(0, length, size):
                part = slice(begin, min(begin + size, length))
                nats[row] += _chunk(row, part, hidden, weight, targets, bias, thin, up, gradients)
        ctx.save_for_backward(*(g for g in gradients if g is not None))
        ctx.present = [g is not None for g in gradients]
        return nats

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        saved = iter(ctx.saved_tensors)
        scale = gradients[0][:, None, None]
        hidden, thin, up = (next(saved) if there else None for there in ctx.present)
        done = [None if g is None else g * scale.to(g.dtype) for g in (hidden, thin, up)]
        return done[0], None, None, None, done[1], done[2]


def _chunk(
    row: int, part: slice, hidden: Any, weight: Any, targets: Any, bias: Any, thin: Any, up: Any, gradients: list[Any]
) -> torch.Tensor:
    """Nats of some tokens of one row; their gradients are written in their places."""
    states, wanted = hidden[row, part], targets[row, part, None]
    logits = states @ weight.t() if bias is None else torch.addmm(bias, states, weight.t())
    if up is not None:
        logits.addmm_(thin[row, part], up[row].t())
    logits = logits.float()
    shares = torch.log_softmax(logits, -1)
    nats = -shares.gather(1, wanted).sum()
    if gradients[0] is not None:
        shares = shares.exp_()
        shares.scatter_add_(1, wanted, shares.new_full(wanted.shape, -1.0))
        shares = shares.to(hidden.dtype)
        torch.mm(shares, weight, out=gradients[0][row, part])
        if up is not None:
            torch.mm(shares, up[row], out=gradients[1][row, part])
            gradients[2][row].addmm_(shares.t(), thin[row, part])
    return nats


def row_nats(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    thin: torch.Tensor | None = None,
    up: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum of nats of each row (R,), float32, differentiable towards hidden, thin and up; `weight` is frozen.

    hidden (R,T,d);  weight (V,d), bias (V,);  targets (R,T) with IGNORED only on the right;  thin (R,T,r), up (R,V,r)
    """
    return _RowNats.apply(hidden, weight, targets, bias, thin, up)
