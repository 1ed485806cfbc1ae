"""Options of `ttft calibrate`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ttft.config.base import MOST_FLOAT, MOST_SEED, Config
from ttft.config.finetune_eval import FinetuneEvalConfig


class CalibrateConfig(Config):
    """Finished runs, or an index and validation prompts to make them with -> lambda and a policy."""

    runs: tuple[str, ...] = ()
    """Run folders of `ttft finetune-eval` with SIFT. If they differ in lambda, the policy is fitted to the best one."""
    index: str | None = None
    """Instead of run folders: index folder to make the runs with, one run per lambda."""
    prompts: str | None = None
    """With --index: file of validation prompts. Do not use the prompts you report results on."""
    lambdas: tuple[Annotated[float, Field(gt=0, le=MOST_FLOAT)] | Literal["auto"], ...] = (
        0.01,
        0.03,
        0.1,
        0.3,
        1.0,
        3.0,
    )
    """With --index: values of SIFT's lambda to try, each a number or auto. Repeat the option for several."""
    finetune: dict[str, Any] = Field(default_factory=dict)
    """With --index: options of `ttft finetune-eval` for the runs, such as {n: 50, model: gpt2}."""
    out: str | None = None
    """File to write the policy to. Default: policy.json. With --index: folder for the runs and policy.json."""
    folds: int = Field(5, ge=2, le=1000)
    """Number of cross-validation folds."""
    keep: float = Field(0.95, gt=0, le=1)
    """Fraction of the full run's gain that the stopping rule must keep on held-out prompts."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Random seed for the folds and the bootstrap intervals."""

    @model_validator(mode="after")
    def _runs_or_index(self) -> Self:
        if bool(self.runs) == (self.index is not None):
            raise ValueError("give run folders (ttft calibrate RUN ...), or --index INDEX --prompts FILE to make runs")
        if self.index is not None and (self.prompts is None or self.out is None or not self.lambdas):
            raise ValueError("--index also needs --prompts FILE, --out FOLDER and at least one lambda")
        if own := {"index", "prompts", "out", "lambda", "lambda_", "strategy"} & set(self.finetune):
            raise ValueError(f"finetune: calibrate sets {', '.join(sorted(own))} itself; leave it out")
        if ending := {"alpha", "stop", "policy", "budget_steps"} & set(self.finetune):
            raise ValueError(f"finetune: calibration needs runs that take all n steps; leave out {', '.join(ending)}")
        if self.finetune.get("method") == "in-context":
            raise ValueError("finetune: method in-context takes no steps, so there is no gain per step to learn")
        return self

    def run_config(self, lambda_: float | Literal["auto"]) -> FinetuneEvalConfig:
        """Configuration of the run for one lambda. Raises ConfigError for invalid options in `finetune`."""
        own = {"index": self.index, "prompts": self.prompts, "lambda_": lambda_, "out": f"{self.out}/lambda-{lambda_}"}
        score_at = tuple(dict.fromkeys((0, 1, 2, 3, 5, 7, 10, 13, 16, 20, 25, 30, 40, 50)))
        defaults = {"seed": self.seed, "score_at": score_at}
        return FinetuneEvalConfig.merge([("calibrate", defaults), ("finetune", self.finetune), ("calibrate", own)])
