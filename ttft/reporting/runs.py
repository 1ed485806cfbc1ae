"""Reads and checks one run folder of `ttft finetune-eval`: its records, configuration and provenance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ttft import run_dir, state
from ttft.errors import MissingArtifact, TtftError
from ttft.records import Result, Selection

NAMES = {"sift": "SIFT", "itl": "ITL", "mmr": "MMR"}
PLACES = {"out", "job"}  # configuration keys that identify the folder or the part of a run, and do not affect results
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Run:
    """A run read from its folder, or from the folders of its jobs.

    results, selections  in the order of the files
    warnings             about jobs that are missing or not finished
    """

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
        """Results by what identifies a prompt across runs: id, text and scored bytes."""
        return {(r.prompt_id, r.text_sha256, r.bytes): r for r in self.results}


def read_run(folder: Path) -> Run:
    """Read one run folder.

    Raises MissingArtifact if there is no such folder or it has no results, TtftError naming file and line for a damaged
    result. An incomplete last line is ignored.
    """
    if not (folder / run_dir.RESULTS).exists():
        raise _not_a_run(folder)
    results = tuple(state.read_records(folder / run_dir.RESULTS, Result))
    if not results:
        raise MissingArtifact(f"{folder} has no results yet", f"resume it: ttft finetune-eval --out {folder} ...")
    for number, result in enumerate(results, 1):
        _check(result, f"{folder / run_dir.RESULTS}:{number}")
    config = read_config(folder)
    _check_unique(results, folder)
    selections = tuple(state.read_records(folder / run_dir.SELECTIONS, Selection))
    return Run(folder, plain_label(config, folder), config, results, selections, _provenance(folder))


def read_config(folder: Path) -> dict:
    """The configuration of the run in a folder.

    Raises MissingArtifact if there is none, TtftError for a file that is not a YAML mapping.
    """
    import yaml

    path = folder / run_dir.CONFIG
    if not path.exists():
        raise MissingArtifact(
            f"{path} is missing, so the configuration of the run is unknown", "restore the file from a backup"
        )
    try:
        value = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TtftError(f"{path} is not valid YAML: {error}", "the file was edited by hand or is damaged") from None
    if not isinstance(value, dict):
        raise TtftError(f"{path}: the root must be a mapping (key: value)", "the file was edited by hand or is damaged")
    return {str(key): item for key, item in value.items()}


# ---- labels --------------------------------------------------------------------------------------------------------


def plain_label(config: dict, folder: Path) -> str:
    """A readable name of the strategy, with its stopping rule and method, such as "adaptive SIFT" or "in-context SIFT";
    the folder's name if there is no strategy."""
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
    """Whether a run placed its texts before the prompt instead of training on them."""
    return config.get("method") == "in-context"


# ---- reading -------------------------------------------------------------------------------------------------------


def _not_a_run(folder: Path) -> MissingArtifact:
    make = f"create it: ttft finetune-eval --out {folder} ..."
    if not folder.exists():
        beside = _runs_in(folder.parent)
        return MissingArtifact(f"no such run folder: {folder}", f"runs next to it: {beside}" if beside else make)
    inside = _runs_in(folder)
    message = f"{folder} is not a run (no {run_dir.RESULTS} there)"
    return MissingArtifact(message, f"runs inside it: {inside}" if inside else make)


def _runs_in(folder: Path) -> str:
    found = sorted(str(p.parent) for p in folder.glob(f"*/{run_dir.RESULTS}")) if folder.is_dir() else []
    return " ".join(found[:6])


def _check(result: Result, where: str) -> None:
    """Check what the report relies on: a base score first, as many nats as steps, at least one byte, a known `kept`."""
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
        raise TtftError(f"{where} is damaged: {'; '.join(found)}", "delete the line and run finetune-eval again")


def _check_unique(results: tuple[Result, ...], folder: Path) -> None:
    seen: dict[str, int] = {}
    for number, result in enumerate(results, 1):
        first = seen.setdefault(result.prompt_id, number)
        if first != number:
            path = folder / run_dir.RESULTS
            raise TtftError(
                f"{path}:{number} repeats prompt {result.prompt_id!r} of line {first}", "delete one of the two lines"
            )


def _provenance(folder: Path) -> dict:
    path = folder / run_dir.PROVENANCE
    if not path.exists():
        return {"starts": []}
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise TtftError(f"{path} is not JSON: {error}", "delete the file to report without it") from None
    if not isinstance(value, dict) or not isinstance(value.get("starts"), list):
        raise TtftError(f'{path}: expected {{"starts": [...]}}', "delete the file to report without it")
    return value
