"""ttft q2d: from questions to dialogs to a model that writes search queries."""

from __future__ import annotations

import typer

from ttft.cli.q2d_data import calibrate, filter_, generate
from ttft.cli.q2d_models import rewrite, train
from ttft.cli.q2d_results import analyse, evaluate, export

q2d = typer.Typer(no_args_is_help=True)
q2d.command("generate")(generate)
q2d.command("filter")(filter_)
q2d.command("calibrate")(calibrate)
q2d.command("train")(train)
q2d.command("evaluate")(evaluate)
q2d.command("analyse")(analyse)
q2d.command("export")(export)
q2d.command("rewrite")(rewrite)
