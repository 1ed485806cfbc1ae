"""The language model of a session, loaded by name or passed in, and the learner for the requested method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ttft import runtime
from ttft.defaults import Training, window_for
from ttft.errors import ConfigError
from ttft.evaluation import window_of
from ttft.finetuning.full import FullLearner
from ttft.finetuning.lora import LoraLearner
from ttft.finetuning.model import load_causal_lm
from ttft.progress import OnNote
from ttft.tuner.learners import ContextLearner, GradientLearner, Learner


def load_learner(
    model: Any, tokenizer: Any, training: Training, *, name: str, revision: str | None, max_length: int | None,
    device: str, dtype: torch.dtype, score_dtype: torch.dtype, slots: int | None, lora_alpha: float | None, reuse: int,
    start_from: str | Path | None, seed: int, trust_remote_code: bool, on_note: OnNote,
) -> Learner:  # fmt: skip
    """The learner for a model, given as a name, a folder, a .gguf file, or a loaded model with its tokenizer.

    Raises MissingArtifact for a model that cannot be found, ConfigError if it cannot be trained as requested.
    """
    if isinstance(model, str | Path):
        with runtime.quiet_loading():
            model, tokenizer = load_causal_lm(
                str(model), revision=revision, device=device, dtype=_stored(training.method, dtype, score_dtype),
                trust_remote_code=trust_remote_code,
            )  # fmt: skip
    longest = window_of(model)
    window = window_for(longest, max_length)
    if window < longest and max_length is None:
        on_note(f"context window: {window:,} of the {longest:,} tokens {name} supports (change it with --max-length)")
    known = (name, revision, tokenizer, window, training, dtype)
    if training.method == "in-context":
        return ContextLearner(*known, model)
    assert training.lr is not None
    if training.method == "full":
        full = FullLearner(model, lr=training.lr, dtype=dtype, score_dtype=score_dtype, start_from=start_from)
        return GradientLearner(*known, full, reuse)
    assert training.rank is not None and training.vocabulary is not None
    lora = LoraLearner(
        model, slots=slots, prompts=1, window=window, rank=training.rank, alpha=lora_alpha,
        rslora=bool(training.rslora), vocabulary=training.vocabulary, lr=training.lr, seed=seed, dtype=dtype,
        score_dtype=score_dtype, start_from=start_from,
    )  # fmt: skip
    return GradientLearner(*known, lora, reuse)


def _stored(method: str, dtype: torch.dtype, score_dtype: torch.dtype) -> torch.dtype:
    """The dtype to load the weights in: float32 if they are trained or used for exact scoring."""
    if method == "in-context":
        return score_dtype
    return torch.bfloat16 if method == "lora" and {dtype, score_dtype} == {torch.bfloat16} else torch.float32


def checked_model(model: Any, tokenizer: Any) -> Any:
    """The given model. Raises ConfigError unless it is a name, or a loaded model with its tokenizer."""
    if isinstance(model, str | Path):
        if tokenizer is not None:
            raise ConfigError(
                "a tokenizer can only be given with a loaded model", f"leave it out: {model} brings its own"
            )
        return model
    loaded = hasattr(model, "get_input_embeddings")
    if not loaded or tokenizer is None:
        raise ConfigError(
            f"model: a {type(model).__name__}" + " without its tokenizer" * loaded,
            "give a name, a folder, or a loaded causal LM of transformers with its tokenizer",
        )
    return model
