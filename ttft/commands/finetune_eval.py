"""ttft finetune-eval: prompts -> selected texts -> fine-tuned model -> bits per byte, into a resumable run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note, progress, say, show_plan
from ttft.commands.prompts import load_prompts, make_tuner, tuner_options
from ttft.config.backend import BACKEND
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.errors import CorpusError
from ttft.jobs import Job
from ttft.progress import counted
from ttft.records import Prompt
from ttft.run_dir import CONFIG, PROVENANCE, RESULTS, REWRITES, SELECTIONS, sha256_file

if TYPE_CHECKING:
    from ttft.tuner.run import Evaluates, RunAccount
    from ttft.tuner.scoring import Scoring

PLACES = ("out", "index", "slots", "save_adapters", *BACKEND)
"""Options that do not affect results."""


def run(config: FinetuneEvalConfig, *, dry_run: bool = False) -> None:
    """Score every prompt before and after fine-tuning on its selected texts. Raises TtftError; results so far stay."""
    folder = Path(config.out)
    if dry_run:
        adapters = config.adapters()
        each = [adapters / "PROMPT_ID"] if adapters is not None else []
        files = [RESULTS, SELECTIONS, CONFIG, PROVENANCE, *([REWRITES] if config.rewrite else [])]
        show_plan(config, [*(folder / name for name in files), *each])
        return
    from ttft.vector_index.manifest import read_manifest

    manifest = read_manifest(Path(config.index))
    everyone = load_prompts(config)
    prompts = _own(everyone, config.job)
    from ttft.tuner.dialogs import Queries, loader
    from ttft.tuner.run import RunPlan, evaluate_into

    check_dialogs(config, everyone)
    queries = Queries(loader(config.rewrite, config.device, config.dtype), config.rewrites, note)
    training = config.training()
    plan = RunPlan(
        folder, prompts, lambda facts: identity(config, facts), n=config.n, trains=training.method != "in-context",
        seed=config.seed, everyone=everyone, budget_steps=config.budget_steps, adapters=config.adapters(),
        queries=queries,
    )  # fmt: skip

    @contextmanager
    def evaluator() -> Iterator[Evaluates]:
        if config.backend == "local":
            tuner = make_tuner(config, score_dtype=config.score_dtype)
            yield tuner.evaluator(scoring_of(config), prompts=len(prompts))
            return
        from ttft.distributed.evaluation import ray_evaluator

        options = tuner_options(config) | {"score_dtype": config.score_dtype}
        with ray_evaluator(
            options, scoring_of(config), manifest, prompts=len(prompts), folder=folder, count=config.workers,
            address=config.ray_address, on_note=note,
        ) as ray:  # fmt: skip
            yield ray

    with progress() as display:
        account = evaluate_into(plan, evaluator, on_progress=display, on_note=note)
    say(_summary(account, folder, training.method))


def scoring_of(config: FinetuneEvalConfig) -> Scoring:
    """Which part of each prompt is scored, when, and with which guard."""
    from ttft.tuner.guard import Guard
    from ttft.tuner.scoring import Scoring

    guard = Guard(config.mix, config.guard_part, config.guard_margin) if config.guard or config.mix else None
    return Scoring(config.score, config.split, config.score_at, guard, config.adapters())


def identity(config: FinetuneEvalConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """The resolved configuration of the run, in which the index and other files are identified by content, not path."""
    resolved = config.resolved() | facts
    for place in PLACES:
        del resolved[place]
    if config.policy is not None:
        resolved["policy"] = sha256_file(Path(config.policy))
    if config.rewrite is None:  # as in the runs of before there were dialogs
        del resolved["rewrite"], resolved["rewrites"]
    elif (folder := Path(config.rewrite)).is_dir():
        files = sorted(path for path in folder.iterdir() if path.name == "q2d.json" or path.suffix == ".safetensors")
        resolved["rewrite"] = " ".join(sha256_file(path) for path in files)
    return resolved


def check_dialogs(config: FinetuneEvalConfig, prompts: list[Prompt]) -> None:
    """Raises CorpusError for dialogs with --score suffix."""
    first = next((prompt for prompt in prompts if prompt.turns), None)
    if first is not None and config.score == "suffix":
        raise CorpusError(
            f"prompt {first.id} is a dialog, whose query is made from its end, so no suffix of it is unknown",
            "use --score whole",
        )


def _own(prompts: list[Prompt], job: str | None) -> list[Prompt]:
    """The prompts of this job. Raises CorpusError if any of the jobs would have none."""
    if job is None:
        return prompts
    own = Job.parse(job)
    if own.total > len(prompts):
        raise CorpusError(
            f"--job {job}: {counted(len(prompts), 'prompt')} cannot be split into {own.total} jobs",
            f"start at most {counted(len(prompts), 'job')}: --job 1/{len(prompts)}, ...",
        )
    return list(own.of(prompts))


def _summary(account: RunAccount, folder: Path, method: str) -> str:
    from ttft.tuner.run import bpb_so_far

    results = list(account.results.values())
    steps = sum(r.steps_taken for r in results) / len(results)
    what = "texts in context" if method == "in-context" else "steps per prompt"
    return (
        f"{folder}: {counted(len(results), 'prompt')} ({account.new} new), {bpb_so_far(results)}, {steps:.1f} {what}, "
        f"{account.seconds:.1f} s; next: ttft report {folder}"
    )
