"""Prompts -> results in bits per byte: select texts, fine-tune, judge the update, score, discard the update."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ttft import defaults, runtime
from ttft.errors import CorpusError
from ttft.evaluation import Encoded, Score, encode, prefix_token, score, split_prompt
from ttft.finetuning.engine import GoOn, Trace
from ttft.finetuning.export import adapter_folder, save_adapter
from ttft.finetuning.lora import LoraLearner
from ttft.progress import OnProgress, Progress, ignore
from ttft.records import GuardRecord, Prompt, Result, Selection
from ttft.run_dir import sha256_text
from ttft.runtime import Timer
from ttft.selection.budget import spread
from ttft.tuner.dialogs import model_input
from ttft.tuner.guard import Guard, Verdict
from ttft.tuner.learners import GradientLearner, Learner, Lesson
from ttft.tuner.selector import Query, Selector


@dataclass(frozen=True)
class Scoring:
    """Which part of a prompt is scored, and when.

    score     "whole": the scored text is also used for retrieval (the papers' setting); "suffix": retrieve with a
              prefix, condition on it, and score only the rest (no leak)
    split     with suffix: fraction of the characters that make up the prefix
    score_at  numbers of steps after which a prompt is scored; 0 and its last step always are
    guard     with suffix: judges the update on the prefix
    adapters  folder to save the LoRA adapter of each prompt to, in PEFT's format
    """

    score: Literal["whole", "suffix"] = "whole"
    split: float = defaults.PREFIX_SHARE
    score_at: tuple[int, ...] = defaults.SCORE_AT
    guard: Guard | None = None
    adapters: Path | None = None

    def parts(self, text: str) -> tuple[str, str]:
        """(text used for retrieval, text that is scored)."""
        return (text, text) if self.score == "whole" else split_prompt(text, self.split)


@dataclass(frozen=True)
class Target:
    """A prompt ready to be scored. query: what is used for retrieval; prefix: known text before the scored one, "" with
    score "whole"."""

    prompt: Prompt
    query: Query
    prefix: str
    encoded: Encoded


def target(prompt: Prompt, tokenizer: Any, scoring: Scoring) -> Target:
    """Tokenise the scored text; of a dialog that is all of it, as the model reads it. Raises CorpusError if there is
    nothing to score or to search with, and for a dialog with score "suffix"."""
    if prompt.turns:
        if scoring.score == "suffix":
            raise CorpusError(
                f"prompt {prompt.id} is a dialog, whose query is made from its end, so no suffix of it is unknown",
                "use --score whole",
            )
        ids, text = model_input(prompt, tokenizer)
        return Target(prompt, prompt.query, "", Encoded([prefix_token(tokenizer), *ids], 1, len(text.encode())))
    query, scored = scoring.parts(prompt.text)
    return target_of_parts(prompt, query if scoring.score == "suffix" else "", scored, query, tokenizer)


def target_of_parts(prompt: Prompt, prefix: str, scored: str, query: str, tokenizer: Any) -> Target:
    if not query.strip() or not scored:
        raise CorpusError(f"prompt {prompt.id} is too short to be cut into a prefix and a suffix", "use --score whole")
    encoded = encode(tokenizer, scored, prefix)
    if encoded.start == len(encoded.ids):
        raise CorpusError(f"prompt {prompt.id} has no token to score: the tokenizer drops all of it")
    return Target(prompt, query, prefix, encoded)


def failure(trace: Trace) -> str:
    """Why the base model answers a prompt; "" if its losses and scores are finite."""
    wrong = [step for step, score in sorted(trace.scores.items()) if not math.isfinite(score.nats)]
    if wrong and (wrong[0] == 0 or not trace.failed):
        return f"the score after step {wrong[0]} is not a number" if wrong[0] else "the base score is not a number"
    return trace.failed


class StepCount:
    """Reports to `on_progress` the steps taken out of those expected: n per prompt until its texts are selected, then
    as many as were selected. If nothing is trained, it counts prompts."""

    def __init__(self, prompts: int | None, n: int, trains: bool, on_progress: OnProgress) -> None:
        self.prompts, self.n, self.trains, self.on_progress = prompts, n, trains, on_progress
        self.done = self.ended = 0
        self.expected = None if prompts is None else prompts * (n if trains else 1)
        self._taken: dict[str, int] = {}
        self._chosen: dict[str, int] = {}

    def chosen(self, selection: Selection) -> None:
        self._expect(selection.prompt_id, len(selection.ids))

    def step(self, key: str) -> None:
        self._taken[key] = self._taken.get(key, 0) + 1
        self.done += 1
        self._tell()

    def end(self, key: str, steps: int, detail: str = "") -> None:
        """A prompt is finished, after `steps` steps in total."""
        self._expect(key, steps)
        self.done += steps - self._taken.pop(key, 0) if self.trains else 1
        self._chosen.pop(key, None)
        self.ended += 1
        self._tell(detail)

    def _expect(self, key: str, steps: int) -> None:
        if self.trains and self.expected is not None:
            self.expected += steps - self._chosen.get(key, self.n)
            self._chosen[key] = steps

    def _tell(self, detail: str = "") -> None:
        of = "" if self.prompts is None else f" of {self.prompts}"
        what, unit = ("fine-tuning", "steps") if self.trains else ("scoring", "prompts")
        words = [f"{self.ended}{of} prompts"] if self.trains else []
        words += [detail] if detail else []
        self.on_progress(Progress(what, self.done, self.expected, unit, ", ".join(words)))


@dataclass
class Evaluator:
    """Scores prompts in this process. distributed.evaluation.RayEvaluator has the same interface.

    planned  selections made in advance, by prompt id (`spread_budget`)
    """

    selector: Selector
    learner: Learner
    scoring: Scoring
    planned: dict[str, Selection] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """The resolved settings of model and index that results depend on, including defaults."""
        manifest = self.selector.index.manifest
        return self.learner.training.to_json() | {
            "embedder": manifest.embedder.name, "lambda_": self.selector.lambda_, "max_length": self.learner.window,
            "dtype": str(self.learner.dtype).removeprefix("torch."),
            "device": self.selector.embedder.device.split(":")[0], "index_sha256": manifest.content_sha256(),
        }  # fmt: skip

    def host_facts(self) -> dict[str, Any]:
        return runtime.host_facts(self.selector.embedder.device)

    def unusable(self, prompts: Sequence[Prompt]) -> dict[str, CorpusError]:
        """The prompts that cannot be scored, by id, and why. Called before any work is done."""
        found = {}
        for prompt in prompts:
            try:
                target(prompt, self.learner.tokenizer, self.scoring)
            except CorpusError as error:
                found[prompt.id] = error
        return found

    def spread_budget(self, prompts: Sequence[Prompt], steps: int, on_progress: OnProgress = ignore) -> int:
        """Select texts for all prompts, then cut each selection to its share of the total budget (`planned`). Returns
        the number of steps assigned.

        Gains are weighted by the number of scored bytes, since bits per byte is a ratio of sums.
        """
        chosen = []
        for number, prompt in enumerate(prompts, 1):
            query = prompt.query if prompt.turns else self.scoring.parts(prompt.text)[0]
            chosen.append(self.selector.select(prompt.id, query))
            on_progress(Progress("selecting", number, len(prompts), "prompts"))
        policy = self.selector.policy
        gains = [policy.gains(np.array(s.sigma)) if policy else np.array(s.scores) for s in chosen]
        sizes = [len(self.scoring.parts(prompt.text)[1].encode()) for prompt in prompts]
        counts = spread(gains, steps, weights=sizes)
        self.planned = {s.prompt_id: shortened(s, count) for s, count in zip(chosen, counts, strict=True)}
        return sum(counts)

    def results(
        self, prompts: Iterable[Prompt | Target], *, on_selection: Callable[[Selection], None] = ignore,
        counter: StepCount | None = None, go_on: GoOn | None = None,
    ) -> Generator[Result]:  # fmt: skip
        """Select, fine-tune and score, several prompts at a time in the learner's slots; yields results as prompts
        finish.

        on_selection  called with each selection before anything is trained on it
        go_on         called with (prompt id, losses so far) after each step; if it returns False, training of that
                      prompt stops
        """
        going: dict[str, tuple[Target, Selection]] = {}

        def lessons() -> Iterator[Lesson]:
            for prompt in prompts:
                this = target(prompt, self.learner.tokenizer, self.scoring) if isinstance(prompt, Prompt) else prompt
                key = this.prompt.id
                selection = self.planned.get(key) or self.selector.select(key, this.query)
                on_selection(selection)
                if counter is not None:
                    counter.chosen(selection)
                going[key] = this, selection
                yield Lesson(key, self.selector.texts(selection), selection.cosines, this.encoded)

        traces = self.learner.learn(
            lessons(), score=self._score, score_at=(0, *self.scoring.score_at), go_on=go_on,
            on_step=counter.step if counter is not None else None,
        )  # fmt: skip
        for trace in traces:
            this, selection = going.pop(trace.key)
            verdict = None if failure(trace) else self._judge(trace, this)
            if self.scoring.adapters is not None and not failure(trace):
                self._save_adapter(trace)
            yield self._result(this.prompt, selection, trace, verdict)

    def _score(self, model: Any, encoded: Encoded, context: Sequence[int] = ()) -> Score:
        text = replace(encoded, context=list(context)) if context else encoded
        return score(model, text, max_length=self.learner.window)

    def _judge(self, trace: Trace, this: Target) -> Verdict | None:
        guard = self.scoring.guard
        if guard is None or not trace.losses or not this.prefix:
            return None

        def at(scale: float, text: Encoded) -> Score:
            with self.learner.scoring(trace.slot, scale) as model:
                return self._score(model, text)

        timer = Timer(self.learner.device)
        with timer("evaluate"):
            scored = {0.0: trace.scores[0], 1.0: trace.scores[max(trace.scores)]}
            verdict = guard.judge(guard.known(self.learner.tokenizer, this.prefix), scored, this.encoded, at)
        trace.seconds["evaluate"] += timer.seconds["evaluate"]
        return verdict

    def _save_adapter(self, trace: Trace) -> None:
        """Save the adapter. This happens before the result is written, so that a result implies a saved adapter."""
        learner = self.learner
        assert self.scoring.adapters is not None
        assert isinstance(learner, GradientLearner) and isinstance(learner.inner, LoraLearner)
        folder = adapter_folder(self.scoring.adapters, trace.key)
        save_adapter(
            learner.inner, trace.slot, folder, base=learner.inner.model.name_or_path, revision=learner.revision
        )

    def _result(self, prompt: Prompt, selection: Selection, trace: Trace, verdict: Verdict | None) -> Result:
        steps = [s for s in sorted(trace.scores) if math.isfinite(trace.scores[s].nats)]
        steps = steps if 0 in steps else []  # without a base there is nothing to compare
        failed, nats, guard = failure(trace), [trace.scores[s].nats for s in steps], GuardRecord()
        if verdict is not None:
            guard = GuardRecord(scale=verdict.scale, known=verdict.known_finite(), tuned_nats=nats[-1])
            nats[-1] = verdict.answer.nats if verdict.scale else nats[-1]  # scale 0: the curve shows the full update
        tuned = max(trace.scores) > 0 and not failed and (verdict is None or verdict.scale > 0)
        return Result(
            prompt_id=prompt.id,
            subset=prompt.subset,
            text_sha256=sha256_text(prompt.text),
            model=self.learner.name,
            adapter=self.learner.facts(),
            ids=selection.ids,
            sigma=selection.sigma,
            steps=steps,
            nats=nats,
            bytes=trace.scores[0].bytes,
            tokens=trace.scores[0].tokens,
            kept="tuned" if tuned else "base",
            losses=[round(x, 6) for x in trace.losses if math.isfinite(x)],
            seconds={k: round(v, 6) for k, v in (selection.seconds | trace.seconds).items()},
            failed=failed,
            guard=guard,
        )


def shortened(selection: Selection, count: int) -> Selection:
    """A selection cut to its first `count` picks by a budget."""
    if count == len(selection.ids):
        return selection
    return replace(
        selection, ids=selection.ids[:count], scores=selection.scores[:count], cosines=selection.cosines[:count],
        sigma=selection.sigma[: count + 1], stopped_because="budget",
    )  # fmt: skip


def recorded_selection(before: Mapping[str, Selection], selection: Selection) -> bool:
    """Whether this selection is recorded already. Raises CorpusError if a different one is."""
    known = before.get(selection.prompt_id)
    if known is not None and known.ids != selection.ids:
        raise CorpusError(
            f"a different selection is recorded for prompt {selection.prompt_id}: the prompts have changed since",
            "choose another --out",
        )
    return known is not None
