"""Reads and checks one run folder of `ttft finetune-eval`: its records, configuration and provenance."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ttft import run_dir
from ttft.errors import MissingArtifact, TtftError
from ttft.records import Result, Selection

NAMES = {"sift": "SIFT", "itl": "ITL", "mmr": "MMR"}
PLACES = {"out", "job"}  # configuration keys that identify the folder or the part of a run, and do not affect results
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Run:
    """A run read from its folder, or from the folders of its jobs.

    results, selections  in the order of the files; results only of prompts that were scored
    unscored             results of prompts that failed already under the base model, which no number can include
    warnings             about jobs that are missing or not finished
    """

    folder: Path
    label: str
    config: dict
    results: tuple[Result, ...]
    selections: tuple[Selection, ...]
    provenance: dict
    warnings: tuple[str, ...] = ()
    unscored: tuple[Result, ...] = ()

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

    Raises MissingArtifact if there is no such folder or it has no results, TtftError naming the file, and the line, for
    anything damaged. An incomplete last line is ignored, and so is missing provenance.
    """
    if not os.path.lexists(folder / run_dir.RESULTS):
        raise not_a_run(folder)
    results, selections = run_dir.read_run(folder)
    if not results:
        raise MissingArtifact(
            f"{folder / run_dir.RESULTS} has no results yet", f"resume it: ttft finetune-eval --out {folder} ..."
        )
    scored, unscored = (tuple(r for r in results if r.scored is wanted) for wanted in (True, False))
    if not scored:
        raise TtftError(
            f"{folder} has no finite score: all {len(unscored)} prompts failed ({unscored[0].failed})",
            "run it again with another model or --dtype float32, and a new --out",
        )
    config = run_dir.read_config(folder)
    there = os.path.lexists(folder / run_dir.PROVENANCE)
    provenance = {"starts": run_dir.read_provenance(folder) if there else []}
    label = plain_label(config, folder)
    return Run(folder, label, config, scored, tuple(selections), provenance, unscored=unscored)


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


def not_a_run(folder: Path) -> MissingArtifact:
    """The error for a folder without results: what is there instead."""
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
