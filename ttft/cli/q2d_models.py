"""Commands of q2d around query models: train, rewrite."""

from __future__ import annotations

from typing import Annotated

from ttft.cli.options import ConfigFile, DryRun, Sets, argument, configure, option
from ttft.config.q2d_rewrite import RewriteConfig
from ttft.config.q2d_train import Q2dTrainConfig


def train(
    pairs: Annotated[str | None, argument(Q2dTrainConfig, "pairs", "PAIRS")] = None,
    out: Annotated[str | None, option(Q2dTrainConfig, "out", "--out", "-o")] = None,
    model: Annotated[str | None, option(Q2dTrainConfig, "model", "--model", "-m")] = None,
    kind: Annotated[str | None, option(Q2dTrainConfig, "kind")] = None,
    form: Annotated[str | None, option(Q2dTrainConfig, "form")] = None,
    exclude: Annotated[list[str] | None, option(Q2dTrainConfig, "exclude")] = None,
    max_pairs: Annotated[int | None, option(Q2dTrainConfig, "max_pairs")] = None,
    drop_answers: Annotated[float | None, option(Q2dTrainConfig, "drop_answers")] = None,
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


def rewrite(
    dialogs: Annotated[str | None, argument(RewriteConfig, "dialogs", "DIALOGS")] = None,
    turn: Annotated[list[str] | None, option(RewriteConfig, "turn", "--turn", "-t")] = None,
    model: Annotated[str | None, option(RewriteConfig, "model", "--model", "-m")] = None,
    n: Annotated[int | None, option(RewriteConfig, "n", "-n")] = None,
    out: Annotated[str | None, option(RewriteConfig, "out", "--out", "-o")] = None,
    lenient: Annotated[bool | None, option(RewriteConfig, "lenient", "--lenient/--strict")] = None,
    batch: Annotated[int | None, option(RewriteConfig, "batch")] = None,
    max_new_tokens: Annotated[int | None, option(RewriteConfig, "max_new_tokens")] = None,
    device: Annotated[str | None, option(RewriteConfig, "device")] = None,
    dtype: Annotated[str | None, option(RewriteConfig, "dtype")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Write the search query of each dialog's last turn. A dialog of one turn passes unchanged.

    Examples:

        ttft q2d rewrite dialogs.jsonl --model runs/q2d/model

        ttft q2d rewrite -m runs/q2d/model -n 3 -t 'Tell me about the Leopard 2.' -t 'A German tank.' -t 'Who makes it?'

        tail -f chats.jsonl | ttft q2d rewrite - --model runs/q2d/model | jq -r .query
    """
    given = configure(RewriteConfig, locals())
    from ttft.commands.q2d_rewrite import run

    run(given, dry_run=dry_run)
