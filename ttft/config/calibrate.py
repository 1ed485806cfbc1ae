"""Options of `ttft calibrate`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ttft.config.base import Config
from ttft.config.finetune_eval import FinetuneEvalConfig


class CalibrateConfig(Config):
    """Finished runs, or an index and validation prompts to run on -> lambda and a policy."""

    runs: tuple[str, ...] = ()
    """Run folders of finetune-eval with SIFT; of several lambdas the best is fitted."""
    index: str | None = None
    """Instead of runs: an index to make them with, one for each of the lambdas."""
    prompts: str | None = None
    """With index: the validation prompts. Not the prompts that you report on."""
    lambdas: tuple[Annotated[float, Field(gt=0)] | Literal["auto"], ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    """With index: the values of SIFT's noise to try; auto is one, too."""
    finetune: dict[str, Any] = Field(default_factory=dict)
    """With index: any options of finetune-eval for the runs, such as {n: 50, model: gpt2}."""
    out: str | None = None
    """The policy to write, default policy.json; with index, the folder of the runs and of their policy.json."""
    folds: int = Field(5, ge=2)
    """Parts into which the prompts are cut for cross-validation."""
    keep: float = Field(0.95, gt=0, le=1)
    """The share of the full run's gain that the stopping rule is to keep, on left-out prompts."""
    seed: int = 0
    """Seed of the folds and of the intervals."""

    @model_validator(mode="after")
    def _runs_or_index(self) -> Self:
        if bool(self.runs) == (self.index is not None):
            raise ValueError("give run folders (ttft calibrate RUN ...), or --index INDEX --prompts FILE to make them")
        if self.index is not None and (self.prompts is None or self.out is None or not self.lambdas):
            raise ValueError("with --index also give --prompts FILE, --out FOLDER and at least one lambda")
        if own := {"index", "prompts", "out", "lambda_", "strategy"} & set(self.finetune):
            raise ValueError(f"finetune: {', '.join(sorted(own))} is set by calibrate itself")
        if ending := {"alpha", "stop", "policy", "budget_steps"} & set(self.finetune):
            raise ValueError(f"finetune: calibration needs runs that take all steps; leave out {', '.join(ending)}")
        if self.finetune.get("method") == "in-context":
            raise ValueError("finetune: in-context takes no steps, so there is no gain of a step to learn")
        return self

    def run_config(self, lambda_: float | Literal["auto"]) -> FinetuneEvalConfig:
        """The configuration of one run. Raises ConfigError for wrong options in `finetune`."""
        own = {"index": self.index, "prompts": self.prompts, "lambda_": lambda_, "out": f"{self.out}/lambda-{lambda_}"}
        score_at = tuple(dict.fromkeys((0, 1, 2, 3, 5, 7, 10, 13, 16, 20, 25, 30, 40, 50)))
        return FinetuneEvalConfig.build(flags={"seed": self.seed, "score_at": score_at} | self.finetune | own)
