"""A slot's adapter as PEFT stores one: a folder with adapter_config.json and adapter_model.safetensors.

`peft.PeftModel.from_pretrained(base, folder)` is then the model that the slot was scored with. In PEFT's names, for a
layer whose update is s x A B, an embedding whose update is s up down and a head whose update is s h down^T up^T:

    lora_A.weight = A^T (r, in)            lora_B.weight = B^T (out, r)
    lora_embedding_A = up^T (r, V)         lora_embedding_B = down^T (d, r)
    lora_A.weight = down (r, d)            lora_B.weight = up (V, r)          of the head

The one pair of a tied vocabulary is stored on both sides, and `ensure_weight_tying` says so. Such an adapter is to be
loaded, not merged: PEFT's merge would add it to the shared matrix once for each side. The files are written without
PEFT, which takes seconds to import.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from transformers.pytorch_utils import Conv1D

from ttft.errors import ConfigError
from ttft.finetuning.lora import LoraLearner, LowRank, LowRankEmbedding, LowRankHead, tied
from ttft.run_dir import make_folder, sha256_text, write_json, write_whole

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."  # what PeftModel puts around the model


def save_adapter(learner: LoraLearner, slot: int, folder: Path, *, base: str, revision: str | None = None) -> None:
    """Write the adapter of a slot, float32. A folder that holds adapter_config.json is complete: it is written last.

    base, revision  the model's name or folder and its revision, as PEFT notes them
    Raises ConfigError when PEFT would read the numbers otherwise than they were trained.
    """
    config = adapter_config(learner, base, revision)
    tensors = {PREFIX + name: tensor for name, tensor in adapter_tensors(learner, slot).items()}
    make_folder(folder)
    write_whole(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG, config)


def adapter_folder(root: Path, prompt_id: str) -> Path:
    """Where a prompt's adapter lies: under its id if that is a plain word, else under one made of it and its hash."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", prompt_id):
        return root / prompt_id
    return root / (re.sub(r"[^A-Za-z0-9_]+", "_", prompt_id)[:80] + "-" + sha256_text(prompt_id)[:16])


def is_saved(folder: Path) -> bool:
    """Whether a whole adapter is there."""
    return (folder / CONFIG).exists()


def layers(learner: LoraLearner) -> dict[str, Any]:
    """The adapted layers by their names in the model."""
    kinds = (LowRank, LowRankEmbedding, LowRankHead)
    return {path: module for path, module in learner.model.named_modules() if isinstance(module, kinds)}


def adapter_tensors(learner: LoraLearner, slot: int) -> dict[str, torch.Tensor]:
    """The numbers of a slot by PEFT's names, copied to the CPU."""
    found: dict[str, torch.Tensor] = {}
    for path, layer in layers(learner).items():
        if isinstance(layer, LowRank):
            a, b = (learner.adapters.read(slot, f"{layer.name}.{side}") for side in "AB")
            found |= {f"{path}.lora_A.weight": a.t(), f"{path}.lora_B.weight": b.t()}
            continue
        up, down = (learner.adapters.read(slot, f"{layer.name}.{side}") for side in ("up", "down"))
        if isinstance(layer, LowRankHead):
            found |= {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up}
        else:
            found |= {f"{path}.lora_embedding_A": up.t(), f"{path}.lora_embedding_B": down.t()}
    return {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in found.items()}


def adapter_config(learner: LoraLearner, base: str, revision: str | None) -> dict[str, Any]:
    """adapter_config.json, with every adapted layer by its own name."""
    adapted = layers(learner)
    embeddings = [layer for layer in adapted.values() if isinstance(layer, LowRankEmbedding)]
    if any(getattr(layer.base, "embed_scale", None) is not None for layer in embeddings):
        raise ConfigError(
            "PEFT would multiply this model's embedding update by the embedding's scale, ttft does not",
            "use --vocabulary off, or leave --save-adapters out",
        )
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision,
        "r": learner.rank,
        "lora_alpha": learner.alpha,
        "use_rslora": learner.rslora,
        "target_modules": list(adapted),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": any(isinstance(layer.base, Conv1D) for layer in adapted.values()),
        "inference_mode": True,
    }
    return config | ({"ensure_weight_tying": True} if embeddings and tied(learner.model) else {})
