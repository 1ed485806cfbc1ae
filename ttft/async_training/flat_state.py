"""State dataclasses <-> flat dicts of tensors and numbers, which a checkpoint can hold.

A field is a tensor, a number, a text, None, a dict from worker ids to one of these, or another such dataclass. Its key
is the path of fields and worker ids: "theta", "momenta/3", "correction/mean_square".
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import torch

Flat = dict[str, Any]


def flatten(state: Any, prefix: str = "") -> Flat:
    """The flat dict of a state dataclass. Tensors are those of the state, not copies; None is left out."""
    flat: Flat = {}
    for field in fields(state):
        value, key = getattr(state, field.name), prefix + field.name
        if isinstance(value, dict):
            flat |= {f"{key}/{worker}": part for worker, part in value.items()}
        elif is_dataclass(value):
            flat |= flatten(value, key + "/")
        elif value is not None:
            flat[key] = value
    return flat


def restore(state: Any, flat: Flat, prefix: str = "", device: torch.device | None = None) -> None:
    """Set every field of a state dataclass from a flat dict; tensors are copied, to `device`
    if one is given. Raises KeyError for a
    number that is missing."""
    for field in fields(state):
        value, key = getattr(state, field.name), prefix + field.name
        if isinstance(value, dict):
            parts = below(flat, key + "/")
            setattr(state, field.name, {int(worker): _own(part, device) for worker, part in parts.items()})
        elif is_dataclass(value):
            restore(value, flat, key + "/", device)
        elif key in flat:
            setattr(state, field.name, _own(flat[key], device))
        elif value is not None and not isinstance(value, torch.Tensor):
            raise KeyError(key)
        else:
            setattr(state, field.name, None)


def _own(value: Any, device: torch.device | None) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().to(device if device is not None else value.device, copy=True)


def below(flat: Flat, prefix: str) -> Flat:
    """The entries below a prefix, without it."""
    return {key[len(prefix) :]: value for key, value in flat.items() if key.startswith(prefix)}
