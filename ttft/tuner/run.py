"""A run folder: the results of many prompts, each written as soon as it is known, so that a run can be resumed.

Prompts are scored by an `Evaluator` in this process (scoring.py) or by Ray workers (distributed/).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ttft.errors import ConfigError, CorpusError
from ttft.finetuning.export import adapter_folder, is_saved
from ttft.json_lines import JsonLines
from ttft.progress import OnNote, OnProgress, counted, ignore
from ttft.records import Prompt, Result, Selection
from ttft.run_dir import (
    RESULTS,
    SELECTIONS,
    claim_run,
    finish_provenance,
    locked,
    make_folder,
    missing,
    provenance,
    read_run,
    record_provenance,
    sha256_text,
)
from ttft.tuner.dialogs import Queries, recorded_queries
from ttft.tuner.scoring import StepCount, recorded_selection

SHOWN = 5  # skipped prompts that a note names


class Evaluates(Protocol):
    """Scores prompts: scoring.Evaluator or distributed.evaluation.RayEvaluator."""

    def facts(self) -> dict[str, Any]: ...

    def host_facts(self) -> dict[str, Any]: ...

    def unusable(self, prompts: Sequence[Prompt]) -> Mapping[str, CorpusError]: ...

    def spread_budget(self, prompts: Sequence[Prompt], steps: int, on_progress: OnProgress = ignore) -> int: ...

    def results(
        self, prompts: Sequence[Prompt], *, on_selection: Callable[[Selection], None] = ignore,
        counter: StepCount | None = None,
    ) -> Iterable[Result]: ...  # fmt: skip


@dataclass(frozen=True)
class RunPlan:
    """The definition of a run.

    folder        folder for the results; one process writes there at a time
    prompts       the prompts of this run;  everyone: those of all jobs that share a budget (default: `prompts`)
    identity      makes the configuration of the folder (config.yaml) from the evaluator's facts
    budget_steps  total number of steps for `everyone`, instead of n per prompt
    adapters      the folder that the evaluator saves adapters to, if it does
    queries       makes the queries of prompts that are dialogs, which are recorded in the folder
    """

    folder: Path
    prompts: Sequence[Prompt]
    identity: Callable[[dict[str, Any]], dict[str, Any]]
    n: int
    trains: bool = True
    seed: int = 0
    everyone: Sequence[Prompt] = ()
    budget_steps: int | None = None
    adapters: Path | None = None
    queries: Queries = field(default_factory=Queries)


@dataclass(frozen=True)
class RunAccount:
    """The outcome of a run: all its results, how many of them are new, and the time it took."""

    results: Mapping[str, Result] = field(repr=False)
    new: int
    seconds: float


def evaluate_into(
    plan: RunPlan, open_evaluator: Callable[[], AbstractContextManager[Evaluates]], *,
    on_progress: OnProgress = ignore, on_note: OnNote = ignore,
) -> RunAccount:  # fmt: skip
    """Score every prompt of a run that has no result yet. Results already written stay valid whatever happens.

    Raises CorpusError for a prompt whose recorded result is for a different text, ConfigError if the folder belongs to
    a different configuration, TtftError if another process is writing to it.
    """
    started, folder = time.perf_counter(), plan.folder
    with locked(folder):
        results, selections = read_run(folder)
        known = {r.prompt_id: r for r in results}
        _check_texts(plan.prompts, known, folder)
        with open_evaluator() as evaluator:
            plan = _usable(plan, evaluator, on_note)
            identity = plan.identity(evaluator.facts())
            claim_run(folder, identity)
            if plan.adapters is not None:
                make_folder(plan.adapters)
                claim_run(plan.adapters, identity)
                _check_adapters(plan, known)
            plan = _queried(plan, on_progress)
            todo = set(missing((p.id for p in plan.prompts), known))
            if todo:
                if known:
                    on_note(f"resuming: {len(known)} of {counted(len(plan.prompts), 'prompt')} done")
                record_provenance(folder, provenance(plan.seed, evaluator.host_facts()))
                _spread(plan, evaluator, on_progress, on_note)
                before = {s.prompt_id: s for s in selections}
                _write(plan, evaluator, [p for p in plan.prompts if p.id in todo], known, before, on_progress, on_note)
                finish_provenance(folder, time.perf_counter() - started, len(todo))
    return RunAccount(known, len(todo), time.perf_counter() - started)


def _usable(plan: RunPlan, evaluator: Evaluates, on_note: OnNote) -> RunPlan:
    """The plan without the prompts that cannot be scored. Raises CorpusError if none of its own is left."""
    reasons = evaluator.unusable(plan.everyone or plan.prompts)
    own = [prompt for prompt in plan.prompts if prompt.id in reasons]
    if not own:
        left = plan.prompts
    elif not (left := [prompt for prompt in plan.prompts if prompt.id not in reasons]):
        raise reasons[own[0].id]
    else:
        shown = ", ".join(prompt.id for prompt in own[:SHOWN]) + ", ..." * (len(own) > SHOWN)
        on_note(f"{counted(len(own), 'prompt')} skipped, too short to be scored: {shown}")
    everyone = [prompt for prompt in plan.everyone if prompt.id not in reasons]
    return replace(plan, prompts=left, everyone=everyone)


def _queried(plan: RunPlan, on_progress: OnProgress) -> RunPlan:
    """The plan with the queries of its dialogs; those of other jobs are only needed to share a budget."""
    if plan.budget_steps is None or not plan.everyone:
        return replace(plan, prompts=recorded_queries(plan.folder, plan.prompts, plan.queries, on_progress))
    everyone = recorded_queries(plan.folder, plan.everyone, plan.queries, on_progress)
    own = {prompt.id for prompt in plan.prompts}
    return replace(plan, prompts=[prompt for prompt in everyone if prompt.id in own], everyone=everyone)


def _spread(plan: RunPlan, evaluator: Evaluates, on_progress: OnProgress, on_note: OnNote) -> None:
    if plan.budget_steps is not None:
        everyone = plan.everyone or plan.prompts
        given = evaluator.spread_budget(everyone, plan.budget_steps, on_progress)
        steps, prompts = counted(plan.budget_steps, "step"), counted(len(everyone), "prompt")
        on_note(f"budget: {given:,} of {steps} assigned to {prompts}")


def _write(
    plan: RunPlan, evaluator: Evaluates, prompts: list[Prompt], known: dict[str, Result],
    before: Mapping[str, Selection], on_progress: OnProgress, on_note: OnNote,
) -> None:  # fmt: skip
    """Score these prompts; each result is written, and added to `known`, as soon as it is there. `before`: selections
    that are recorded already."""
    folder = plan.folder
    with JsonLines(folder / SELECTIONS) as selections, JsonLines(folder / RESULTS) as results:

        def record(selection: Selection) -> None:
            if not recorded_selection(before, selection):
                selections.append(selection.to_json())

        counter = StepCount(len(prompts), plan.n, plan.trains, on_progress)
        for result in evaluator.results(prompts, on_selection=record, counter=counter):
            if result.failed:
                why = "" if result.scored else " and is left out of the numbers"
                on_note(f"prompt {result.prompt_id} failed, so the base model answers{why}: {result.failed}")
            results.append(result.to_json())
            known[result.prompt_id] = result
            counter.end(result.prompt_id, result.steps_taken, bpb_so_far(known.values()))


def _check_adapters(plan: RunPlan, known: Mapping[str, Result]) -> None:
    """Check that prompts finished by an earlier start have saved their adapters."""
    assert plan.adapters is not None
    for prompt_id, result in known.items():
        if not result.failed and not is_saved(adapter_folder(plan.adapters, prompt_id)):
            raise ConfigError(
                f"prompt {prompt_id} has a result in {plan.folder} but no adapter in {plan.adapters}",
                "choose another --out, or leave --save-adapters out",
            )


def _check_texts(prompts: Sequence[Prompt], known: Mapping[str, Result], folder: Path) -> None:
    """Check that prompts with results still have the same text."""
    for prompt in prompts:
        if prompt.id in known and known[prompt.id].text_sha256 != sha256_text(prompt.text):
            raise CorpusError(
                f"prompt {prompt.id} differs from the text that was scored in {folder}", "choose another --out"
            )


def bpb_so_far(results: Iterable[Result]) -> str:
    """Base and final bits per byte over those of these prompts that were scored, as text."""
    everything = [result for result in results if result.scored]
    if not everything:
        return "no prompt with a finite score"
    size = math.log(2) * sum(r.bytes for r in everything)
    base, final = sum(r.base_nats for r in everything), sum(r.final_nats for r in everything)
    of_base = f" ({100 * final / base:.1f}% of base)" if base else ""
    return f"BPB {base / size:.4f} -> {final / size:.4f}{of_base}"
