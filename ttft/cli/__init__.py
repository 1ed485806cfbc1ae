"""The command line: one short function per command. User errors are printed here and nowhere else.

Exit codes: 0 success, 1 a bug (with a traceback), 2 an error that the user can fix, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from ttft.cli.index import index
from ttft.cli.prompts import finetune_eval, generate, select
from ttft.cli.runs import calibrate, report
from ttft.errors import TtftError


class Commands(TyperGroup):
    """Handles Ctrl-C and a closed pipe before Typer does, which would exit silently with code 1."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the workflow: Typer lists groups of commands, such as `index`, last."""
        return sorted(super().list_commands(ctx), key=lambda name: name != "index")

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted; all files written are valid: run the same command again to resume", file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:
            # the reader of our output has closed the pipe (| head): not an error; keep Python quiet at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


app = typer.Typer(
    cls=Commands,
    name="ttft",
    help="Test-time fine-tuning of language models: index a corpus, select texts for a prompt, fine-tune, score.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(index, name="index", help="Embed a corpus into a searchable index; also merge, info and verify.")
app.command("select")(select)
app.command("finetune-eval")(finetune_eval)
app.command("generate")(generate)
app.command("calibrate")(calibrate)
app.command("report")(report)


def main() -> None:
    """Entry point: run a command; print a TtftError as one message instead of a traceback."""
    try:
        app()
    except TtftError as error:
        fail(error)


def fail(error: TtftError) -> None:
    print(f"ttft: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)
    sys.exit(2)
