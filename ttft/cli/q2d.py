"""ttft q2d: from questions to dialogs to a model that knows what to search for."""

from __future__ import annotations

from typing import Annotated

import typer

from ttft.cli.options import ConfigFile, DryRun, Sets, argument, configure, option
from ttft.config.q2d_rewrite import RewriteConfig

q2d = typer.Typer(no_args_is_help=True)


@q2d.command("rewrite")
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
