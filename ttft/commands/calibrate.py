"""ttft calibrate: finished runs -> the best lambda, and a policy that predicts the gain of each step.

For runs with --guard or --mix, lambdas are compared by the answers after the guard, but the policy is fitted to the
scores under the full update: it predicts the gain of steps, and the guard judges the update after all of them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ttft.commands.console import note, say, show_plan
from ttft.config.calibrate import CalibrateConfig
from ttft.errors import TtftError
from ttft.progress import counted

if TYPE_CHECKING:
    from ttft.reporting.lambdas import Comparison
    from ttft.reporting.runs import Run
    from ttft.selection.calibration import Calibration

POLICY = "policy.json"


def run(config: CalibrateConfig, *, dry_run: bool = False) -> None:
    """Make the runs unless they are given, compare their lambdas, fit a policy to the best one. Raises TtftError."""
    policy_path = Path(config.out or POLICY) if config.runs else Path(config.out or ".") / POLICY
    made = [] if config.runs else [config.run_config(value) for value in config.lambdas]
    if dry_run:
        show_plan(config, [Path(c.out) for c in made] + [policy_path])
        return
    from ttft import run_dir
    from ttft.commands import finetune_eval
    from ttft.reporting.lambdas import compare_lambdas, read_comparable
    from ttft.selection.calibration import Scored, calibrate, isotonic_regression

    isotonic_regression()  # fails before the long work if scikit-learn is missing
    for number, one in enumerate(made, 1):
        note(f"lambda {one.lambda_} ({number} of {len(made)}): {one.out}")
        finetune_eval.run(one)
    comparison = compare_lambdas(read_comparable([Path(name) for name in config.runs or [c.out for c in made]], note))
    if len(comparison.rows) > 1:
        say(_table(comparison))
    best = comparison.best.run
    try:
        prompts = [Scored.of(result) for result in best.results]
        calibration = calibrate(prompts, folds=config.folds, keep=config.keep, seed=config.seed)
    except TtftError as error:
        raise type(error)(f"{best.folder}: {error.message}", error.hint) from None
    policy = calibration.policy.to_json() | {"facts": _facts(best, calibration)}
    run_dir.make_folder(policy_path.parent)
    run_dir.write_json(policy_path, run_dir.sealed(policy))
    say(_summary(calibration, policy_path, best))


def _table(comparison: Comparison) -> str:
    prompts, n = counted(comparison.prompts, "prompt"), comparison.best.run.config.get("n")
    lines = [f"{'lambda':>8}  % of base (95% interval), {prompts}, n = {n}"]
    for row in comparison.rows:
        mark = "  <- best" if row is comparison.best else ""
        lines.append(f"{row.run.config['lambda_']!s:>8}  {row.percent:.2f} ({row.low:.2f} - {row.high:.2f}){mark}")
    return "\n".join(lines)


def _facts(run: Run, calibration: Calibration) -> dict:
    """What the policy was fitted on, and how well it predicts."""
    keys = ("lambda_", "embedder", "model", "method", "lr", "n", "k", "score", "index_sha256")
    rho, low, high = (x if math.isfinite(x) else None for x in (calibration.correlation, *calibration.interval))
    return {key: run.config.get(key) for key in keys} | {
        "prompts": calibration.prompts, "rank_correlation": rho, "interval": [low, high],
    }  # fmt: skip


def _summary(c: Calibration, path: Path, run: Run) -> str:
    used = ", ".join(c.policy.curves)
    lines = (
        f"lambda {run.config['lambda_']}; gain predicted from {used}; cross-validated on {c.prompts} prompts:",
        f"  rank correlation of predicted and realised gain {c.correlation:.2f} "
        f"(95% interval {c.interval[0]:.2f} to {c.interval[1]:.2f})",
        f"  all steps:  {c.full_steps:.1f} per prompt, gain {c.full_gain:.4f} bits per byte",
        f"  this rule:  {c.rule_steps:.1f} per prompt, gain {c.rule_gain:.4f} "
        f"(minimum gain of a step: {c.policy.min_gain:.5f})",
        f"{path}; next: ttft finetune-eval INDEX --policy {path} ..., or add --budget-steps S to spread a budget",
    )
    return "\n".join(lines)
