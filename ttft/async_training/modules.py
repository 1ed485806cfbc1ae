"""Any torch module as a gradient function over one flat vector of its trainable parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ttft.errors import ConfigError

Loss = Callable[[torch.nn.Module, Any], Tensor]
Batches = Callable[[int, int], Any]


class ModuleGradient:
    """A `master.Gradient` of a module.

    module   its parameters with requires_grad are trained, all of one type on one device; others stay as they are.
             Buffers (BatchNorm's statistics) are the module's own and not part of the vector: prefer LayerNorm
    loss     loss(module, batch) -> a scalar
    batches  batches(worker, number) -> the batch; should depend on nothing else (seed it with both). Dropout draws from
             torch's global generator: a resumed run then differs, unless `loss` seeds it
    Raises ConfigError for a module without trainable parameters, or with parameters of several types.
    """

    def __init__(self, module: torch.nn.Module, loss: Loss, batches: Batches) -> None:
        self.module, self.loss, self.batches = module, loss, batches
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        if len({(p.dtype, p.device) for p in self.parameters}) != 1:
            raise ConfigError(
                f"the module has {len(self.parameters)} trainable parameters, of several types or on several devices",
                "train parameters of one type on one device",
            )

    @property
    def start(self) -> Tensor:
        """(k,) a copy of the module's trainable parameters."""
        return parameters_to_vector(self.parameters).detach().clone()

    def __call__(self, theta: Tensor, worker: int, number: int) -> tuple[Tensor, float]:
        """Gradient (k,) and loss at theta (k,) of the batch of this worker and number. The module's parameters are
        views of theta afterwards."""
        vector_to_parameters(theta, self.parameters)
        loss = self.loss(self.module, self.batches(worker, number))
        gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        return torch.cat([g.reshape(-1) for g in gradients]), float(loss.detach())

    def load(self, theta: Tensor) -> torch.nn.Module:
        """The module with a copy of these parameters (k,), to be evaluated."""
        vector_to_parameters(theta.detach().clone(), self.parameters)
        return self.module
