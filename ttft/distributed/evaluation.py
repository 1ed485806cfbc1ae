"""Scores prompts on Ray: each worker has its own session and receives prompts in chunks; results come back here.

A chunk holds as many prompts as a worker trains at the same time, or fewer, so that there are at least two chunks per
worker. Only this process writes the run folder, one finished chunk at a time. If a worker dies, its chunk is repeated,
and no prompt is recorded twice. Records are in the order in which chunks finish. Adapters are written by the workers,
so their folder, like everything that is read, must be on a file system that all machines share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from ttft import runtime
from ttft.distributed.cluster import ENDURING, Workers, each, first_answer, workers
from ttft.errors import ConfigError, CorpusError
from ttft.progress import OnNote, OnProgress, Progress, ignore
from ttft.records import Prompt, Result, Selection
from ttft.run_dir import differences
from ttft.tuner.scoring import Evaluator, Scoring, StepCount
from ttft.tuner.session import Tuner
from ttft.vector_index.manifest import Manifest

EMBEDDED = ".db"


@contextmanager
def ray_evaluator(
    options: dict[str, Any], scoring: Scoring, manifest: Manifest, *, prompts: int, folder: Path,
    count: int | None = None, address: str | None = None, on_note: OnNote = ignore,
) -> Iterator[RayEvaluator]:  # fmt: skip
    """Workers that score prompts, each with its own session.

    options  arguments of `Tuner`, plain values;  prompts: how many there will be;  folder: of the run
    count, address  number of workers and address of the cluster; see cluster.workers for the defaults
    Raises ConfigError for an index that workers cannot share.
    """
    if not manifest.complete:
        raise ConfigError(
            f"{options['index']} is not finished, so the workers might not all see the same pieces",
            "finish the index first, or leave --backend out",
        )
    if (manifest.search.uri or "").endswith(EMBEDDED):
        raise ConfigError(
            f"{options['index']} is searched through a Milvus {EMBEDDED} file, which serves one process at a time",
            "leave --backend out, or move the index to Faiss or a Milvus server with ttft index merge",
        )
    with workers(count=count, address=address, device=options["device"], seed=options["seed"], folder=folder) as crew:
        yield RayEvaluator(options, scoring, crew, prompts, on_note)


class RayEvaluator:
    """The Ray counterpart of tuner.scoring.Evaluator. The first worker reports the settings; the others check that
    theirs are the same."""

    def __init__(
        self, options: dict[str, Any], scoring: Scoring, crew: Workers, prompts: int, on_note: OnNote = ignore
    ) -> None:
        import ray

        worker: Any = ray.remote(Worker).options(**ENDURING, **crew.resources)
        # kept here: a restarted worker needs it again, and Ray deletes objects without references
        self.given = ray.put(options)
        self.workers: list[Any] = [
            worker.remote(crew, self.given, scoring, prompts) for _ in range(min(crew.count, prompts))
        ]
        self.planned: dict[str, Selection] = {}
        self._facts, self.slots, self._host = first_answer(ray, self.workers[0].facts.remote(), on_note=on_note)

    def facts(self) -> dict[str, Any]:
        return self._facts

    def host_facts(self) -> dict[str, Any]:
        return self._host | {"workers": len(self.workers)}

    def unusable(self, prompts: Sequence[Prompt]) -> dict[str, CorpusError]:
        import ray

        return ray.get(self.workers[0].unusable.remote(list(prompts)))

    def spread_budget(self, prompts: Sequence[Prompt], steps: int, on_progress: OnProgress = ignore) -> int:
        """Runs on one worker, since selection is a small part of the work."""
        import ray

        self.planned, given = ray.get(self.workers[0].spread_budget.remote(list(prompts), steps))
        on_progress(Progress("selecting", len(prompts), len(prompts), "prompts"))
        return given

    def results(
        self, prompts: Sequence[Prompt], *, on_selection: Callable[[Selection], None] = ignore,
        counter: StepCount | None = None,
    ) -> Iterator[Result]:  # fmt: skip
        """`counter` is not used: the caller counts finished prompts, and single steps are not seen here."""
        import ray

        def start(worker: Any, chunk: list[Prompt]) -> Any:
            planned = {p.id: self.planned[p.id] for p in chunk if p.id in self.planned}
            return worker.score.remote(chunk, planned, self._facts)

        size = max(1, min(self.slots, math.ceil(len(prompts) / (2 * len(self.workers)))))
        chunks = [list(prompts[i : i + size]) for i in range(0, len(prompts), size)]
        for made, results in each(ray, self.workers, chunks, start):
            for selection in made:
                on_selection(selection)
            yield from results


class Worker:
    """A Ray actor. It loads its session when first used, so that a restarted worker loads it again."""

    def __init__(self, crew: Workers, options: dict[str, Any], scoring: Scoring, prompts: int) -> None:
        self.crew, self.options, self.scoring, self.prompts = crew, options, scoring, prompts

    @cached_property
    def evaluator(self) -> Evaluator:
        self.crew.settle()
        runtime.keep_freed_memory()
        return Tuner(**self.options).evaluator(self.scoring, prompts=self.prompts)

    def facts(self) -> tuple[dict, int, dict]:
        """The resolved settings, the number of prompts trained at the same time, and facts about the machine."""
        return self.evaluator.facts(), self.evaluator.learner.slots, self.evaluator.host_facts()

    def unusable(self, prompts: list[Prompt]) -> dict[str, CorpusError]:
        return self.evaluator.unusable(prompts)

    def spread_budget(self, prompts: list[Prompt], steps: int) -> tuple[dict[str, Selection], int]:
        given = self.evaluator.spread_budget(prompts, steps)
        return self.evaluator.planned, given

    def score(
        self, prompts: list[Prompt], planned: dict[str, Selection], facts: dict[str, Any]
    ) -> tuple[list[Selection], list[Result]]:
        """The selections and results of a chunk. Raises ConfigError if the settings on this machine differ from the
        first worker's."""
        changed = differences(facts, self.evaluator.facts())
        if changed:
            raise ConfigError(
                f"workers would score differently: {'; '.join(changed)}",
                "set --device and --dtype to values that all machines support",
            )
        selections: list[Selection] = []
        self.evaluator.planned = planned
        return selections, list(self.evaluator.results(prompts, on_selection=selections.append))
