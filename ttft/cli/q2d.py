"""The commands of q2d: from questions to dialogs to a model that writes search queries."""

from __future__ import annotations

from typing import Annotated

import typer

from ttft.cli.options import ConfigFile, DryRun, Sets, argument, configure, option
from ttft.config.q2d_train import Q2dTrainConfig

q2d = typer.Typer(no_args_is_help=True)


@q2d.command("train")
def train(
    pairs: Annotated[str | None, argument(Q2dTrainConfig, "pairs", "PAIRS")] = None,
    out: Annotated[str | None, option(Q2dTrainConfig, "out", "--out", "-o")] = None,
    model: Annotated[str | None, option(Q2dTrainConfig, "model", "--model", "-m")] = None,
    kind: Annotated[str | None, option(Q2dTrainConfig, "kind")] = None,
    form: Annotated[str | None, option(Q2dTrainConfig, "form")] = None,
    exclude: Annotated[list[str] | None, option(Q2dTrainConfig, "exclude")] = None,
    max_pairs: Annotated[int | None, option(Q2dTrainConfig, "max_pairs")] = None,
    no_search: Annotated[float | None, option(Q2dTrainConfig, "no_search")] = None,
    epochs: Annotated[float | None, option(Q2dTrainConfig, "epochs")] = None,
    lr: Annotated[float | None, option(Q2dTrainConfig, "lr")] = None,
    rank: Annotated[int | None, option(Q2dTrainConfig, "rank")] = None,
    batch: Annotated[int | None, option(Q2dTrainConfig, "batch")] = None,
    device: Annotated[str | None, option(Q2dTrainConfig, "device")] = None,
    dtype: Annotated[str | None, option(Q2dTrainConfig, "dtype")] = None,
    seed: Annotated[int | None, option(Q2dTrainConfig, "seed")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Train a model that writes the search query of a dialog.

    Examples:

        ttft q2d train runs/q2d-filtered --out runs/query-model

        ttft q2d train human.jsonl --out runs/query-model --model smollm2 --max-pairs 2000

        ttft q2d train pairs.jsonl --out runs/query-t5 --kind seq2seq --model google-t5/t5-small
    """
    given = configure(Q2dTrainConfig, locals())
    from ttft.commands.q2d_train import run

    run(given, dry_run=dry_run)
