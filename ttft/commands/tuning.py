"""What the commands that fine-tune share: an index to choose from, a model, and what of it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ttft.config.tuning import TuningFields
from ttft.records import Selection

if TYPE_CHECKING:
    from ttft.finetuning.engine import PromptTexts, Trace


@dataclass
class Tuner:
    """Everything loaded: selector, learner (a model with room for some prompts; in-context: a bare model), tokenizer.

    window  tokens of a row, in training and scoring;  dtype  of the steps;  training  as the config resolved it
    """

    config: TuningFields
    selector: Any
    learner: Any
    tokenizer: Any
    window: int
    dtype: Any
    training: dict

    @classmethod
    def prepare(cls, config: TuningFields, device: str, *, prompts: int, score_dtype: str) -> Tuner:
        """Load; `prompts` is how many there are, so that no more slots are made."""
        import torch

        from ttft import runtime
        from ttft.commands.selecting import Selector
        from ttft.defaults import window_for
        from ttft.evaluation import window_of
        from ttft.finetuning.full import FullLearner
        from ttft.finetuning.lora import LoraLearner
        from ttft.finetuning.model import load_causal_lm

        runtime.keep_freed_memory()
        training = config.training()
        types = {
            "dtype": runtime.pick_dtype(config.dtype, device),
            "score_dtype": runtime.pick_dtype(score_dtype, device),
        }
        bare = training["method"] == "in-context"
        half = training["method"] == "lora" and set(types.values()) == {torch.bfloat16}
        selector = Selector(config, device, types["dtype"])
        model, tokenizer = load_causal_lm(
            config.model, revision=config.model_revision, device=device,
            dtype=types["score_dtype"] if bare else torch.bfloat16 if half else torch.float32,
            trust_remote_code=config.trust_remote_code,
        )  # fmt: skip
        window = window_for(window_of(model), config.max_length)
        if bare:
            learner: Any = model
        elif training["method"] == "full":
            learner = FullLearner(model, lr=training["lr"], **types)
        else:
            learner = LoraLearner(
                model, slots=config.slots, prompts=prompts, window=window, rank=training["rank"],
                alpha=config.lora_alpha, rslora=training["rslora"], vocabulary=training["vocabulary"],
                lr=training["lr"], seed=config.seed, **types,
            )  # fmt: skip
        return cls(config, selector, learner, tokenizer, window, types["dtype"], training)

    def texts(self, selection: Selection) -> list[str]:
        return [document.text for document in self.selector.index.documents(selection.ids)]

    def finetune(
        self,
        jobs: Iterable[PromptTexts],
        *,
        score_at: Sequence[int] = (),
        scorer: Callable[[str, Any], Any] | None = None,
    ) -> Iterator[Trace]:
        """`engine.finetune_prompts` with this model and these settings."""
        from ttft.evaluation import prefix_token
        from ttft.finetuning.engine import finetune_prompts

        return finetune_prompts(
            self.learner, self.tokenizer, jobs, max_length=self.window, prefix_token=prefix_token(self.tokenizer),
            score_at=score_at, scorer=scorer, warm_down=self.training["warm_down"], reuse=self.config.reuse,
        )  # fmt: skip
