"""ttft finetune-eval --backend ray: an engine per worker; prompts go out in chunks, results come back here.

A chunk has as many prompts as the engine trains side by side, or fewer, so that there are two for every worker. Only
this process writes the run folder, a chunk when it has ended: what a worker had done of a chunk when it died is done
again, and no prompt is written twice. Records come in the order in which the chunks end. With --save-adapters the
workers write the adapters, so that its folder, like all that is read, must be one that all machines share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft import runtime
from ttft.commands.console import note
from ttft.commands.evaluating import Run
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.distributed.cluster import ENDURING, Workers, each, first_answer, workers
from ttft.errors import ConfigError
from ttft.records import Prompt, Result, Selection
from ttft.run_dir import JsonLines, claim_run

if TYPE_CHECKING:
    from ttft.vector_index.manifest import Manifest


@contextmanager
def ray_run(config: FinetuneEvalConfig, folder: Path, prompts: list[Prompt], manifest: Manifest) -> Iterator[RayRun]:
    """Workers for these prompts, each with its models. Raises ConfigError for an index that they cannot share."""
    from ttft.vector_index.milvus import EMBEDDED

    if not manifest.complete:
        raise ConfigError(
            f"{config.index} is not finished: workers would not all see the same pieces",
            "finish it first, or leave --backend out",
        )
    if (manifest.search.uri or "").endswith(EMBEDDED):
        raise ConfigError(
            f"{config.index} is searched by Milvus in a {EMBEDDED} file, which serves one process at a time",
            "leave --backend out, or search it by Faiss or a server of Milvus: ttft index merge",
        )
    with workers(
        count=config.workers, address=config.ray_address, device=config.device, seed=config.seed, folder=folder
    ) as crew:
        yield RayRun(config, crew, prompts, manifest)


class RayRun:
    """What `evaluating.Run` is, on workers. The first of them speaks for all; the others check that they agree."""

    def __init__(self, config: FinetuneEvalConfig, crew: Workers, prompts: list[Prompt], manifest: Manifest) -> None:
        import ray

        self.crew = crew
        self.planned: dict[str, Selection] = {}
        worker: Any = ray.remote(Worker).options(**ENDURING, **crew.resources)
        # kept here: a worker that is started again asks for them again, and Ray forgets what nobody holds
        self.given = ray.put(prompts), ray.put(manifest)
        self.workers: list[Any] = [
            worker.remote(crew, config, *self.given) for _ in range(min(crew.count, len(prompts)))
        ]
        self._identity, self.slots, self._host = first_answer(ray, self.workers[0].facts.remote(), on_note=note)

    def identity(self, manifest: Manifest) -> dict:
        return self._identity

    def host_facts(self) -> dict:
        return self._host | {"workers": len(self.workers)}

    def spread_budget(self, prompts: list[Prompt], steps: int) -> None:
        """On one worker: selection is a small part of the work."""
        import ray

        promise = self.workers[0].spread_budget.remote(prompts, steps)
        self.planned = ray.get(promise)

    def results(self, prompts: list[Prompt], recorded: dict[str, Selection], selections: JsonLines) -> Iterator[Result]:
        import ray

        def start(worker: Any, chunk: list[Prompt]) -> Any:
            ids = {p.id for p in chunk}
            known, planned = ({k: v for k, v in of.items() if k in ids} for of in (recorded, self.planned))
            return worker.finetune.remote(chunk, known, planned)

        size = max(1, min(self.slots, math.ceil(len(prompts) / (2 * len(self.workers)))))
        chunks = [prompts[i : i + size] for i in range(0, len(prompts), size)]
        for made, results in each(ray, self.workers, chunks, start):
            for selection in made:
                selections.append(selection)
            yield from results


class Worker:
    """An actor. What it holds is loaded when it is first asked, so that one that died begins where it stood."""

    def __init__(self, crew: Workers, config: FinetuneEvalConfig, prompts: list[Prompt], manifest: Manifest) -> None:
        self.crew, self.config, self.prompts, self.manifest = crew, config, prompts, manifest

    @cached_property
    def run(self) -> Run:
        self.crew.settle()
        return Run.prepare(self.config, runtime.pick_device(self.config.device), self.prompts)

    @cached_property
    def agreed(self) -> Run:
        """The run, which is the one that the folder was claimed for; ConfigError if this machine would do another."""
        claim_run(Path(self.crew.folder), self.run.identity(self.manifest))
        return self.run

    def facts(self) -> tuple[dict, int, dict]:
        """What is done here, how many prompts side by side, and on what machine."""
        return self.run.identity(self.manifest), getattr(self.run.tuner.learner, "slots", 1), self.run.host_facts()

    def spread_budget(self, prompts: list[Prompt], steps: int) -> dict[str, Selection]:
        self.agreed.spread_budget(prompts, steps)
        return self.agreed.planned

    def finetune(
        self, prompts: list[Prompt], recorded: dict[str, Selection], planned: dict[str, Selection]
    ) -> tuple[list[dict], list[Result]]:
        """The selections to write down, and the results."""
        selections: list[dict] = []
        self.agreed.planned = planned
        return selections, list(self.agreed.results(prompts, recorded, selections))
