"""The commands of q2d that look at results: evaluate, analyse, export."""

from __future__ import annotations

from typing import Annotated

from ttft.cli.options import ConfigFile, Device, DryRun, Dtype, Seed, Sets, argument, configure, option
from ttft.config.q2d_analyse import Q2dAnalyseConfig
from ttft.config.q2d_evaluate import Q2dEvaluateConfig
from ttft.config.q2d_export import Q2dExportConfig


def evaluate(
    data: Annotated[str | None, argument(Q2dEvaluateConfig, "data", "DATA")] = None,
    models: Annotated[list[str] | None, option(Q2dEvaluateConfig, "models", "--model", "-m")] = None,
    reference: Annotated[str | None, option(Q2dEvaluateConfig, "reference")] = None,
    collection: Annotated[str | None, option(Q2dEvaluateConfig, "collection")] = None,
    qrels: Annotated[list[str] | None, option(Q2dEvaluateConfig, "qrels", "--qrels")] = None,
    out: Annotated[str | None, option(Q2dEvaluateConfig, "out", "--out", "-o")] = None,
    form: Annotated[str | None, option(Q2dEvaluateConfig, "form")] = None,
    max_examples: Annotated[int | None, option(Q2dEvaluateConfig, "max_examples")] = None,
    n: Annotated[int | None, option(Q2dEvaluateConfig, "n", "-n")] = None,
    k: Annotated[int | None, option(Q2dEvaluateConfig, "k", "-k")] = None,
    similarity: Annotated[str | None, option(Q2dEvaluateConfig, "similarity")] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Score the queries that models write: by their words against human rewrites, and by the passages they retrieve.

    Examples:

        ttft q2d evaluate infocqr.json --model runs/human --model runs/q2d --reference runs/human --out runs/eval

        ttft q2d evaluate mtragun.jsonl -m runs/q2d --collection runs/mtrag-index --qrels qrels.tsv --out runs/mtrag
    """
    given = configure(Q2dEvaluateConfig, locals())
    from ttft.commands.q2d_evaluate import run

    run(given, dry_run=dry_run)


def analyse(
    dialogs: Annotated[str | None, argument(Q2dAnalyseConfig, "dialogs", "[DIALOGS]")] = None,
    against: Annotated[str | None, option(Q2dAnalyseConfig, "against")] = None,
    form: Annotated[str | None, option(Q2dAnalyseConfig, "form")] = None,
    out: Annotated[str | None, option(Q2dAnalyseConfig, "out", "--out", "-o")] = None,
    sheet: Annotated[str | None, option(Q2dAnalyseConfig, "sheet")] = None,
    items: Annotated[int | None, option(Q2dAnalyseConfig, "items")] = None,
    score: Annotated[str | None, option(Q2dAnalyseConfig, "score")] = None,
    judge: Annotated[str | None, option(Q2dAnalyseConfig, "judge")] = None,
    judge_model: Annotated[str | None, option(Q2dAnalyseConfig, "judge_model")] = None,
    api_key_env: Annotated[str | None, option(Q2dAnalyseConfig, "api_key_env")] = None,
    device: Device = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Describe generated dialogs beside human ones; make and score a blind human-or-machine sheet.

    Examples:

        ttft q2d analyse runs/q2d-filtered --against infocqr.json

        ttft q2d analyse runs/q2d-filtered --against infocqr.json --sheet sheet.csv --items 50

        ttft q2d analyse --score sheet.csv
    """
    given = configure(Q2dAnalyseConfig, locals())
    from ttft.commands.q2d_analyse import run

    run(given, dry_run=dry_run)


def export(
    dialogs: Annotated[str | None, argument(Q2dExportConfig, "dialogs", "DIALOGS")] = None,
    out: Annotated[str | None, option(Q2dExportConfig, "out", "--out", "-o")] = None,
    format: Annotated[str | None, option(Q2dExportConfig, "format")] = None,
    name: Annotated[str | None, option(Q2dExportConfig, "name")] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Write the dialogs that passed the filters as a data set: splits that share no question, and a card.

    Examples:

        ttft q2d export runs/q2d-filtered --out runs/q2d-dataset --format parquet
    """
    given = configure(Q2dExportConfig, locals())
    from ttft.commands.q2d_export import run

    run(given, dry_run=dry_run)
