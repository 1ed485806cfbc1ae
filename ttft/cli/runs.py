"""The commands that take finished runs: ttft calibrate and report."""

from __future__ import annotations

from typing import Annotated

from ttft.cli.options import ConfigFile, DryRun, Seed, Sets, argument, configure, option
from ttft.config.calibrate import CalibrateConfig
from ttft.config.report import ReportConfig


def calibrate(
    runs: Annotated[list[str] | None, argument(CalibrateConfig, "runs", "[RUN...]")] = None,
    index: Annotated[str | None, option(CalibrateConfig, "index")] = None,
    prompts: Annotated[str | None, option(CalibrateConfig, "prompts", "--prompts", "-p")] = None,
    lambdas: Annotated[list[str] | None, option(CalibrateConfig, "lambdas", "--lambda")] = None,
    out: Annotated[str | None, option(CalibrateConfig, "out", "--out", "-o")] = None,
    keep: Annotated[float | None, option(CalibrateConfig, "keep")] = None,
    folds: Annotated[int | None, option(CalibrateConfig, "folds")] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Choose lambda, and learn from runs how much each gradient step gains: a policy for --policy and --budget-steps.

    Examples:

        ttft calibrate runs/sift --out runs/policy.json

        ttft calibrate --index runs/index -p validation.jsonl -o runs/calibration --lambda 0.1 --lambda 1 --lambda auto

        ttft calibrate --index runs/index -p validation.jsonl -o runs/calibration --set 'finetune={n: 50, model: gpt2}'
    """
    given = configure(CalibrateConfig, locals())
    from ttft.commands.calibrate import run

    run(given, dry_run=dry_run)


def report(
    runs: Annotated[list[str] | None, argument(ReportConfig, "runs", "RUN...")] = None,
    out: Annotated[str | None, option(ReportConfig, "out", "--out", "-o")] = None,
    verify: Annotated[bool | None, option(ReportConfig, "verify", "--verify")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Compare runs: print a table with bootstrap intervals and write a self-contained HTML page.

    Examples:

        ttft report runs/nearest runs/sift

        ttft report runs/*/ --out report.html

        ttft report runs/big   # a folder with the jobs of one run

        ttft report --verify runs/sift
    """
    given = configure(ReportConfig, locals())
    from ttft.commands.report import run

    run(given, dry_run=dry_run)
