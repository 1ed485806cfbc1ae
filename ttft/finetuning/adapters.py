"""P throw-away adapters of n trainable parameters each: a row each of `values` (P, n), and so of the gradients and
Adam's moments.

A batch is rows of text, each of one slot. Inside `rows(...)` a layer asks for its matrix by name and gets those of the
slots of the rows, (R, *shape): gathered, so that several rows may belong to one slot (a text of several windows) and
the rows may stand in any order. `collect` brings the gradients back to their slots; `step` is torch.optim.Adam, one
optimiser per slot, so that `reset` of a slot forgets all that it learned and touches no other.

Memory: 16 n P bytes (values, gradients and two moments in float32).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

BYTES_PER_NUMBER = 16  # value, gradient and two moments, each float32


@dataclass(frozen=True)
class Part:
    """One matrix of an adapter: its place in the row and its shape."""

    begin: int
    end: int
    shape: tuple[int, ...]


@dataclass
class Pass:
    """What a pass through the model works on: the slot of each row, the dtype of the matrices, a factor on updates."""

    slots: torch.Tensor
    dtype: torch.dtype
    scale: float
    train: bool
    taken: dict[str, torch.Tensor] = field(default_factory=dict)


class Adapters:
    """See the module. `declare` every matrix, then `allocate`; `current` is the pass under way, None between passes.

    lr, betas, eps  Adam's
    """

    def __init__(self, *, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.lr, self.betas, self.eps = lr, betas, eps
        self.parts: dict[str, Part] = {}
        self.start = torch.empty(0)
        self.values = self.gradients = torch.empty(0, 0)
        self.current: Pass | None = None
        self._starts: list[torch.Tensor] = []
        self._optimisers: list[torch.optim.Adam] = []

    def declare(self, name: str, start: torch.Tensor) -> None:
        """A matrix with its values at the start of every prompt."""
        begin = self.count
        self.parts[name] = Part(begin, begin + start.numel(), tuple(start.shape))
        self._starts.append(start.detach().float().flatten())

    @property
    def count(self) -> int:
        """n, trainable parameters per slot."""
        return max((part.end for part in self.parts.values()), default=0)

    @property
    def slots(self) -> int:
        return len(self.values)

    def allocate(self, slots: int, device: Any) -> None:
        """Room for this many prompts, each at the start. How many there are changes nothing that a slot computes.

        May be called again when no slot holds anything that was learned.
        """
        assert not any(optimiser.state for optimiser in self._optimisers), "a slot still holds what a prompt learned"
        self.start = torch.cat(self._starts).to(device)
        self.values = self.gradients = torch.empty(0, 0)  # the old ones go before the new ones come
        self._optimisers = []
        self.values = self.start.repeat(slots, 1)
        self.gradients = torch.zeros_like(self.values)
        self._optimisers = [self._optimiser(slot) for slot in range(slots)]

    def _optimiser(self, slot: int) -> torch.optim.Adam:
        parameter = nn.Parameter(self.values[slot])
        parameter.grad = self.gradients[slot]
        return torch.optim.Adam([parameter], lr=self.lr, betas=self.betas, eps=self.eps, fused=True)

    @contextlib.contextmanager
    def rows(
        self, slots: Sequence[int], dtype: torch.dtype, *, scale: float = 1.0, train: bool = False
    ) -> Iterator[None]:
        """Passes inside use, row by row, the adapters of these slots; `scale` multiplies what they add."""
        index = torch.tensor(slots, device=self.values.device)
        self.current = Pass(index, dtype, scale, train)
        try:
            yield
        finally:
            self.current = None

    def take(self, name: str) -> torch.Tensor:
        """The matrix of each row of the pass: (R, *shape), in the dtype of the pass."""
        assert self.current is not None
        if name not in self.current.taken:
            part = self.parts[name]
            matrix = self.values[:, part.begin : part.end][self.current.slots].to(self.current.dtype)
            self.current.taken[name] = matrix.view(-1, *part.shape).requires_grad_(self.current.train)
        return self.current.taken[name]

    def read(self, slot: int, name: str) -> torch.Tensor:
        """The matrix of one slot as it stands, in float32."""
        part = self.parts[name]
        return self.values[slot, part.begin : part.end].view(part.shape)

    def collect(self) -> None:
        """Gradients of the matrices taken in this pass, summed over the rows of each slot, into `gradients`:
        there they stay until the slot is in a pass again, so that `step` may be called more than once."""
        assert self.current is not None
        taken = self.current.taken
        rows = torch.cat([self._gradient(name, taken.get(name)) for name in self.parts], 1)
        slots = self.current.slots.tolist()
        for slot in set(slots):
            self.gradients[slot] = 0.0
        for slot, row in zip(slots, rows, strict=True):
            self.gradients[slot] += row

    def _gradient(self, name: str, matrix: torch.Tensor | None) -> torch.Tensor:
        """(R, numbers of the matrix); zero where no row's loss depends on it."""
        assert self.current is not None
        if matrix is None or matrix.grad is None:
            part = self.parts[name]
            return self.values.new_zeros(len(self.current.slots), part.end - part.begin, dtype=self.current.dtype)
        return matrix.grad.flatten(1)

    def step(self, slot: int, factor: float = 1.0) -> None:
        """One step of Adam in this slot, with `factor` times the learning rate."""
        optimiser = self._optimisers[slot]
        for group in optimiser.param_groups:
            group["lr"] = self.lr * factor
        optimiser.step()

    @torch.no_grad()
    def reset(self, slot: int) -> None:
        """This slot back to its start, bit for bit, with a fresh optimiser."""
        self.values[slot] = self.start
        self.gradients[slot] = 0.0
        self._optimisers[slot].state.clear()
