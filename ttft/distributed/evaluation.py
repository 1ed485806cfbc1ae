"""Prompts scored on Ray: a session per worker; prompts go out in chunks, results come back here.

A chunk has as many prompts as a worker trains side by side, or fewer, so that there are two for every worker. Only
this process writes the run folder, a chunk when it has ended: what a worker had done of a chunk when it died is done
again, and no prompt is written twice. Records come in the order in which the chunks end. Adapters are written by the
workers, so that their folder, like all that is read, must be one that all machines share.
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
from ttft.errors import ConfigError
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
    """Workers that score prompts, each with a session of its own.

    options  arguments of `Tuner`, plain values;  prompts  how many there will be;  folder  of the run
    count, address  how many workers, and a cluster's address; default: one a GPU or machine, on a Ray of one's own
    Raises ConfigError for an index that workers cannot share.
    """
    if not manifest.complete:
        raise ConfigError(
            f"{options['index']} is not finished: workers would not all see the same pieces",
            "finish it first, or leave --backend out",
        )
    if (manifest.search.uri or "").endswith(EMBEDDED):
        raise ConfigError(
            f"{options['index']} is searched by Milvus in a {EMBEDDED} file, which serves one process at a time",
            "leave --backend out, or search it by Faiss or a Milvus server: ttft index merge",
        )
    with workers(count=count, address=address, device=options["device"], seed=options["seed"], folder=folder) as crew:
        yield RayEvaluator(options, scoring, crew, prompts, on_note)


class RayEvaluator:
    """What tuner.scoring.Evaluator is, on workers. The first of them speaks for all; the others check that they
    agree."""

    def __init__(
        self, options: dict[str, Any], scoring: Scoring, crew: Workers, prompts: int, on_note: OnNote = ignore
    ) -> None:
        import ray

        worker: Any = ray.remote(Worker).options(**ENDURING, **crew.resources)
        # kept here: a worker that is started again asks for it again, and Ray forgets what nobody holds
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

    def check(self, prompts: Sequence[Prompt]) -> None:
        import ray

        ray.get(self.workers[0].check.remote(list(prompts)))

    def spread_budget(self, prompts: Sequence[Prompt], steps: int, on_progress: OnProgress = ignore) -> int:
        """On one worker: selection is a small part of the work."""
        import ray

        self.planned, given = ray.get(self.workers[0].spread_budget.remote(list(prompts), steps))
        on_progress(Progress("selecting", len(prompts), len(prompts), "prompts"))
        return given

    def results(
        self, prompts: Sequence[Prompt], *, on_selection: Callable[[Selection], None] = ignore,
        counter: StepCount | None = None,
    ) -> Iterator[Result]:  # fmt: skip
        """`counter` sees only prompts that have ended."""
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
    """An actor. What it holds is loaded when it is first asked, so that one that died begins where it stood."""

    def __init__(self, crew: Workers, options: dict[str, Any], scoring: Scoring, prompts: int) -> None:
        self.crew, self.options, self.scoring, self.prompts = crew, options, scoring, prompts

    @cached_property
    def evaluator(self) -> Evaluator:
        self.crew.settle()
        runtime.keep_freed_memory()
        return Tuner(**self.options).evaluator(self.scoring, prompts=self.prompts)

    def facts(self) -> tuple[dict, int, dict]:
        """What is done here, how many prompts side by side, and on what machine."""
        return self.evaluator.facts(), self.evaluator.learner.slots, self.evaluator.host_facts()

    def check(self, prompts: list[Prompt]) -> None:
        self.evaluator.check(prompts)

    def spread_budget(self, prompts: list[Prompt], steps: int) -> tuple[dict[str, Selection], int]:
        given = self.evaluator.spread_budget(prompts, steps)
        return self.evaluator.planned, given

    def score(
        self, prompts: list[Prompt], planned: dict[str, Selection], facts: dict[str, Any]
    ) -> tuple[list[Selection], list[Result]]:
        """The selections to write down, and the results. Raises ConfigError where this machine would do something else
        than the first worker."""
        changed = differences(facts, self.evaluator.facts())
        if changed:
            raise ConfigError(
                f"a worker would score differently: {'; '.join(changed)}", "give --device and --dtype, for all machines"
            )
        selections: list[Selection] = []
        self.evaluator.planned = planned
        return selections, list(self.evaluator.results(prompts, on_selection=selections.append))
