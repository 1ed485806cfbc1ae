"""Runs of SIFT that differ in lambda only: read, checked, and compared by the bits per byte that they end with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ttft.errors import ConfigError, MissingArtifact
from ttft.progress import OnNote, ignore
from ttft.reporting.jobs import read_runs
from ttft.reporting.runs import Run, in_context
from ttft.reporting.statistics import bootstrap_interval, percent_of_base

SAME = ("index_sha256", "model", "score", "n", "k", "max_prompt_chars")
"""Keys of the configuration on which compared runs must agree; and on the guards, which older runs do not name."""
GUARDS = ("guard", "mix")


@dataclass(frozen=True, slots=True)
class LambdaRow:
    """One run: the % of base that it ends with on the common prompts, and its 95% interval."""

    run: Run
    percent: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """rows in the order of the runs; best: the row of the lowest % of base; prompts: how many all runs have scored."""

    rows: tuple[LambdaRow, ...]
    best: LambdaRow
    prompts: int


def read_comparable(folders: list[Path], on_note: OnNote = ignore) -> list[Run]:
    """Read the runs, and check that they can be compared: SIFT to its last step, each lambda once, all else equal.

    on_note is told what a reader must know of a run: jobs that are missing, a guard.
    Raises ConfigError for runs that do not fit together, and what `read_runs` raises.
    """
    runs = read_runs(folders)
    for run in runs:
        for warning in run.warnings:
            on_note(f"{run.folder}: {warning}")
        _check_all_steps_of_sift(run)
    _check_same(runs)
    for run in runs:
        if any(result.guard for result in run.results):
            on_note(
                f"{run.folder} has a guard: lambdas are compared by the scores of what the guard kept, and the gain of "
                "a step is learned from the scores of the whole update"
            )
    return runs


def compare_lambdas(runs: list[Run]) -> Comparison:
    """Compare runs by 100 * sum of final nats / sum of base nats over the prompts that all of them have scored.

    The final nats (`Result.final_nats`) are those of the model that answers: where a guard kept the base, the base's.
    That is what the user of a lambda gets, and what `ttft report` shows. Each run is measured against its own base.
    Raises MissingArtifact where the runs have no prompt in common.
    """
    common = set.intersection(*(set(run.by_key()) for run in runs))
    if not common:
        raise MissingArtifact("the runs have no prompt in common", "make them with the same --prompts")
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
        raise ConfigError(f"{run.folder} is a run of {run.config.get('strategy')!r}", "calibration is for sift")
    if in_context(run.config):
        raise ConfigError(f"{run.folder} trained nothing", "a policy says what a gradient step gains: --method lora")
    if any(run.config.get(key) for key in ("alpha", "policy")) or run.config.get("budget_steps") is not None:
        raise ConfigError(f"{run.folder} stopped early by a rule", "calibrate on a run without alpha and policy")


def _check_same(runs: list[Run]) -> None:
    values = {key: {str(run.config.get(key)) for run in runs} for key in SAME}
    values |= {key: {str(bool(run.config.get(key))) for run in runs} for key in GUARDS}
    for key, different in values.items():
        if len(different) > 1:
            raise ConfigError(f"the runs differ in {key}: {', '.join(sorted(different))}", "only lambda may differ")
    lambdas = [run.config.get("lambda_") for run in runs]
    if len(set(lambdas)) < len(lambdas):
        raise ConfigError("two runs have the same lambda", "give each once")
