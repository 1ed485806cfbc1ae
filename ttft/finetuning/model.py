"""Load a causal language model and its tokenizer: the embedded one, a folder or a hub name."""

from __future__ import annotations

from typing import Any

from ttft.assets import embedded_model_path
from ttft.errors import MissingArtifact

EMBEDDED = "embedded"


def load_causal_lm(
    name: str = EMBEDDED,
    *,
    revision: str | None = None,
    dtype: Any = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """(model in eval mode on the device, tokenizer). Only safetensors weights are read.

    Raises MissingArtifact when there is no such model here, or it cannot be reached.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = str(embedded_model_path()) if name == EMBEDDED else name
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
        model: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype or torch.float32, use_safetensors=True, **options
        )
    except (OSError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        raise MissingArtifact(
            f"cannot load the model {name!r}: {first}",
            "give a folder with a causal LM in Hugging Face format, or a hub name while online; embedded works offline",
        ) from None
    return model.to(device).eval(), tokenizer
