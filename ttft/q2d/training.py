"""Training a query model on pairs (dialog, query), with PEFT's LoRA or a seq2seq model, and transformers' Trainer.

The loss is the mean over the tokens of the query and the end token; what the model reads is not learned. Logits are
computed at those tokens only: over a vocabulary of 49,152, the others would cost as much as the model's layers.

The paper trained query models on its dialogs; its models, sizes and settings are not known to us. Those here are our
choice (measured: README.md).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ttft import runtime
from ttft.errors import ConfigError, MissingArtifact
from ttft.finetuning.model import load_causal_lm
from ttft.progress import OnProgress, Progress, ignore
from ttft.q2d.model_input import FILE, QueryFormat, prompt_ids, source_ids, target_ids
from ttft.q2d.records import Pair
from ttft.q2d.tiny import SCRATCH, tiny_seq2seq

CHECKPOINTS = "checkpoints"
IGNORED = -100


@dataclass(frozen=True)
class QueryTraining:
    """How a query model is trained.

    rank      of the LoRA adapter of a causal model; a seq2seq model is trained whole
    lr        the highest rate: it rises in the first tenth of the steps, then falls along a line to zero
    batch     pairs of one step
    every     steps between two checkpoints, from which the same call goes on
    """

    rank: int = 16
    lr: float = 5e-4
    epochs: float = 2.0
    batch: int = 16
    weight_decay: float = 0.0
    every: int = 50
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """steps in all, mean loss of the last tenth of them, and loss on the held-out pairs before and after, in nats per
    token (nan without held-out pairs)."""

    steps: int
    loss: float
    held_out_before: float
    held_out_after: float


def train_query_model(
    pairs: Sequence[Pair],
    folder: Path,
    form: QueryFormat,
    *,
    training: QueryTraining = QueryTraining(),
    held_out: Sequence[Pair] = (),
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    on_progress: OnProgress = ignore,
) -> Trained:
    """Train on the pairs and save the model in `folder`: a PEFT adapter, or a whole seq2seq model, and q2d.json.

    The same call goes on from the last checkpoint in the folder. Raises ConfigError without pairs, MissingArtifact for
    a model that cannot be loaded.
    """
    if not pairs:
        raise ConfigError("there are no pairs to train on", "give the folder of `ttft q2d filter`, or a pairs file")
    device = runtime.pick_device(device)
    kind = runtime.pick_dtype(dtype, device)
    model, tokenizer = _loaded(form, pairs, kind, device, training, trust_remote_code)
    rows = [_row(form, tokenizer, pair) for pair in pairs]
    held = [_row(form, tokenizer, pair) for pair in held_out]
    trainer = _trainer(model, rows, folder, form, training, device, kind, _pad_token(tokenizer), on_progress)
    before = _mean_loss(trainer, held)
    last = _last_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    after = _mean_loss(trainer, held)
    model.save_pretrained(folder)
    if form.kind == "seq2seq":
        tokenizer.save_pretrained(folder)
    form.save(folder)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tail = losses[-max(1, len(losses) // 10) :]
    return Trained(trainer.state.global_step, math.fsum(tail) / max(1, len(tail)), before, after)


def _loaded(
    form: QueryFormat, pairs: Sequence[Pair], dtype: torch.dtype, device: str, training: QueryTraining, trust: bool
) -> tuple[Any, Any]:
    """The model to train, with its adapter if it has one, and its tokenizer."""
    if form.kind == "seq2seq":
        if form.base == SCRATCH:
            model, tokenizer = tiny_seq2seq(
                [text for pair in pairs for text in (pair.source, pair.target)], training.seed
            )
        else:
            model, tokenizer = load_seq2seq(form.base, form.revision, trust)
        return model.to(device), tokenizer
    from peft import LoraConfig, get_peft_model

    base, tokenizer = load_causal_lm(
        form.base, revision=form.revision, dtype=dtype, device=device, trust_remote_code=trust
    )  # fmt: skip
    base.config.use_cache = False
    torch.manual_seed(training.seed)
    config = LoraConfig(
        r=training.rank, lora_alpha=2 * training.rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(base, config), tokenizer


def load_seq2seq(name: str, revision: str | None = None, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """(seq2seq model in float32, tokenizer) by folder or hub name. Raises MissingArtifact."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        model = AutoModelForSeq2SeqLM.from_pretrained(name, dtype=torch.float32, use_safetensors=True, **options)
    except (OSError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        raise MissingArtifact(
            f"cannot load the seq2seq model {name!r}: {first}",
            "give a folder, or a hub name such as t5-small while online",
        ) from None
    return model, tokenizer


Row = dict[str, list[int]]


def _row(form: QueryFormat, tokenizer: Any, pair: Pair) -> Row:
    target = target_ids(form, tokenizer, pair.target)
    if form.kind == "seq2seq":
        source = source_ids(form, tokenizer, pair.source)
        return {"input_ids": [*source, tokenizer.eos_token_id], "labels": target}
    prompt = prompt_ids(form, tokenizer, pair.source)
    return {"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target}


def _pad_token(tokenizer: Any) -> int:
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def padded(rows: Sequence[Row], pad: int) -> dict[str, Tensor]:
    """Rows as tensors (rows, longest), padded on the right: inputs with `pad`, which is masked, labels with IGNORED."""

    def tensor(values: list[list[int]], fill: int) -> Tensor:
        longest = max(map(len, values))
        return torch.tensor([one + [fill] * (longest - len(one)) for one in values])

    inputs = [row["input_ids"] for row in rows]
    mask = tensor([[1] * len(one) for one in inputs], 0)
    return {
        "input_ids": tensor(inputs, pad),
        "attention_mask": mask,
        "labels": tensor([row["labels"] for row in rows], IGNORED),
    }


def query_loss(model: Any, inputs: dict[str, Tensor], count: Tensor | int | None = None) -> Tensor:
    """Sum of nats of the labelled tokens over `count`, or over their number."""
    labels = inputs["labels"]
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if base.config.is_encoder_decoder:
        logits = model(**inputs).logits
        wanted = labels != IGNORED
        logits, targets = logits[wanted], labels[wanted]
    else:
        hidden = base.base_model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
        ).last_hidden_state
        wanted = labels[:, 1:] != IGNORED
        logits, targets = base.get_output_embeddings()(hidden[:, :-1][wanted]), labels[:, 1:][wanted]
    nats = nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
    return nats / (len(targets) if count is None else count)


def _trainer(
    model: Any, rows: list[Row], folder: Path, form: QueryFormat, training: QueryTraining, device: str,
    dtype: torch.dtype, pad: int, on_progress: OnProgress,
) -> Any:  # fmt: skip
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    class QueryTrainer(Trainer):
        """With the loss at the query's tokens only."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            loss = query_loss(model, inputs, num_items_in_batch)
            return (loss, {"loss": loss}) if return_outputs else loss

    class Told(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            if logs and "loss" in logs:
                on_progress(
                    Progress("training", state.global_step, state.max_steps, "steps", f"loss {logs['loss']:.3f}")
                )

    steps = math.ceil(len(rows) / training.batch) * training.epochs
    arguments = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS), per_device_train_batch_size=training.batch,
        num_train_epochs=training.epochs, learning_rate=training.lr, lr_scheduler_type="linear",
        warmup_steps=math.ceil(steps / 10), weight_decay=training.weight_decay, seed=training.seed, logging_steps=1,
        save_steps=training.every, save_total_limit=2, report_to="none", disable_tqdm=True,
        use_cpu=device == "cpu", bf16=form.kind == "causal" and dtype == torch.bfloat16, remove_unused_columns=False,
        train_sampling_strategy="group_by_length", dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = QueryTrainer(
        model=model, args=arguments, train_dataset=rows, data_collator=lambda some: padded(some, pad),
        callbacks=[Told()],
    )  # fmt: skip
    trainer.model_accepts_loss_kwargs = True
    trainer.remove_callback(PrinterCallback)
    return trainer


@torch.no_grad()
def _mean_loss(trainer: Any, rows: list[Row]) -> float:
    """Nats per token of the queries."""
    if not rows:
        return math.nan
    model, nats, tokens = trainer.model.eval(), 0.0, 0
    for start in range(0, len(rows), trainer.args.per_device_train_batch_size):
        some = trainer.data_collator(rows[start : start + trainer.args.per_device_train_batch_size])
        some = {name: value.to(model.device) for name, value in some.items()}
        nats += float(query_loss(model, some, 1))
        tokens += int((some["labels"] != IGNORED).sum())
    model.train()
    return nats / tokens


def is_trained(folder: Path) -> bool:
    """Whether training in this folder has ended: q2d.json is written last."""
    return (folder / FILE).is_file()


def _last_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint of an interrupted call: its state file is written last."""
    found = [path for path in (folder / CHECKPOINTS).glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return max(found, key=lambda path: int(path.name.split("-")[1]), default=None)
