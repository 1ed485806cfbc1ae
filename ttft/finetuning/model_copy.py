"""Copies of a model that leave the one they are made of as it is: its modules, flags, training mode and weights.

A sharing copy has modules, configuration and Parameter objects of its own over the same memory: layers can be wrapped,
replaced and frozen in it while the given model goes on computing the same bits, and no weight is stored twice.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def sharing_copy(model: Any) -> Any:
    """A copy in eval mode, frozen, whose parameters and buffers share the memory of the model's; tied ones stay tied.

    A weight that is changed in place changes in both; one that is replaced or converted (`.to(dtype)`) does not.
    """
    return _copy(model, lambda weight: weight).requires_grad_(False)


def private_copy(model: Any) -> Any:
    """A copy in eval mode with weights of its own, all of them trainable; its buffers share the model's memory."""
    return _copy(model, torch.Tensor.clone).requires_grad_(True)


def _copy(model: Any, of_weight: Any) -> Any:
    """copy.deepcopy, told beforehand what stands for each tensor."""
    memo: dict[int, Any] = {
        id(weight): nn.Parameter(of_weight(weight.detach()), requires_grad=False) for weight in model.parameters()
    }
    memo |= {id(buffer): buffer.detach() for buffer in model.buffers()}
    return copy.deepcopy(model, memo).eval()
