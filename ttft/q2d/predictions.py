"""The queries that models and baselines write for the turns of a data set, kept in a file so that work can go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from ttft.json_lines import JsonLines
from ttft.progress import OnProgress, Progress, ignore
from ttft.q2d.records import Example
from ttft.q2d.rewrites import How, Rewrites
from ttft.state import STRICT, read_records

PREDICTIONS = "predictions.jsonl"
TOGETHER = 64  # turns whose queries are written to disk at the same time


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a system wrote for a turn. queries: best first, none where it said that no search is needed; how, note: as
    in rewrites.Rewrite."""

    __pydantic_config__: ClassVar = STRICT

    id: str
    system: str
    queries: tuple[str, ...]
    how: How
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def query(self) -> str:
        """The best query, "" without any."""
        return self.queries[0] if self.queries else ""


def predict(
    folder: Path, systems: Mapping[str, Callable[[], Rewrites]], examples: Sequence[Example], *, n: int = 1,
    on_progress: OnProgress = ignore,
) -> dict[str, dict[str, Prediction]]:  # fmt: skip
    """system -> id -> Prediction. Those in the folder's predictions.jsonl are not made again.

    systems  name -> what loads it; called only if it has something to do, so that one model is in memory at a time
    Raises TtftError for a damaged file, or as the systems do; what was written before stays.
    """
    path = folder / PREDICTIONS
    with JsonLines(path) as log:
        known = {(p.system, p.id): p for p in read_records(path, Prediction, key=_key)}
        for name, load in systems.items():
            todo = [example for example in examples if (name, example.id) not in known]
            rewriter = load() if todo else None
            for start in range(0, len(todo), TOGETHER):
                some = todo[start : start + TOGETHER]
                assert rewriter is not None
                made = rewriter.rewrite([example.turns for example in some], n=n)
                new = [
                    Prediction(example.id, name, rewrite.queries, rewrite.how, rewrite.note)
                    for example, rewrite in zip(some, made, strict=True)
                ]
                log.append(*(prediction.to_json() for prediction in new))
                known |= {(p.system, p.id): p for p in new}
                on_progress(Progress("rewriting", start + len(some), len(todo), "dialogs", name))
    return {name: {e.id: known[name, e.id] for e in examples} for name in systems}


def _key(prediction: Prediction) -> str:
    return f"{prediction.system}\n{prediction.id}"
