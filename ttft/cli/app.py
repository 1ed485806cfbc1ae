"""All commands as one Typer application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from ttft.cli.adapt import adapt
from ttft.cli.index import index
from ttft.cli.prompts import finetune_eval, generate, select
from ttft.cli.q2d import q2d
from ttft.cli.runs import calibrate, report


class Passed(Exception):
    """Carries an exception through Typer, which would end the process silently with code 1."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


@contextmanager
def _past_typer() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, OSError) as error:
        raise Passed(error) from None


class Commands(TyperGroup):
    """Leaves Ctrl-C and failed output to `ttft.cli.main`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the workflow: Typer lists groups of commands, such as `index`, last."""
        return sorted(super().list_commands(ctx), key=lambda name: name != "index")

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _past_typer():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _past_typer():
            return super().invoke(ctx)


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
app.command("adapt")(adapt)
app.command("calibrate")(calibrate)
app.add_typer(q2d, name="q2d", help="From questions to dialogs to a model that writes search queries.")
app.command("report")(report)
app.add_typer(q2d, name="q2d", help="Questions -> dialogs -> a model that writes the search query of a dialog.")


def run() -> int:
    """Run the command of sys.argv; its exit code. Raises what the command raises."""
    try:
        app()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich's answer to one
            error: BaseException = end.__context__
        else:
            return int(end.code or 0)
    except Passed as passed:
        error = passed.error
    else:
        return 0
    raise error
