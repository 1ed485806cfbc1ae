"""The prompts of one finetune-eval run: what is asked of each, selected, trained, judged and scored, to its Result."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ttft import runtime
from ttft.commands.console import progress
from ttft.commands.tuning import Tuner
from ttft.config.backend import BACKEND
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.errors import CorpusError
from ttft.records import Prompt, Result, Selection
from ttft.run_dir import JsonLines, sha256_file, sha256_text
from ttft.runtime import Timer

if TYPE_CHECKING:
    from ttft.commands.guarding import Guard, Verdict
    from ttft.finetuning.engine import PromptTexts, Trace


def _failure(trace: Trace) -> str:
    """Why a prompt is kept at base; "" when its training and its scores are sound."""
    if not trace.failed and not all(math.isfinite(score.nats) for score in trace.scores.values()):
        return f"the score after step {max(trace.scores)} is not a number"
    return trace.failed


@dataclass
class Run:
    """One run: the tuner, and what is scored of each prompt."""

    config: FinetuneEvalConfig
    tuner: Tuner
    encodings: dict[str, Any] = field(default_factory=dict)
    planned: dict[str, Selection] = field(default_factory=dict)
    guard: Guard | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @classmethod
    def prepare(cls, config: FinetuneEvalConfig, device: str, prompts: list[Prompt]) -> Run:
        run = cls(config, Tuner.prepare(config, device, prompts=len(prompts), score_dtype=config.score_dtype))
        run.encodings = {p.id: run.encode(p) for p in prompts}
        if config.guard or config.mix:
            from ttft.commands.guarding import Guard

            run.guard = Guard(config, run.tuner)
        return run

    def identity(self, manifest: dict) -> dict:
        """The resolved configuration of the run, with the index named by its content and not by its place."""
        content = json.dumps([manifest["shards"], manifest["embedder"], manifest["search"]], sort_keys=True).encode()
        tuner = self.tuner
        resolved = self.config.resolved() | tuner.training | {
            "embedder": manifest["embedder"]["name"], "lambda_": tuner.selector.lambda_, "max_length": tuner.window,
            "dtype": str(tuner.dtype).removeprefix("torch."), "device": tuner.selector.device.split(":")[0],
            "index_sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip
        for place in ("out", "index", "slots", "save_adapters", *BACKEND):
            del resolved[place]
        if self.config.policy is not None:
            resolved["policy"] = sha256_file(Path(self.config.policy))
        return resolved

    def host_facts(self) -> dict:
        return runtime.host_facts(self.tuner.selector.device)

    def end(self, prompt: Prompt, trace: Trace) -> None:
        """A prompt has taken its last step and still has its slot: judge the update, and save the adapter."""
        if _failure(trace):
            return
        if self.guard is not None and trace.losses:
            prefix, _ = self.parts(prompt)
            self.verdicts[prompt.id] = self.guard.judge(trace, trace.slot, prefix, self.encodings[prompt.id])
        if self.config.adapters() is not None:
            self.save_adapter(trace, trace.slot)

    def save_adapter(self, trace: Trace, slot: int) -> None:
        """On disk before the prompt's result is: at a prompt's end, from its slot."""
        from ttft.finetuning.export import adapter_folder, save_adapter

        folder = self.config.adapters()
        assert folder is not None
        save_adapter(
            self.tuner.learner, slot, adapter_folder(folder, trace.key),
            base=self.tuner.learner.model.name_or_path, revision=self.config.model_revision,
        )  # fmt: skip

    def encode(self, prompt: Prompt) -> Any:
        """What is scored of a prompt, tokenised; checks that there is something to score and to search with."""
        from ttft.evaluation import encode

        query, scored = self.parts(prompt)
        if not query.strip() or not scored:
            raise CorpusError(f"prompt {prompt.id} is too short to be cut into a prefix and a suffix", "--score whole")
        return encode(self.tuner.tokenizer, scored, query if self.config.score == "suffix" else "")

    def parts(self, prompt: Prompt) -> tuple[str, str]:
        """(the text that retrieves, the text that is scored)."""
        from ttft.evaluation import split_prompt

        if self.config.score == "whole":
            return prompt.text, prompt.text
        return split_prompt(prompt.text, self.config.split)

    def spread_budget(self, prompts: list[Prompt], steps: int) -> None:
        """Select for all prompts, then cut each selection where the budget of all leaves it: `planned`."""
        from ttft.selection.budget import spread

        chosen = []
        with progress() as display:
            for prompt in display.track(prompts, description="selecting"):
                chosen.append(self.tuner.selector.select(prompt.id, self.parts(prompt)[0]))
        policy = self.tuner.selector.policy
        gains = [policy.gains(s.sigma) if policy else np.array(s.scores) for s in chosen]
        for selection, count in zip(chosen, spread(gains, steps), strict=True):
            cut = {
                "ids": selection.ids[:count],
                "scores": selection.scores[:count],
                "cosines": selection.cosines[:count],
            }
            ended = {} if count == len(selection.ids) else {"stopped_because": "budget"}
            self.planned[selection.prompt_id] = replace(selection, **cut, sigma=selection.sigma[: count + 1], **ended)

    def results(
        self, prompts: list[Prompt], recorded: dict[str, Selection], selections: JsonLines | list[dict]
    ) -> Iterator[Result]:
        """Select, train and score each prompt in turn; what a killed run recorded is not written twice."""
        from ttft.evaluation import score
        from ttft.finetuning.engine import PromptTexts

        chosen: dict[str, Selection] = {}

        def jobs() -> Iterator[PromptTexts]:
            for prompt in prompts:
                selection = self.planned.get(prompt.id) or self.tuner.selector.select(prompt.id, self.parts(prompt)[0])
                before = recorded.get(prompt.id)
                if before is None:
                    selections.append(selection.to_json())
                elif before.ids != selection.ids:
                    raise CorpusError(
                        f"another choice was recorded for prompt {prompt.id}: the prompts have changed since",
                        "choose another --out",
                    )
                chosen[prompt.id] = selection
                yield PromptTexts(prompt.id, self.tuner.texts(selection))

        def scorer(key: str, model: Any) -> Any:
            return score(model, self.encodings[key], max_length=self.tuner.window)

        by_id = {p.id: p for p in prompts}
        traces: Iterator[Trace] = (self._in_context(job, chosen[job.key].cosines) for job in jobs())
        if not self.in_context:
            traces = self.tuner.finetune(jobs(), score_at=(0, *self.config.score_at), scorer=scorer)
        for trace in traces:
            if not self.in_context:
                self.end(by_id[trace.key], trace)
            yield self._result(by_id[trace.key], chosen.pop(trace.key), trace)

    @property
    def in_context(self) -> bool:
        return self.tuner.training["method"] == "in-context"

    def _in_context(self, job: PromptTexts, cosines: list[float]) -> Trace:
        """The prompt scored without and with its texts in front of it, in place of training on them."""
        from ttft.evaluation import context_room, score, token_ids
        from ttft.finetuning.engine import Trace
        from ttft.in_context import SEPARATOR, contexts

        model, window, encoded = self.tuner.learner, self.tuner.window, self.encodings[job.key]
        trace: Trace[Any] = Trace(job.key)
        timer = Timer(str(model.device))
        with timer("evaluate"):
            texts = [token_ids(self.tuner.tokenizer, text + SEPARATOR) for text in job.texts]
            room = context_room(encoded, window)
            for count, context in contexts(texts, cosines, room, self.config.score_at).items():
                trace.scores[count] = score(model, replace(encoded, context=context), max_length=window)
        trace.seconds |= timer.seconds
        return trace

    def _result(self, prompt: Prompt, selection: Selection, trace: Trace) -> Result:
        config, steps = self.config, [s for s in sorted(trace.scores) if math.isfinite(trace.scores[s].nats)]
        failed = _failure(trace)
        adapter = dict(self.tuner.training)
        if not self.in_context:
            adapter |= {"parameters": self.tuner.learner.count, "reuse": config.reuse}
        if self.tuner.training["method"] == "lora":
            adapter |= {"alpha": config.lora_alpha or self.tuner.training["rank"]}
        verdict, nats = self.verdicts.pop(prompt.id, None), [trace.scores[s].nats for s in steps]
        guard = {}
        if verdict is not None:
            guard = verdict.to_json() | {"tuned_nats": nats[-1]}
            nats[-1] = verdict.answer.nats if verdict.scale else nats[-1]  # kept "base": the numbers know no guard
        tuned = max(trace.scores) > 0 and not failed and (verdict is None or verdict.scale > 0)
        return Result(
            prompt_id=prompt.id,
            subset=prompt.subset,
            text_sha256=sha256_text(prompt.text),
            model=config.model,
            adapter=adapter,
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
