"""Run folders, and which of them may stand in one table.

A group holds the runs of one model and one way of scoring ("whole" or "suffix"): only these are comparable. Within a
group every number is over the prompts that all of its runs have scored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ttft import run_dir
from ttft.errors import MissingArtifact, TtftError
from ttft.records import Result, Selection
from ttft.reporting.jobs import PLACES, join

NAMES = {"sift": "SIFT", "itl": "ITL", "mmr": "MMR"}
KEYS_IN_LABEL = 3
Key = tuple[str, str, int]
Record = TypeVar("Record", Result, Selection)


@dataclass(frozen=True, slots=True)
class Run:
    """What one `ttft finetune-eval` left in its folder, or its jobs in theirs. results and selections are in file
    order. warnings: what a reader must know of the jobs."""

    folder: Path
    label: str
    config: dict
    results: tuple[Result, ...]
    selections: tuple[Selection, ...]
    provenance: dict
    warnings: tuple[str, ...] = ()

    @property
    def score(self) -> str:
        return str(self.config.get("score", "whole"))

    @property
    def model(self) -> str:
        return self.results[0].model

    def by_key(self) -> dict[Key, Result]:
        """Results by what makes two prompts the same: id, text and scored bytes."""
        return {(r.prompt_id, r.text_sha256, r.bytes): r for r in self.results}


@dataclass(frozen=True, slots=True)
class Group:
    """Comparable runs with unique labels. prompts: the keys common to all, sorted; seen: how many there are in any."""

    score: str
    model: str
    runs: tuple[Run, ...]
    prompts: tuple[Key, ...]
    seen: int


def read_groups(folders: list[Path]) -> list[Group]:
    """Read run folders and group them; errors: see `read_runs`, `group_runs`."""
    return group_runs(read_runs(folders))


def read_runs(folders: list[Path]) -> list[Run]:
    """Read run folders, one named twice once, and join the jobs among them; errors: see `read_run`, `join`."""
    parts = [part for folder in folders for part in _parts(folder)]
    once = {folder.resolve(): folder for folder in reversed(parts)}
    return join([read_run(folder) for folder in reversed(once.values())])


def _parts(folder: Path) -> list[Path]:
    """The jobs with results in a folder that holds no other runs; else the folder itself."""
    if (folder / run_dir.RESULTS).exists():
        return [folder]
    inside = sorted(path.parent for path in folder.glob(f"*/{run_dir.RESULTS}") if path.stat().st_size)
    return inside if inside and all(_config(p / run_dir.CONFIG).get("job") for p in inside) else [folder]


def read_run(folder: Path) -> Run:
    """Read one run folder.

    Raises MissingArtifact when there is no such folder or no result in it, TtftError naming file and line for a damaged
    one. A last line that a kill cut short is not a result.
    """
    if not (folder / run_dir.RESULTS).exists():
        raise _not_a_run(folder)
    results = _records(folder / run_dir.RESULTS, Result)
    if not results:
        raise MissingArtifact(f"{folder} has no results yet", f"go on with it: ttft finetune-eval --out {folder} ...")
    for number, result in enumerate(results, 1):
        _check(result, f"{folder / run_dir.RESULTS}:{number}")
    config = _config(folder / run_dir.CONFIG)
    _check_unique(results, folder)
    selections = _records(folder / run_dir.SELECTIONS, Selection)
    return Run(folder, plain_label(config, folder), config, results, selections, _provenance(folder))


def group_runs(runs: list[Run]) -> list[Group]:
    """Groups of one model and one score, in order of first appearance.

    Raises TtftError when the runs of a group have no prompt in common.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.score, run.model), []).append(run)
    return [_group(score, model, members) for (score, model), members in groups.items()]


def _group(score: str, model: str, runs: list[Run]) -> Group:
    keys = [set(run.by_key()) for run in runs]
    common = set.intersection(*keys)
    if not common:
        names = ", ".join(str(run.folder) for run in runs)
        raise TtftError(
            f"these runs have no prompt in common (same id, same text, same scored bytes): {names}",
            "report them one by one, or run them with the same prompts",
        )
    labelled = tuple(replace(run, label=label) for run, label in zip(runs, labels(runs), strict=True))
    return Group(score, model, labelled, tuple(sorted(common)), len(set.union(*keys)))


# ---- labels --------------------------------------------------------------------------------------------------------


def plain_label(config: dict, folder: Path) -> str:
    """The strategy as people call it, with the rule that ends it and, of texts that were not trained on, "in-context";
    the folder's name without a strategy."""
    strategy = config.get("strategy")
    if not strategy:
        return folder.name
    name = NAMES.get(str(strategy), str(strategy))
    if in_context(config):
        return "in-context " + plain_label({**config, "method": None}, folder)
    if config.get("budget_steps") is not None:
        return f"budget {name}"
    if config.get("policy") is not None:
        return f"calibrated {name}"
    return f"adaptive {name}" if config.get("alpha") is not None else name


def in_context(config: dict) -> bool:
    """Whether a run put its texts before the prompt instead of training on them."""
    return config.get("method") == "in-context"


def labels(runs: list[Run]) -> list[str]:
    """Unique labels: the plain one; else with the keys in which its namesakes differ; else the folder."""
    result = []
    for run in runs:
        namesakes = [other for other in runs if other.label == run.label]
        result.append(run.label if len(namesakes) == 1 else f"{run.label} {_differing(run, namesakes)}".strip())
    if len(set(result)) == len(result):
        return result
    names = [label if result.count(label) == 1 else run.folder.name for run, label in zip(runs, result, strict=True)]
    if len(set(names)) == len(names):
        return names
    places = [str(run.folder) for run in runs]  # two runs in jobs may lie in one folder
    return [place if places.count(place) == 1 else f"{place} ({i})" for i, place in enumerate(places, 1)]


def _differing(run: Run, namesakes: list[Run]) -> str:
    keys = list(dict.fromkeys(key for other in namesakes for key in other.config if key not in PLACES))
    differ = [key for key in keys if any(other.config.get(key) != run.config.get(key) for other in namesakes)]
    if len(differ) > KEYS_IN_LABEL:
        return f"({run.folder.name})"
    return " ".join(f"{key.rstrip('_')}={_short(run.config.get(key))}" for key in differ)


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:23] + "…"


# ---- reading -------------------------------------------------------------------------------------------------------


def _not_a_run(folder: Path) -> MissingArtifact:
    make = f"make one: ttft finetune-eval --out {folder} ..."
    if not folder.exists():
        beside = _runs_in(folder.parent)
        return MissingArtifact(f"no such run folder: {folder}", f"runs beside it: {beside}" if beside else make)
    inside = _runs_in(folder)
    message = f"{folder} is not a run (no {run_dir.RESULTS} there)"
    return MissingArtifact(message, f"runs inside it: {inside}" if inside else make)


def _runs_in(folder: Path) -> str:
    found = sorted(str(p.parent) for p in folder.glob(f"*/{run_dir.RESULTS}")) if folder.is_dir() else []
    return " ".join(found[:6])


def _records(path: Path, kind: type[Record]) -> tuple[Record, ...]:
    records = []
    for number, line in enumerate(run_dir.read_lines(path), 1):
        try:
            records.append(kind(**line))
        except TypeError as error:
            what = f"{path}:{number} is not a {kind.__name__} record: {error}"
            raise TtftError(what, "the file was changed by hand, or written by another version of ttft") from None
    return tuple(records)


def _check(result: Result, where: str) -> None:
    """What the report relies on: a base score first, as many nats as steps, some bytes, a known `kept`."""
    try:
        faults = {
            "steps and nats differ in length": len(result.steps) != len(result.nats),
            "steps must rise from 0": list(result.steps) != sorted({0, *result.steps}),
            "bytes must be above 0": not result.bytes > 0,
            "nats must be numbers": not all(isinstance(x, (int, float)) for x in result.nats),
            f"kept is {result.kept!r}, not 'tuned' or 'base'": result.kept not in ("tuned", "base"),
        }
    except TypeError as error:
        faults = {str(error): True}
    found = [text for text, wrong in faults.items() if wrong]
    if found:
        raise TtftError(f"{where} is damaged: {'; '.join(found)}", "remove the line and run finetune-eval again")


def _check_unique(results: tuple[Result, ...], folder: Path) -> None:
    seen: dict[str, int] = {}
    for number, result in enumerate(results, 1):
        first = seen.setdefault(result.prompt_id, number)
        if first != number:
            path = folder / run_dir.RESULTS
            raise TtftError(
                f"{path}:{number} repeats prompt {result.prompt_id!r} of line {first}", "remove one of them"
            )


def _config(path: Path) -> dict:
    import yaml

    if not path.exists():
        raise MissingArtifact(f"no {path}: the run's configuration is gone", "a report needs to know what was run")
    try:
        value = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TtftError(f"{path} is not YAML: {error}", "the file was changed by hand or damaged") from None
    if not isinstance(value, dict):
        raise TtftError(f"{path}: the root must be a mapping (key: value)", "the file was changed by hand or damaged")
    return {str(key): item for key, item in value.items()}


def _provenance(folder: Path) -> dict:
    path = folder / run_dir.PROVENANCE
    if not path.exists():
        return {"starts": []}
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise TtftError(f"{path} is not JSON: {error}", "remove the file to report without it") from None
    if not isinstance(value, dict) or not isinstance(value.get("starts"), list):
        raise TtftError(f'{path} is not {{"starts": [...]}}', "remove the file to report without it")
    return value
