"""ttft calibrate: finished runs -> the best lambda, and a policy: what a step is expected to gain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ttft.commands.console import note, say, show_plan
from ttft.config.calibrate import CalibrateConfig
from ttft.errors import ConfigError, MissingArtifact

if TYPE_CHECKING:
    from ttft.reporting.runs import Run
    from ttft.selection.calibration import Calibration, Scored

POLICY = "policy.json"


def run(config: CalibrateConfig, *, dry_run: bool = False) -> None:
    """Make the runs if they are not given, compare their lambdas, fit a policy to the best. Raises TtftError."""
    policy_path = Path(config.out or POLICY) if config.runs else Path(config.out or ".") / POLICY
    made = [] if config.runs else [config.run_config(value) for value in config.lambdas]
    if dry_run:
        show_plan(config, [Path(c.out) for c in made] + [policy_path])
        return
    from ttft import run_dir
    from ttft.selection.calibration import calibrate, isotonic_regression

    isotonic_regression()  # say before the long work that scikit-learn is missing
    from ttft.commands import finetune_eval

    for number, one in enumerate(made, 1):
        note(f"lambda {one.lambda_} ({number} of {len(made)}): {one.out}")
        finetune_eval.run(one)
    runs = _read([Path(name) for name in config.runs or [c.out for c in made]])
    best = _compare(runs)
    calibration = calibrate(_scored(best), folds=config.folds, keep=config.keep, seed=config.seed)
    policy = calibration.policy.to_json() | {"facts": _facts(best, calibration)}
    run_dir.make_folder(policy_path.parent)
    run_dir.write_json(policy_path, policy)
    say(_summary(calibration, policy_path, best))


def _read(folders: list[Path]) -> list[Run]:
    """The runs, checked to be comparable: SIFT to the end, the same prompts, model and index, each lambda once."""
    from ttft.reporting.runs import read_runs

    runs = read_runs(folders)
    for run in runs:
        for warning in run.warnings:
            note(f"{run.folder}: {warning}")
        if run.config.get("strategy") != "sift":
            raise ConfigError(f"{run.folder} is a run of {run.config.get('strategy')!r}", "calibration is for sift")
        if run.config.get("method") == "in-context":
            raise ConfigError(
                f"{run.folder} trained nothing", "a policy says what a gradient step gains: --method lora"
            )
        if any(run.config.get(key) for key in ("alpha", "policy")) or run.config.get("budget_steps") is not None:
            raise ConfigError(f"{run.folder} stopped early by a rule", "calibrate on a run without alpha and policy")
    for key in ("index_sha256", "model", "score", "n", "k", "max_prompt_chars"):
        values = {str(run.config.get(key)) for run in runs}
        if len(values) > 1:
            raise ConfigError(f"the runs differ in {key}: {', '.join(sorted(values))}", "only lambda may differ")
    lambdas = [run.config.get("lambda_") for run in runs]
    if len(set(lambdas)) < len(lambdas):
        raise ConfigError("two runs have the same lambda", "give each once")
    return runs


def _compare(runs: list[Run]) -> Run:
    """The run of the lowest bits per byte over the prompts that all of them have scored; says so, if there are
    several."""
    from ttft.reporting import statistics

    common = set.intersection(*(set(run.by_key()) for run in runs))
    if not common:
        raise MissingArtifact("the runs have no prompt in common", "make them with the same --prompts")
    table = []
    for run in runs:
        results = [run.by_key()[key] for key in sorted(common)]
        base, tuned = [r.nats[0] for r in results], [r.nats[-1] for r in results]
        low, high = map(float, statistics.bootstrap_interval(base, tuned))
        table.append((statistics.percent_of_base(base, tuned), low, high, run))
    best = min(table, key=lambda row: row[0])
    if len(runs) > 1:
        say(f"{'lambda':>8}  % of base (95% interval), {len(common)} prompts, {best[3].config.get('n')} steps")
        for percent, low, high, run in table:
            mark = "  <- best" if run is best[3] else ""
            say(f"{run.config['lambda_']!s:>8}  {percent:.2f} ({low:.2f} - {high:.2f}){mark}")
    return best[3]


def _scored(run: Run) -> list[Scored]:
    import numpy as np

    from ttft.selection.calibration import Scored

    return [
        Scored(np.array(r.sigma), np.array(r.steps), np.array(r.nats) / (math.log(2) * r.bytes), r.bytes)
        for r in run.results
    ]


def _facts(run: Run, calibration: Calibration) -> dict:
    """What the policy holds for, and what is known of it."""
    keys = ("lambda_", "embedder", "model", "method", "lr", "n", "k", "score", "index_sha256")
    low, high = calibration.interval
    return {key: run.config.get(key) for key in keys} | {
        "prompts": calibration.prompts, "rank_correlation": calibration.correlation, "interval": [low, high],
    }  # fmt: skip


def _summary(c: Calibration, path: Path, run: Run) -> str:
    used = ", ".join(c.policy.curves)
    lines = (
        f"lambda {run.config['lambda_']}; gain of a step from: {used}; {c.prompts} prompts, left out in turn:",
        f"  rank correlation of predicted and realised gain {c.correlation:.2f} "
        f"(95% interval {c.interval[0]:.2f} to {c.interval[1]:.2f})",
        f"  all steps:  {c.full_steps:.1f} a prompt, gain {c.full_gain:.4f} bits per byte",
        f"  this rule:  {c.rule_steps:.1f} a prompt, gain {c.rule_gain:.4f} "
        f"(a step must be worth {c.policy.min_gain:.5f})",
        f"{path}; next: ttft finetune-eval INDEX --policy {path} ..., with --budget-steps S to spread a budget",
    )
    return "\n".join(lines)
