"""Options of `ttft q2d train`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft.config.base import MOST_FLOAT, MOST_SEED, Config


class Q2dTrainConfig(Config):
    """A model that writes the search query of a dialog, trained on pairs of both."""

    pairs: str
    """What to train on: the folder of `ttft q2d filter`, a JSONL file of pairs (id, source, target), or a file of human
    conversations with rewrites (QReCC, CANARD, CAsT, AdaQR, InfoCQR, MTRAG)."""
    out: str
    """Folder for the model: a LoRA adapter in PEFT's format, or a whole seq2seq model, with q2d.json and a card. The
    same command again goes on from the last checkpoint."""

    form: str | None = None
    """Form of a file of human conversations. Default: found from its records."""
    exclude: list[str] | None = None
    """Files of human conversations whose questions must not be trained on, because they are evaluated on."""
    max_pairs: int | None = Field(None, ge=1, le=10**9)
    """Train on this many pairs, drawn with the seed. Default: all."""
    held_out: float = Field(0.05, ge=0, lt=1)
    """Share of the pairs, at most 200, whose loss is measured and which are not trained on."""
    drop_answers: float = Field(0.0, ge=0, le=1)
    """Share of the pairs in which the assistant's turns are left out, so that the model also learns to read histories
    of questions alone."""
    no_search: float = Field(0.0, ge=0, le=1)
    """Dialogs to add that need no search (greetings, thanks, questions about the talk), as a share of the pairs. The
    model then answers NONE to such turns."""

    model: str = "smollm2"
    """Causal language model to put the adapter on: smollm2, embedded, a folder, a .gguf file or a Hugging Face name;
    with --kind seq2seq a T5 by folder or name, or scratch (a tiny one made here, for trials)."""
    model_revision: str | None = None
    """Commit or branch of the model on the Hugging Face Hub."""
    kind: Literal["causal", "seq2seq"] = "causal"
    """causal: LoRA on a causal language model; seq2seq: a model of the T5 family, trained whole."""
    instruction: str | None = None
    """What a causal model is told to do. Default: see ttft/q2d/README.md."""
    max_source_tokens: int = Field(384, ge=16, le=1_000_000)
    """Tokens of a dialog that the model reads; a longer one loses its beginning."""
    max_target_tokens: int = Field(64, ge=4, le=100_000)
    """Tokens of the longest query."""

    rank: int = Field(16, ge=1, le=4096)
    """LoRA rank."""
    lr: float = Field(5e-4, gt=0, le=MOST_FLOAT)
    """Highest learning rate: it rises in the first tenth of the steps and then falls to zero."""
    epochs: float = Field(2.0, gt=0, le=1000)
    """Passes over the pairs."""
    batch: int = Field(16, ge=1, le=100_000)
    """Pairs of one step."""
    weight_decay: float = Field(0.0, ge=0, le=MOST_FLOAT)
    """Weight decay."""
    every: int = Field(50, ge=1, le=10**9)
    """Steps between two checkpoints."""

    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:0 or mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type for computation; auto is bfloat16 where the hardware supports it, else float32."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Random seed."""
    trust_remote_code: bool = False
    """Allow model code that comes with a checkpoint to run."""

    @model_validator(mode="after")
    def _scratch_is_seq2seq(self) -> Self:
        if self.model == "scratch" and self.kind == "causal":
            raise ValueError("the model scratch is a T5; add --kind seq2seq")
        return self
