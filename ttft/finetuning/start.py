"""A LoRA adapter in PEFT's format as the start of every prompt.

The adapter is folded into a copy of the model: each of its layers gets the weight W + s B A, summed in float32 and
rounded to the weight's dtype. Whatever the adapter's rank, scale and layers, the copy is base + adapter, and what is
trained on it may be anything: a fresh LoRA adapter of another rank and on other layers, or all weights. Only the folded
weights take memory of their own.

PEFT reads the adapter and says which layers it is on, with which ranks and scales. Refused is what is more than
W + s B A: DoRA, trained biases or whole modules, and the like. Where the vocabulary is tied and the adapter changes its
two sides differently, the copy's two sides are separate matrices.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers.pytorch_utils import Conv1D

from ttft.errors import ConfigError, MissingArtifact
from ttft.finetuning.model_copy import sharing_copy

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."  # what PeftModel puts around the model

MORE_THAN_LORA = (
    "use_dora", "modules_to_save", "trainable_token_indices", "layer_replication", "lora_bias", "target_parameters",
    "alora_invocation_tokens", "use_qalora", "use_bdlora", "arrow_config", "kasa_config", "velora_config",
    "monteclora_config",
)  # fmt: skip
"""Fields of peft.LoraConfig with which an adapter is something else than W + s B A on some layers."""
KEEPS_THE_BASE = (True, False, "gaussian", "eva", "orthogonal")
"""init_lora_weights of adapters whose base weights are those of the model; the others (PiSSA, ...) change the base."""


@dataclass(frozen=True)
class StartLayer:
    """The update s B A of one layer: a (r, in) and b (out, r); of an embedding a (r, V) and b (d, r). float32."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float


def with_adapter(model: Any, source: str | Path) -> tuple[Any, dict[str, StartLayer]]:
    """(a frozen copy of the model with the adapter folded in, the adapter's layers by their names in the model).

    source  a folder in PEFT's format, or the name of one on the hub. The model is left as it is
    Raises MissingArtifact when there is no adapter, ConfigError when it does not fit the model or is not plain LoRA.
    """
    folder = adapter_files(source)
    check_plain(folder, source)
    check_base_weights(model, folder, source)
    folded, layers = sharing_copy(model), {}
    with torch.no_grad():
        for path, layer in read_layers(model, folder, source).items():
            home, a, b = folded.get_submodule(path), *matrices(layer)
            layers[path] = StartLayer(a.detach().float(), b.detach().float(), float(layer.scaling["default"]))
            weight = home.weight.float() + layer.get_delta_weight("default").float()
            home.weight = nn.Parameter(weight.to(home.weight.dtype), requires_grad=False)
    tie_again(model, folded, layers)
    return folded, layers


def adapter_files(source: str | Path) -> Path:
    """The folder with the two files of an adapter; a hub name is looked up, and fetched where that is allowed."""
    folder, hint = Path(source), f"give a folder with {CONFIG} and {WEIGHTS}, or a hub name while online"
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(str(source), allow_patterns=[CONFIG, WEIGHTS]))
        except (OSError, ValueError) as error:  # no such name, none stored while offline, not a name at all
            first = str(error).strip().split("\n")[0]
            raise MissingArtifact(f"there is no adapter {str(source)!r}: {first}", hint) from None
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise MissingArtifact(f"the adapter {source} has no {name}", hint)
    return folder


def check_plain(folder: Path, source: str | Path) -> None:
    """Raises ConfigError unless the adapter is W + s B A for a causal LM."""
    import peft

    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{folder / CONFIG} is no configuration that PEFT reads: {error}") from None
    more = [name for name in MORE_THAN_LORA if getattr(config, name, None)]
    if getattr(config, "bias", "none") != "none":
        more.append(f"bias={config.bias}")
    if getattr(config, "init_lora_weights", True) not in KEEPS_THE_BASE:
        more.append(f"init_lora_weights={config.init_lora_weights}")
    if config.task_type not in (None, "CAUSAL_LM"):
        more.append(f"task_type={config.task_type}")
    if config.peft_type != "LORA":
        more = [f"peft_type={getattr(config.peft_type, 'value', config.peft_type)}"]
    if more:
        raise ConfigError(
            f"the adapter {source} is not plain LoRA for a causal language model: {', '.join(more)}",
            "merge it into the model with PEFT (merge_and_unload), save that and give it as the model",
        )


def check_base_weights(model: Any, folder: Path, source: str | Path) -> None:
    """PEFT may store the base's embedding beside an update of it. Raises ConfigError if it is not the model's own."""
    own = model.state_dict()
    with safe_open(folder / WEIGHTS, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dictionary
            if ".lora_" in name:
                continue
            weight, stored = own.get(name.removeprefix(PREFIX).replace(".base_layer", "")), file.get_tensor(name)
            same = weight is not None and weight.shape == stored.shape
            if not same or not torch.equal(stored.to(weight.device, weight.dtype), weight):
                raise ConfigError(
                    f"the adapter {source} brings weights of its own that the model does not have: {name}",
                    "it belongs to another base model, or its vocabulary was changed; give that model",
                )


def read_layers(model: Any, folder: Path, source: str | Path) -> dict[str, Any]:
    """PEFT's layers with the adapter in them, by the names of the model's layers."""
    import peft
    from peft.tuners.lora import LoraLayer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a fan_in_fan_out that PEFT corrects; of keys, which are checked here
            loaded = peft.PeftModel.from_pretrained(sharing_copy(model), str(folder), torch_device=str(model.device))
    except (ValueError, RuntimeError) as error:
        first = " ".join(line.strip() for line in str(error).strip().split("\n")[:2])
        raise _unfit(model, source, first) from None
    with safe_open(folder / WEIGHTS, "pt") as file:
        stored = {name for name in file.keys() if ".lora_" in name}  # noqa: SIM118 - not a dictionary
    taken = set(peft.get_peft_model_state_dict(loaded, save_embedding_layers=False))
    for names, what in ((stored - taken, "has no place for"), (taken - stored, "also asks for")):
        if names:
            raise _unfit(model, source, f"the model {what} {min(names)}" + f" and {len(names) - 1} more")
    found = {path.removeprefix(PREFIX): m for path, m in loaded.named_modules() if isinstance(m, LoraLayer)}
    for path, layer in found.items():
        if not isinstance(layer.get_base_layer(), (nn.Linear, Conv1D, nn.Embedding)):
            raise _unfit(model, source, f"{path} is a {type(layer.get_base_layer()).__name__}")
    return found


def _unfit(model: Any, source: str | Path, reason: str) -> ConfigError:
    return ConfigError(
        f"the adapter {source} does not fit {type(model).__name__}: {reason}",
        "give the model that it was trained on: base_model_name_or_path in its " + CONFIG,
    )


def matrices(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B of one of PEFT's layers."""
    if "default" in layer.lora_embedding_A:
        return layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight


def tie_again(model: Any, folded: Any, layers: dict[str, StartLayer]) -> None:
    """Let a tied vocabulary be one matrix again where both sides have the same update, and two where they have not."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): path for path, module in model.named_modules()}
    one, other = layers.get(names[id(embedding)]), layers.get(names[id(head)])
    if head.weight is not embedding.weight or (one is None and other is None):
        return
    same = one is not None and other is not None and one.scale == other.scale
    if same and torch.equal(one.a, other.b.t()) and torch.equal(one.b, other.a.t()):  # type: ignore[union-attr]
        folded.get_output_embeddings().weight = folded.get_input_embeddings().weight
    else:
        folded.config.tie_word_embeddings = False
