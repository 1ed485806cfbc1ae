"""Checkpoints of a training run, exact to the last bit: tensors in safetensors, numbers in JSON.

A folder holds `checkpoint.json` (sealed, with the settings it belongs to) and the file of tensors that it names, with
its hash. The tensors of the next checkpoint get a file of their own, and the JSON file is replaced when that is on
disk: whenever the process is killed, the folder holds one whole checkpoint or none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from ttft import run_dir, state
from ttft.async_training.flat_state import Flat
from ttft.errors import ConfigError, MissingArtifact
from ttft.files import read_bytes, write_whole
from ttft.state import DAMAGED

NAME = "checkpoint.json"
LARGEST = 1 << 40  # bytes of tensors


def save_checkpoint(folder: Path, flat: Flat, settings: dict[str, Any]) -> None:
    """Write a flat dict of tensors and numbers (finite) to a folder, in place of its last checkpoint. `settings` as
    JSON knows them: what a run must agree on to go on from here. Raises DiskFull, TtftError."""
    run_dir.make_folder(folder)
    tensors = {key: value.detach().cpu().contiguous() for key, value in flat.items() if isinstance(value, torch.Tensor)}
    numbers = {key: value for key, value in flat.items() if not isinstance(value, torch.Tensor)}
    data = save({key: value.clone() for key, value in tensors.items()})  # one tensor under two keys is refused
    digest = hashlib.sha256(data).hexdigest()
    name = f"tensors-{digest[:16]}.safetensors"
    write_whole(folder / name, data)
    content = {"settings": settings, "tensors": name, "tensors_sha256": digest, "numbers": numbers}
    run_dir.write_json(folder / NAME, run_dir.sealed(content))
    for old in folder.glob("tensors-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def has_checkpoint(folder: Path) -> bool:
    return (folder / NAME).exists()


def load_checkpoint(folder: Path, settings: dict[str, Any]) -> Flat:
    """The flat dict of the folder's checkpoint, tensors on the CPU.

    Raises ConfigError if it was made with other settings, MissingArtifact if there is none or it is damaged.
    """
    content = state.read_json(folder / NAME)
    if not isinstance(content, dict) or run_dir.sealed(content) != content:
        raise MissingArtifact(f"{folder / NAME} is damaged: its content does not match its hash", DAMAGED)
    if (other := difference(content["settings"], settings)) is not None:
        raise ConfigError(
            f"{folder} has a checkpoint of other settings: {other}",
            "use these settings, or another folder for another run",
        )
    data = read_bytes(folder / content["tensors"], LARGEST)
    if hashlib.sha256(data).hexdigest() != content["tensors_sha256"]:
        raise MissingArtifact(f"{folder / content['tensors']} is damaged: its content does not match its hash", DAMAGED)
    return {**load(data), **content["numbers"]}


def difference(before: Any, now: Any, place: str = "") -> str | None:
    """The first place where two values of JSON differ, in words; None if there is none."""
    if isinstance(now, tuple):
        now = list(now)
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            inner = f"{place}.{key}" if place else str(key)
            if (found := difference(before.get(key), now.get(key), inner)) is not None:
                return found
        return None
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = (difference(a, b, f"{place}.{i}") for i, (a, b) in enumerate(zip(before, now, strict=True)))
        return next((found for found in pairs if found is not None), None)
    return None if before == now else f"{place} was {before!r} and is {now!r}"
