"""What training many adapters side by side costs in memory, and how much of it fits.

adapters     16 n P bytes: P slots of n numbers, each with its gradient and two moments, float32
activations  e (T a + P n) bytes for a pass of T tokens, padding included, of P texts: e bytes a number (2 in bf16);
             P n for the adapters as the pass reads them, and for each token
                 a = sum over projections of (in + out) + layers (2 d + heads W) + 4 d
             the inputs and outputs of every projection, those of two norms, and a row of attention of at most W
             weights (none where a fused kernel computes attention)
logits       three times loss.CHUNK numbers of float32, whatever the vocabulary
"""

from __future__ import annotations

from typing import Any

import torch

from ttft.finetuning import attention
from ttft.finetuning.adapters import BYTES_PER_NUMBER

SHARE = 0.25  # of the free memory, for the adapters and for the activations each
MOST = {"cpu": (16, 4096), "cuda": (64, 32768)}  # slots, tokens of a pass: beyond, nothing gets faster


def token_numbers(model: Any, widths: int, window: int) -> int:
    """a of the formula. widths: inputs and outputs of the adapted projections, summed; window: tokens of a row."""
    config = model.config
    fused = window > attention.LONGEST or model.device.type != "cpu"
    weights = 0 if fused else config.num_attention_heads * window
    return widths + config.num_hidden_layers * (2 * config.hidden_size + weights) + 4 * config.hidden_size


def pass_bytes(numbers: int, tokens: int, count: int, texts: int, dtype: torch.dtype) -> int:
    """Activations of a pass of `tokens` tokens in `texts` texts; numbers: `token_numbers`, count: n."""
    return dtype.itemsize * (tokens * numbers + texts * count)


def slots_that_fit(count: int, free: int, device: str) -> int:
    """Slots for adapters of n = count trainable parameters, at least 1, in a share of the free bytes."""
    most, _ = MOST.get(device, MOST["cpu"])
    return max(1, min(most, int(SHARE * free) // (BYTES_PER_NUMBER * count)))


def tokens_that_fit(numbers: int, free: int, device: str, dtype: torch.dtype) -> int:
    """Tokens of a pass whose activations fit in a share of the free bytes, at least 1."""
    _, most = MOST.get(device, MOST["cpu"])
    return max(1, min(most, int(SHARE * free) // (dtype.itemsize * numbers)))
