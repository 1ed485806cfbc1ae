"""A slot's adapter as PEFT stores one: a folder with adapter_config.json and adapter_model.safetensors.

`peft.PeftModel.from_pretrained(base, folder)` is then the model that the slot was scored with. In PEFT's names, for a
layer whose update is s x A B, an embedding whose update is s up down and a head whose update is s h down^T up^T:

    lora_A.weight = A^T (r, in)            lora_B.weight = B^T (out, r)
    lora_embedding_A = up^T (r, V)         lora_embedding_B = down^T (d, r)
    lora_A.weight = down (r, d)            lora_B.weight = up (V, r)          of the head

The one pair of a tied vocabulary is stored on both sides, and `ensure_weight_tying` says so. Such an adapter is to be
loaded, not merged: PEFT's merge would add it to the shared matrix once for each side.

A slot that started from another adapter s0 A0 B0 is stored as one adapter of the original model, of both ranks:

    A' = [A0 A]        B' = [s0/s B0; B]        s A' B' = s0 A0 B0 + s A B

PEFT, which writes the configuration, takes seconds to import: it is imported at the first adapter.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn
from transformers.pytorch_utils import Conv1D

from ttft.errors import ConfigError
from ttft.files import write_whole
from ttft.finetuning.lora import LoraLearner, tied
from ttft.finetuning.low_rank import LowRank, LowRankEmbedding, LowRankHead
from ttft.finetuning.start import CONFIG, PREFIX, WEIGHTS
from ttft.run_dir import make_folder, sha256_text, write_json

Pairs = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""PEFT's A and B by the names of the layers."""
PLAIN = re.compile(r"[a-z0-9_][a-z0-9_-]{0,99}")
MADE = re.compile(r"-[0-9a-f]{16}$")
"""Which prompt ids name their adapter's folder, and how the names of the other folders end."""


def save_adapter(learner: LoraLearner, slot: int, folder: Path, *, base: str, revision: str | None = None) -> None:
    """Write the adapter of a slot, float32. A folder that holds adapter_config.json is complete: it is written last.

    base, revision  the model's name or folder and its revision, as PEFT notes them
    Raises ConfigError when PEFT would read the numbers otherwise than they were trained.
    """
    pairs = matrices(learner, slot)
    config = adapter_config(learner, pairs, base, revision)
    tensors = {PREFIX + name: tensor for name, tensor in adapter_tensors(learner, pairs).items()}
    make_folder(folder)
    write_whole(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG, config)


def adapter_folder(root: Path, prompt_id: str) -> Path:
    """The folder of a prompt's adapter, a different one for each id, on disks that ignore case too.

    An id that is a plain lower-case word is the folder's name. Any other id, and one that looks like a name made here,
    gives a name of its letters and its hash.
    """
    if PLAIN.fullmatch(prompt_id) and not MADE.search(prompt_id):
        return root / prompt_id
    letters = re.sub(r"[^a-z0-9_]+", "_", prompt_id.lower())[:80]
    return root / f"{letters}-{sha256_text(prompt_id)[:16]}"


def is_saved(folder: Path) -> bool:
    """Whether a whole adapter is there."""
    return (folder / CONFIG).exists()


def layers(learner: LoraLearner) -> dict[str, Any]:
    """The adapted layers by their names in the model."""
    kinds = (LowRank, LowRankEmbedding, LowRankHead)
    return {path: module for path, module in learner.model.named_modules() if isinstance(module, kinds)}


def adapter_tensors(learner: LoraLearner, pairs: Pairs) -> dict[str, torch.Tensor]:
    """The matrices by PEFT's names, copied to the CPU."""
    found: dict[str, torch.Tensor] = {}
    for path, (a, b) in pairs.items():
        names = ("lora_A.weight", "lora_B.weight")
        if isinstance(learner.model.get_submodule(path), (LowRankEmbedding, nn.Embedding)):
            names = ("lora_embedding_A", "lora_embedding_B")
        found |= {f"{path}.{name}": tensor for name, tensor in zip(names, (a, b), strict=True)}
    return {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in found.items()}


def matrices(learner: LoraLearner, slot: int) -> Pairs:
    """PEFT's A and B of every layer that the slot's or the start's adapter is on, in the model's order."""
    own = {path: slot_matrices(learner, slot, layer) for path, layer in layers(learner).items()}
    if not learner.start_layers:
        return own
    head = learner.model.get_output_embeddings()
    both = {}
    for path, module in learner.model.named_modules():
        pairs = []
        if path in learner.start_layers:
            first = learner.start_layers[path]
            factor = first.scale / learner.scale
            # on `down`, which is A of the head and B of the embedding: the two sides of a tied vocabulary stay alike
            pairs.append((first.a * factor, first.b) if module is head else (first.a, first.b * factor))
        if path in own:
            pairs.append(own[path])
        if pairs:
            both[path] = (torch.cat([a for a, _ in pairs], 0), torch.cat([b for _, b in pairs], 1))
    return both


def slot_matrices(learner: LoraLearner, slot: int, layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """PEFT's A and B of one adapted layer as the slot has them."""
    if isinstance(layer, LowRank):
        a, b = (learner.adapters.read(slot, f"{layer.name}.{side}") for side in "AB")
        return a.t(), b.t()
    up, down = (learner.adapters.read(slot, f"{layer.name}.{side}") for side in ("up", "down"))
    return (down, up) if isinstance(layer, LowRankHead) else (up.t(), down.t())


def adapter_config(learner: LoraLearner, pairs: Pairs, base: str, revision: str | None) -> dict[str, Any]:
    """adapter_config.json, with every adapted layer by its own name."""
    import peft

    adapted = {path: learner.model.get_submodule(path) for path in pairs}
    embeddings = [layer for layer in adapted.values() if isinstance(layer, (LowRankEmbedding, nn.Embedding))]
    own = [layer.base for layer in embeddings if isinstance(layer, LowRankEmbedding)]
    if any(getattr(embedding, "embed_scale", None) is not None for embedding in own):
        raise ConfigError(
            "PEFT would multiply this model's embedding update by the embedding's scale, ttft does not",
            "use --vocabulary off, or leave --save-adapters out",
        )
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        revision=revision,
        target_modules=list(adapted),
        fan_in_fan_out=any(isinstance(getattr(layer, "base", layer), Conv1D) for layer in adapted.values()),
        inference_mode=True,
        ensure_weight_tying=bool(embeddings) and tied(learner.model),
        **ranks(learner, pairs),
    )
    return config.to_dict() | {"target_modules": list(adapted)}  # in LoraConfig it is a set, without an order


def ranks(learner: LoraLearner, pairs: Pairs) -> dict[str, Any]:
    """r, lora_alpha and use_rslora of LoraConfig; with a start of other layers, what differs from layer to layer."""
    if not learner.start_layers:
        return {"r": learner.rank, "lora_alpha": learner.alpha, "use_rslora": learner.rslora}
    rank = {path: len(a) for path, (a, _) in pairs.items()}
    most = max(rank.values())
    other = {path: r for path, r in rank.items() if r != most}
    return {
        "r": most,
        "lora_alpha": learner.scale * most,
        "rank_pattern": other,
        "alpha_pattern": {path: learner.scale * r for path, r in other.items()},
    }
