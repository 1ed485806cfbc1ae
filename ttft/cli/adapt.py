"""The command that trains one adapter for a whole corpus: ttft adapt."""

from __future__ import annotations

from typing import Annotated

from ttft.cli.options import ConfigFile, Device, DryRun, Dtype, Model, Rank, Seed, Sets, argument, configure, option
from ttft.config.adapt import AdaptConfig


def adapt(
    index: Annotated[str | None, argument(AdaptConfig, "index", "INDEX")] = None,
    out: Annotated[str | None, option(AdaptConfig, "out", "--out", "-o")] = None,
    method: Annotated[str | None, option(AdaptConfig, "method")] = None,
    cluster: Annotated[str | None, option(AdaptConfig, "cluster")] = None,
    workers: Annotated[int | None, option(AdaptConfig, "workers", "--workers", "-w")] = None,
    heterogeneous: Annotated[bool | None, option(AdaptConfig, "heterogeneous", "--heterogeneous")] = None,
    updates: Annotated[int | None, option(AdaptConfig, "updates")] = None,
    batch: Annotated[int | None, option(AdaptConfig, "batch")] = None,
    lr: Annotated[float | None, option(AdaptConfig, "lr")] = None,
    momentum: Annotated[float | None, option(AdaptConfig, "momentum")] = None,
    every: Annotated[int | None, option(AdaptConfig, "every")] = None,
    subsets: Annotated[list[str] | None, option(AdaptConfig, "subsets", "--subset")] = None,
    texts_of: Annotated[str | None, option(AdaptConfig, "texts_of")] = None,
    held_out: Annotated[int | None, option(AdaptConfig, "held_out")] = None,
    validation: Annotated[str | None, option(AdaptConfig, "validation")] = None,
    model: Model = None,
    start_from: Annotated[str | None, option(AdaptConfig, "start_from")] = None,
    rank: Rank = None,
    ray_address: Annotated[str | None, option(AdaptConfig, "ray_address")] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Adapt the model to a corpus once: train one LoRA adapter with asynchronous workers.

    Gap-Aware (ga, dana-ga) is patented: US 11,631,035 B2. Using it may need a licence.

    Examples:

        ttft adapt runs/index --out runs/adapted

        ttft adapt runs/index --out runs/adapted --cluster ray --workers 8

        ttft adapt runs/index --out runs/trial --cluster simulated --workers 32 --heterogeneous --method dana-slim

        ttft finetune-eval runs/index -p prompts.jsonl --out runs/from-adapted --start-from runs/adapted
    """
    given = configure(AdaptConfig, locals())
    from ttft.commands.adapt import run

    run(given, dry_run=dry_run)
