"""ttft finetune-eval: prompts -> chosen texts -> fine-tuned model -> bits per byte, into a resumable run folder."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ttft.commands.console import note, progress, say, show_plan
from ttft.commands.tuning import Tuner
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.errors import CorpusError
from ttft.records import Prompt, Result, Selection
from ttft.run_dir import (
    CONFIG,
    PROVENANCE,
    RESULTS,
    SELECTIONS,
    JsonLines,
    claim_run,
    finish_provenance,
    locked,
    missing,
    provenance,
    read_lines,
    read_manifest,
    record_provenance,
    sha256_file,
    sha256_text,
)
from ttft.runtime import Timer

if TYPE_CHECKING:
    from ttft.finetuning.engine import Job, Trace


def run(config: FinetuneEvalConfig, *, dry_run: bool = False) -> None:
    """Score every prompt before and after fine-tuning on its chosen texts. Raises TtftError; results so far stay."""
    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / name for name in (RESULTS, SELECTIONS, CONFIG, PROVENANCE)])
        return
    manifest = read_manifest(Path(config.index))
    from ttft import runtime
    from ttft.commands.selecting import load_prompts

    prompts = load_prompts(config)
    runtime.quiet_libraries()
    runtime.setup(config.seed)
    with locked(folder):
        _run(config, folder, prompts, manifest)


def _run(config: FinetuneEvalConfig, folder: Path, prompts: list[Prompt], manifest: dict) -> None:
    from ttft import runtime

    started = time.perf_counter()
    device = runtime.pick_device(config.device)
    known = {r["prompt_id"]: r for r in read_lines(folder / RESULTS)}
    _check_texts(prompts, known, folder)
    run = Run.prepare(config, device, prompts)
    claim_run(folder, run.identity(manifest))
    todo = set(missing((p.id for p in prompts), known))
    if not todo:
        say(_summary(list(known.values()), folder, 0, time.perf_counter() - started))
        return
    if known:
        note(f"going on: {len(known)} of {len(prompts)} prompts are done")
    record_provenance(folder, provenance(config.seed, runtime.host_facts(device)))
    if config.budget_steps is not None:
        run.spread_budget(prompts, config.budget_steps)
    with JsonLines(folder / SELECTIONS) as selections, JsonLines(folder / RESULTS) as results, progress() as display:
        recorded = {s["prompt_id"]: Selection(**s) for s in read_lines(folder / SELECTIONS)}
        task = display.add_task("fine-tuning", total=len(prompts), completed=len(known))
        for result in run.results([p for p in prompts if p.id in todo], recorded, selections):
            results.append(result.to_json())
            known[result.prompt_id] = result.to_json()
            display.update(task, advance=1, description=f"fine-tuning {_bpb(known.values())}")
    finish_provenance(folder, time.perf_counter() - started, len(todo))
    say(_summary(list(known.values()), folder, len(todo), time.perf_counter() - started))


def _check_texts(prompts: list[Prompt], known: dict[str, dict], folder: Path) -> None:
    """A prompt that has a result must still be the same text."""
    for prompt in prompts:
        if prompt.id in known and known[prompt.id]["text_sha256"] != sha256_text(prompt.text):
            raise CorpusError(
                f"prompt {prompt.id} is another text than the one scored in {folder}", "choose another --out"
            )


def _bpb(results: Any) -> str:
    size = math.log(2) * sum(r["bytes"] for r in results)
    base = sum(r["nats"][0] for r in results)
    tuned = sum(r["nats"][0 if r["kept"] == "base" else -1] for r in results)
    return f"BPB {base / size:.4f} -> {tuned / size:.4f} ({100 * tuned / base:.1f}% of base)"


def _summary(results: list[dict], folder: Path, new: int, seconds: float) -> str:
    steps = sum(r["steps"][-1] for r in results) / len(results)
    what = "texts in context" if results[0]["adapter"]["method"] == "in-context" else "steps a prompt"
    return (
        f"{folder}: {len(results)} prompts ({new} new), {_bpb(results)}, {steps:.1f} {what}, {seconds:.1f} s; "
        f"next: ttft report {folder}"
    )


@dataclass
class Run:
    """One run: the tuner, and what is scored of each prompt."""

    config: FinetuneEvalConfig
    tuner: Tuner
    encodings: dict[str, Any] = field(default_factory=dict)
    planned: dict[str, Selection] = field(default_factory=dict)

    @classmethod
    def prepare(cls, config: FinetuneEvalConfig, device: str, prompts: list[Prompt]) -> Run:
        run = cls(config, Tuner.prepare(config, device, prompts=len(prompts), score_dtype=config.score_dtype))
        run.encodings = {p.id: run.encode(p) for p in prompts}
        return run

    def identity(self, manifest: dict) -> dict:
        """The resolved configuration of the run, with the index named by its content and not by its place."""
        content = json.dumps([manifest["shards"], manifest["embedder"]], sort_keys=True).encode()
        tuner = self.tuner
        resolved = self.config.resolved() | tuner.training | {
            "embedder": manifest["embedder"]["name"], "lambda_": tuner.selector.lambda_, "max_length": tuner.window,
            "dtype": str(tuner.dtype).removeprefix("torch."), "device": tuner.selector.device.split(":")[0],
            "index_sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip
        del resolved["out"], resolved["index"], resolved["slots"]
        if self.config.policy is not None:
            resolved["policy"] = sha256_file(Path(self.config.policy))
        return resolved

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
        note(
            f"budget: {sum(len(s.ids) for s in self.planned.values())} of {steps} steps given to {len(prompts)} prompts"
        )

    def results(self, prompts: list[Prompt], recorded: dict[str, Selection], selections: JsonLines) -> Iterator[Result]:
        """Select, train and score each prompt in turn; what a killed run recorded is not written twice."""
        from ttft.evaluation import score
        from ttft.finetuning.engine import Job

        chosen: dict[str, Selection] = {}

        def jobs() -> Iterator[Job]:
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
                yield Job(prompt.id, self.tuner.texts(selection))

        def scorer(key: str, model: Any) -> Any:
            return score(model, self.encodings[key], max_length=self.tuner.window)

        traces: Iterator[Trace] = (self._in_context(job, chosen[job.key].cosines) for job in jobs())
        if not self.in_context:
            traces = self.tuner.finetune(jobs(), score_at=(0, *self.config.score_at), scorer=scorer)
        by_id = {p.id: p for p in prompts}
        for trace in traces:
            yield self._result(by_id[trace.key], chosen.pop(trace.key), trace)

    @property
    def in_context(self) -> bool:
        return self.tuner.training["method"] == "in-context"

    def _in_context(self, job: Job, cosines: list[float]) -> Trace:
        """The prompt scored without and with its texts in front of it, in place of training on them."""
        from ttft.evaluation import context_room, score, token_ids
        from ttft.finetuning.engine import Trace
        from ttft.in_context import SEPARATOR, contexts

        model, window, encoded = self.tuner.learner, self.tuner.window, self.encodings[job.key]
        trace, timer = Trace(job.key), Timer(str(model.device))
        with timer("evaluate"):
            texts = [token_ids(self.tuner.tokenizer, text + SEPARATOR) for text in job.texts]
            room = context_room(encoded, window)
            for count, context in contexts(texts, cosines, room, self.config.score_at).items():
                trace.scores[count] = score(model, replace(encoded, context=context), max_length=window)
        trace.seconds |= timer.seconds
        return trace

    def _result(self, prompt: Prompt, selection: Selection, trace: Trace) -> Result:
        config, steps = self.config, [s for s in sorted(trace.scores) if math.isfinite(trace.scores[s].nats)]
        failed = trace.failed
        if not failed and len(steps) < len(trace.scores):
            failed = f"the score after step {max(trace.scores)} is not a number"
        if failed:
            note(f"prompt {prompt.id} failed and is kept at base: {failed}")
        adapter = dict(self.tuner.training)
        if not self.in_context:
            adapter |= {"parameters": self.tuner.learner.count, "reuse": config.reuse}
        if self.tuner.training["method"] == "lora":
            adapter |= {"alpha": config.lora_alpha or self.tuner.training["rank"]}
        return Result(
            prompt_id=prompt.id,
            subset=prompt.subset,
            text_sha256=sha256_text(prompt.text),
            model=config.model,
            adapter=adapter,
            ids=selection.ids,
            sigma=selection.sigma,
            steps=steps,
            nats=[trace.scores[s].nats for s in steps],
            bytes=trace.scores[0].bytes,
            tokens=trace.scores[0].tokens,
            kept="tuned" if max(trace.scores) > 0 and not failed else "base",
            losses=[round(x, 6) for x in trace.losses if math.isfinite(x)],
            seconds={k: round(v, 6) for k, v in (selection.seconds | trace.seconds).items()},
            failed=failed,
        )
