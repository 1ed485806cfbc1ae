"""Compares SIFT runs that differ only in lambda by their final bits per byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ttft.errors import ConfigError, MissingArtifact
from ttft.progress import OnNote, ignore
from ttft.reporting.jobs import read_runs
from ttft.reporting.notes import unscored_prompts
from ttft.reporting.runs import Run, in_context
from ttft.reporting.statistics import bootstrap_interval, percent_of_base

SAME = ("index_sha256", "model", "score", "n", "k", "max_prompt_chars")
"""Configuration keys in which compared runs must agree, besides the guards, which are not recorded by older runs."""
GUARDS = ("guard", "mix")


@dataclass(frozen=True, slots=True)
class LambdaRow:
    """One run: its final % of base on the common prompts, and the 95% interval."""

    run: Run
    percent: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """rows in the order of the runs; best: the row with the lowest % of base; prompts: number scored by all runs."""

    rows: tuple[LambdaRow, ...]
    best: LambdaRow
    prompts: int


def read_comparable(folders: list[Path], on_note: OnNote = ignore) -> list[Run]:
    """Read the runs and check that they can be compared: SIFT with all n steps, each lambda once, all else equal.

    on_note is told about missing jobs and guards.
    Raises ConfigError for runs that cannot be compared, and what `read_runs` raises.
    """
    runs = read_runs(folders)
    for run in runs:
        for warning in run.warnings:
            on_note(f"{run.folder}: {warning}")
        if unscored := unscored_prompts(run):
            on_note(f"{run.folder}: {unscored}")
        _check_all_steps_of_sift(run)
    _check_same(runs)
    for run in runs:
        if any(result.guard for result in run.results):
            on_note(
                f"{run.folder} has a guard: lambdas are compared by the scores of what the guard kept, and the gain of "
                "a step is learned from the scores under the full update"
            )
    return runs


def compare_lambdas(runs: list[Run]) -> Comparison:
    """Compare runs by 100 * sum of final nats / sum of base nats over the prompts that all of them have scored.

    The final nats (`Result.final_nats`) are those of the model that answers, which is the base if a guard kept it. This
    is what users get with a lambda, and what `ttft report` shows. Each run is compared with its own base.
    Raises MissingArtifact if the runs have no prompt in common.
    """
    common = set.intersection(*(set(run.by_key()) for run in runs))
    if not common:
        raise MissingArtifact("the runs have no prompt in common", "run them with the same --prompts")
    rows = []
    for run in runs:
        by_key = run.by_key()
        results = [by_key[key] for key in sorted(common)]
        base, final = [r.base_nats for r in results], [r.final_nats for r in results]
        low, high = map(float, bootstrap_interval(base, final))
        rows.append(LambdaRow(run, percent_of_base(base, final), low, high))
    return Comparison(tuple(rows), min(rows, key=lambda row: row.percent), len(common))


def _check_all_steps_of_sift(run: Run) -> None:
    if run.config.get("strategy") != "sift":
        raise ConfigError(
            f"{run.folder} is a run with strategy {run.config.get('strategy')!r}", "calibration needs strategy sift"
        )
    if in_context(run.config):
        raise ConfigError(
            f"{run.folder} trained nothing", "a policy predicts the gain of gradient steps: run it with --method lora"
        )
    if any(run.config.get(key) for key in ("alpha", "policy")) or run.config.get("budget_steps") is not None:
        raise ConfigError(
            f"{run.folder} was stopped early by a rule", "calibrate on a run without alpha, policy and budget_steps"
        )


def _check_same(runs: list[Run]) -> None:
    values = {key: {str(run.config.get(key)) for run in runs} for key in SAME}
    values |= {key: {str(bool(run.config.get(key))) for run in runs} for key in GUARDS}
    for key, different in values.items():
        if len(different) > 1:
            raise ConfigError(f"the runs differ in {key}: {', '.join(sorted(different))}", "only lambda may differ")
    lambdas = [run.config.get("lambda_") for run in runs]
    if len(set(lambdas)) < len(lambdas):
        raise ConfigError("two runs have the same lambda", "give only one run per lambda")
