"""ttft adapt: texts of an index -> one LoRA adapter, trained by asynchronous workers, into a resumable run folder."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft import defaults
from ttft.commands.console import note, progress, say, show_plan
from ttft.config.adapt import AdaptConfig
from ttft.errors import ConfigError
from ttft.progress import counted
from ttft.run_dir import ARRIVALS, CHECKPOINT, CONFIG, PROVENANCE, VALIDATION, sha256_file

if TYPE_CHECKING:
    from torch import Tensor

    from ttft.async_training.cluster import Cluster
    from ttft.async_training.master import Master
    from ttft.tuner.adapt import AdaptAccount, AdaptPlan

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
PLACES = ("out", "index", "ray_address", "device")
"""Options that do not affect what is trained."""


def run(config: AdaptConfig, *, dry_run: bool = False) -> None:
    """Train the adapter, or go on with it. Raises TtftError; the last checkpoint stays."""
    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / name for name in (ARRIVALS, VALIDATION, CONFIG, PROVENANCE, CHECKPOINT, *ADAPTER)])
        return
    from ttft import runtime

    runtime.quiet_libraries()
    runtime.setup(config.seed)
    runtime.keep_freed_memory()
    plan = plan_of(config)
    from ttft.tuner.adapt import adapt_into

    with progress() as display:
        account = adapt_into(plan, on_progress=display, on_note=note)
    say(_summary(account, folder))


def plan_of(config: AdaptConfig) -> AdaptPlan:
    """The run that a configuration describes. Raises TtftError for what does not fit together."""
    from ttft.async_training.language_model import LoraGradient
    from ttft.tuner.adapt import AdaptPlan, load_model
    from ttft.tuner.adapt_texts import training_texts
    from ttft.vector_index.manifest import read_manifest

    manifest = read_manifest(config.index)
    given = held_out_documents(config)
    texts, held_out = training_texts(
        config.index, subsets=config.subsets, run=config.texts_of, held_out=0 if given else config.held_out,
        seed=config.seed,
    )  # fmt: skip
    if not (held_out := given or held_out):
        raise ConfigError("there is nothing to validate on", "give --held-out N or --validation FILE")
    if config.workers > len(texts):
        raise ConfigError(f"{counted(config.workers, 'worker')} for {counted(len(texts), 'text')}", "use fewer workers")
    model = defaults.named_model(config.model)
    training = defaults.training_for(model, "lora", rank=config.rank, vocabulary=config.vocabulary)
    load = partial(
        load_model, config.model, training, revision=config.model_revision, max_length=config.max_length,
        device=config.device, dtype=config.dtype, lora_alpha=config.lora_alpha, start_from=config.start_from,
        seed=config.seed, trust_remote_code=config.trust_remote_code,
    )  # fmt: skip
    return AdaptPlan(
        folder=Path(config.out), identity=partial(identity, config, manifest.content_sha256()),
        gradient=LoraGradient(load, texts, batch=config.batch, seed=config.seed), held_out=held_out,
        master=partial(master_of, config), cluster=partial(cluster_of, config), updates=config.updates,
        base=config.model, revision=config.model_revision, every=config.every, seed=config.seed,
    )  # fmt: skip


def held_out_documents(config: AdaptConfig) -> list[str]:
    """The documents of --validation, [] without it."""
    if config.validation is None:
        return []
    from ttft.corpus.problems import Problems
    from ttft.corpus.sources import read_prompts

    problems = Problems()
    documents = read_prompts(config.validation, max_prompts=config.max_validation, problems=problems)
    for line in problems.summary():
        note(line)
    return [document.text for document in documents]


def master_of(config: AdaptConfig, start: Tensor) -> Master:
    """The master of this method, with the options that it has."""
    from ttft.async_training import Ball, Inner, Schedule, make_master
    from ttft.async_training.masters import MASTERS, options_of

    has = options_of(MASTERS[config.method])
    asked = {name: getattr(config, name) for name in ("momentum", "base", "weight_decay")}
    options: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    options["gaps"] = config.gaps
    if "base" in has and config.base is None and config.method not in ("dc-asgd", "dc-asgd-a", "dana-dc"):
        options["base"] = "adam"
    if "inner" in has:
        options["inner"] = Inner(lr=config.inner_lr or defaults.ADAPT_LR, steps=config.inner_steps or 10)
    if "every" in has:
        options["every"] = config.workers
    if "within" in has:
        options["within"] = Ball(config.radius or defaults.ADAPT_RADIUS)
    if "lr" in has:
        warmup = int(config.warmup * config.updates) if "inner" not in has else 0
        lr = config.lr or (defaults.ADAPT_OUTER_LR if "inner" in has else defaults.ADAPT_LR)
        total = config.updates if config.cosine else None
        options["lr"] = Schedule(lr, warmup=warmup, workers=config.workers, total=total)
    return make_master(config.method, start, **options)


def cluster_of(config: AdaptConfig) -> AbstractContextManager[Cluster]:
    """The cluster that was asked for."""
    if config.cluster == "simulated":
        from ttft.async_training import Simulated

        return nullcontext(Simulated(config.workers, heterogeneous=config.heterogeneous, seed=config.seed))
    slow = dict(enumerate(config.slow or []))
    if config.cluster == "local":
        from ttft.async_training.processes import Processes

        return Processes(config.workers, slow=slow, seed=config.seed, on_note=note)
    from ttft.distributed.training import ray_cluster

    return ray_cluster(
        config.workers, folder=Path(config.out), address=config.ray_address, device=config.device, seed=config.seed,
        slow=slow, on_note=note,
    )  # fmt: skip


def identity(config: AdaptConfig, index: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The resolved configuration of the run, in which the index and other files are identified by content."""
    resolved = config.resolved() | facts | {"command": "adapt", "index_sha256": index}
    for place in PLACES:
        del resolved[place]
    if config.validation is not None and Path(config.validation).is_file():
        resolved["validation"] = sha256_file(Path(config.validation))
    return resolved


def _summary(account: AdaptAccount, folder: Path) -> str:
    first, last = account.validation[0], account.validation[-1]
    percent = 100 * last.nats / first.nats
    return (
        f"{folder}: {counted(last.updates, 'update')}, held-out BPB {first.bpb:.4f} -> {last.bpb:.4f} "
        f"({percent:.1f}% of base), {account.seconds:.1f} s; next: ttft finetune-eval INDEX --start-from {folder}"
    )
