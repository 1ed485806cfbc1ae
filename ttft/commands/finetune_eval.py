"""ttft finetune-eval: prompts -> chosen texts -> fine-tuned model -> bits per byte, into a resumable run folder."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note, progress, say, show_plan
from ttft.commands.evaluating import Run
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.errors import ConfigError, CorpusError
from ttft.jobs import Job
from ttft.records import Prompt, Selection
from ttft.run_dir import (
    CONFIG,
    PROVENANCE,
    RESULTS,
    SELECTIONS,
    JsonLines,
    claim_run,
    finish_provenance,
    locked,
    make_folder,
    missing,
    provenance,
    read_lines,
    record_provenance,
    sha256_text,
)

if TYPE_CHECKING:
    from ttft.vector_index.manifest import Manifest


def run(config: FinetuneEvalConfig, *, dry_run: bool = False) -> None:
    """Score every prompt before and after fine-tuning on its chosen texts. Raises TtftError; results so far stay."""
    folder = Path(config.out)
    if dry_run:
        adapters = config.adapters()
        each = [adapters / "PROMPT_ID"] if adapters is not None else []
        show_plan(config, [*(folder / name for name in (RESULTS, SELECTIONS, CONFIG, PROVENANCE)), *each])
        return
    from ttft.vector_index.manifest import read_manifest

    manifest = read_manifest(Path(config.index))
    from ttft import runtime
    from ttft.commands.selecting import load_prompts

    everyone = load_prompts(config)
    prompts = _own(everyone, config.job)
    runtime.quiet_libraries()
    runtime.setup(config.seed)
    with locked(folder):
        _run(config, folder, prompts, everyone, manifest)


def _own(prompts: list[Prompt], job: str | None) -> list[Prompt]:
    """The prompts of this job. Raises CorpusError where some of the jobs would have none."""
    if job is None:
        return prompts
    own = Job.parse(job)
    if own.total > len(prompts):
        raise CorpusError(
            f"--job {job}: there are {len(prompts)} prompts, too few for {own.total} jobs",
            f"start at most {len(prompts)} jobs: --job 1/{len(prompts)}, ...",
        )
    return list(own.of(prompts))


def _run(
    config: FinetuneEvalConfig, folder: Path, prompts: list[Prompt], everyone: list[Prompt], manifest: Manifest
) -> None:
    """Score `prompts`; `everyone`, the prompts of all jobs, share one budget."""
    started = time.perf_counter()
    known = {r["prompt_id"]: r for r in read_lines(folder / RESULTS)}
    _check_texts(prompts, known, folder)
    with _engine(config, folder, prompts, manifest) as run:
        claim_run(folder, run.identity(manifest))
        adapters = config.adapters()
        if adapters is not None:
            make_folder(adapters)
            claim_run(adapters, run.identity(manifest))
            _check_adapters(config, known)
        todo = set(missing((p.id for p in prompts), known))
        if todo:
            if known:
                note(f"going on: {len(known)} of {len(prompts)} prompts are done")
            record_provenance(folder, provenance(config.seed, run.host_facts()))
            if config.budget_steps is not None:
                run.spread_budget(everyone, config.budget_steps)
                given = sum(len(s.ids) for s in run.planned.values())
                note(f"budget: {given} of {config.budget_steps} steps given to {len(everyone)} prompts")
            _write(run, config, folder, [p for p in prompts if p.id in todo], known)
            finish_provenance(folder, time.perf_counter() - started, len(todo))
    say(_summary(list(known.values()), folder, len(todo), time.perf_counter() - started))


@contextmanager
def _engine(config: FinetuneEvalConfig, folder: Path, prompts: list[Prompt], manifest: Manifest) -> Iterator[Any]:
    """What does the work: this process (`Run`), or workers of Ray, which do as it does."""
    if config.backend == "ray":
        from ttft.commands.finetune_eval_ray import ray_run

        with ray_run(config, folder, prompts, manifest) as run:
            yield run
    else:
        from ttft import runtime

        yield Run.prepare(config, runtime.pick_device(config.device), prompts)


def _write(run: Any, config: FinetuneEvalConfig, folder: Path, prompts: list[Prompt], known: dict[str, dict]) -> None:
    """Do these prompts; each result is written, and added to those known, as it comes."""
    doing = "scoring" if config.training()["method"] == "in-context" else "fine-tuning"
    with JsonLines(folder / SELECTIONS) as selections, JsonLines(folder / RESULTS) as results, progress() as display:
        recorded = {s["prompt_id"]: Selection(**s) for s in read_lines(folder / SELECTIONS)}
        task = display.add_task(doing, total=len(prompts) + len(known), completed=len(known))
        for result in run.results(prompts, recorded, selections):
            if result.failed:
                note(f"prompt {result.prompt_id} failed and is kept at base: {result.failed}")
            results.append(result.to_json())
            known[result.prompt_id] = result.to_json()
            display.update(task, advance=1, description=f"{doing} {_bpb(known.values())}")


def _check_adapters(config: FinetuneEvalConfig, known: dict[str, dict]) -> None:
    """Prompts that a former start has finished must have left their adapters."""
    from ttft.finetuning.export import adapter_folder, is_saved

    folder = config.adapters()
    assert folder is not None
    for prompt_id, result in known.items():
        if not result.get("failed") and not is_saved(adapter_folder(folder, prompt_id)):
            raise ConfigError(
                f"prompt {prompt_id} has a result in {config.out} but no adapter in {folder}",
                "choose another --out, or leave --save-adapters out",
            )


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
