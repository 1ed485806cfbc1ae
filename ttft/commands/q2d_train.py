"""ttft q2d train: pairs of a dialog and its query -> a model that writes queries."""

from __future__ import annotations

import math
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.q2d_train import Q2dTrainConfig
from ttft.errors import ConfigError
from ttft.progress import counted
from ttft.run_dir import CONFIG, PROVENANCE

if TYPE_CHECKING:
    from ttft.q2d.records import Pair
    from ttft.q2d.training import Trained

PLACES = ("out", "device")


def run(config: Q2dTrainConfig, *, dry_run: bool = False) -> None:
    """Train, or go on from the last checkpoint. Raises TtftError."""
    folder = Path(config.out)
    if dry_run:
        files = ("q2d.json", "README.md", "adapter_config.json", "adapter_model.safetensors", CONFIG, PROVENANCE)
        show_plan(config, [folder / name for name in files])
        return
    pairs = training_pairs(config)
    from ttft import run_dir, runtime
    from ttft.files import write_whole
    from ttft.q2d.cards import model_card
    from ttft.q2d.model_input import INSTRUCTION, OR_NONE, QueryFormat
    from ttft.q2d.pairs import held_out
    from ttft.q2d.records import NO_SEARCH
    from ttft.q2d.training import QueryTraining, is_trained, train_query_model

    runtime.quiet_libraries()
    runtime.setup(config.seed)
    runtime.keep_freed_memory()
    kept, held = held_out(pairs, config.held_out)
    none = any(pair.target == NO_SEARCH for pair in pairs)
    form = QueryFormat(
        config.kind, config.model, config.model_revision,
        config.instruction or (f"{INSTRUCTION} {OR_NONE}" if none else INSTRUCTION),
        config.max_source_tokens, config.max_target_tokens, none,
    )  # fmt: skip
    training = QueryTraining(
        config.rank, config.lr, config.epochs, config.batch, config.weight_decay, config.every, config.seed
    )
    with run_dir.locked(folder):
        run_dir.claim_run(folder, identity(config, pairs))
        if is_trained(folder):
            say(f"{folder} is trained; next: {_next(folder)}")
            return
        run_dir.record_provenance(folder, run_dir.provenance(config.seed, {}))
        note(f"{counted(len(kept), 'pair')} to train on, {len(held)} held out")
        started = time.perf_counter()
        with progress() as display:
            trained = train_query_model(
                kept, folder, form, training=training, held_out=held, device=config.device, dtype=config.dtype,
                trust_remote_code=config.trust_remote_code, on_progress=display,
            )  # fmt: skip
        facts = asdict(form) | asdict(training) | asdict(trained) | {"pairs": len(pairs)}
        write_whole(folder / "README.md", model_card(facts, name=folder.resolve().name).encode())
        seconds = time.perf_counter() - started
        run_dir.finish_provenance(folder, seconds, trained.steps)
    say(_summary(trained, seconds, folder))


def training_pairs(config: Q2dTrainConfig) -> list[Pair]:
    """The pairs that the options describe. Raises TtftError for what cannot be read, or if none is left."""
    from ttft.q2d import conversations, pairs
    from ttft.q2d.rules import no_search_dialogs

    path = Path(config.pairs)
    if path.is_dir() or (config.form is None and pairs.is_pairs_file(path)):
        found = pairs.read_pairs(path)
        for other in config.exclude or []:
            kept = pairs.without_targets(found, conversations.load_examples(Path(other)))
            _tell_left_out(len(found) - len(kept), path, other)
            found = kept
    else:
        examples = conversations.load_examples(path, config.form)
        for other in config.exclude or []:
            rest = conversations.without_overlap(examples, conversations.load_examples(Path(other)))
            _tell_left_out(len(examples) - len(rest), path, other)
            examples = rest
        found = list(pairs.of_examples(examples))
    if config.max_pairs is not None and config.max_pairs < len(found):
        found = random.Random(config.seed).sample(found, config.max_pairs)
    if not found:
        raise ConfigError(f"{path}: no turn with a history and a rewrite is left to train on")
    found = pairs.without_answers(found, config.drop_answers, config.seed)
    return found + no_search_dialogs(math.ceil(config.no_search * len(found)), config.seed)


def _tell_left_out(count: int, path: Path, other: str) -> None:
    note(f"{counted(count, 'pair')} of {path.name} left out: they are in {other}")


def identity(config: Q2dTrainConfig, pairs: list[Pair]) -> dict[str, Any]:
    """The resolved configuration, in which the pairs are identified by content."""
    from ttft.run_dir import sha256_text

    resolved = config.resolved() | {"command": "q2d train", "count": len(pairs)}
    resolved["pairs"] = sha256_text("\n".join(f"{p.id}\t{p.source}\t{p.target}" for p in pairs))
    for place in (*PLACES, "exclude"):
        del resolved[place]
    return resolved


def _summary(trained: Trained, seconds: float, folder: Path) -> str:
    loss = f"loss {trained.loss:.3f} nats per token"
    if not math.isnan(trained.held_out_after):
        loss += f", on held-out pairs {trained.held_out_before:.3f} -> {trained.held_out_after:.3f}"
    return f"{folder}: {counted(trained.steps, 'step')}, {loss}, {seconds:.1f} s; next: {_next(folder)}"


def _next(folder: Path) -> str:
    return f"ttft q2d rewrite DIALOGS.jsonl --model {folder}"
