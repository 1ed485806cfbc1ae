"""The judges of the fuzzer: what a command that accepted spoilt data must have made of it.

They compare its output with what independent readers (fuzz_readers.py) find in the same files. Each returns what
differs, "" if nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fuzz_readers import is_sealed, records, run_config, shards, texts, whole_texts

PROMPT, K = "river stone cloud", 5
SELECT = ("--prompt", PROMPT, "-n", 2, "-k", K, "--device", "cpu", "--dtype", "float32")
NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class Clean:
    """What the commands make of the folder before anything in it is spoilt.

    picks    the record of `ttft select` for PROMPT; by_text: for a prompt of prompts.jsonl, with one pick
    options  the resolved options of finetune-eval without any that are not required
    query    the vector (d,) of PROMPT
    """

    home: Path
    picks: dict
    by_text: dict[str, dict]
    options: dict
    query: np.ndarray


# ---- texts ---------------------------------------------------------------------------------------------------------


def corpus(path: Path, index: Path, most: int, message: str) -> str:
    """The texts of an index must be the first of those in the file; fewer only if the file cannot be read further."""
    readable, damaged = texts(path)
    wanted, made = [text for _, text in readable][:most], whole_texts(index)
    if made == wanted:
        return ""
    if damaged and made == wanted[: len(made)] and "unreadable file" in message:
        return ""
    return f"{len(made)} texts in the index, not the {len(wanted)} of {path.name} (damaged: {damaged})"


def prompts(path: Path, said: str, clean: Clean) -> str:
    wanted, made = texts(path)[0][:2], [json.loads(line) for line in said.split("\n")[:-1]]
    if [record["prompt_id"] for record in made] != [name for name, _ in wanted]:
        return f"prompts {[record['prompt_id'] for record in made]}, not {[name for name, _ in wanted]}"
    for record, (name, text) in zip(made, wanted, strict=True):
        if text in clean.by_text and _numbers(record) != _numbers(clean.by_text[text]):
            return f"other picks for {name}"
    return ""


def _numbers(record: dict) -> dict:
    return {key: record[key] for key in ("ids", "scores", "cosines", "sigma", "stopped_because", "pool", "texts")}


# ---- options and policies ------------------------------------------------------------------------------------------


def options(nodes: dict[str, Any], said: str, clean: Clean) -> str:
    """Every option has the value that was given for it, read by its type; the others have their defaults."""
    made = yaml.safe_load(said)
    nodes = {"lambda_" if key == "lambda" else key: node for key, node in nodes.items()}
    of_command_line = {"index", "out", "prompt"}
    for key, value in made.items():
        if key in nodes:
            if not _reads_as(nodes[key], value):
                return f"{key} is {value!r}, not what was given"
        elif value != clean.options[key] and not (key in of_command_line and value in ("i", "o", "x", None)):
            return f"{key} is {value!r}, not the default {clean.options[key]!r}"
    return "" if nodes.keys() <= made.keys() else f"{nodes.keys() - made.keys()} were given, but are not there"


def _reads_as(node: Any, value: Any) -> bool:
    if node is None:
        return value is None
    if isinstance(node, yaml.SequenceNode):
        return isinstance(value, list) and len(value) == len(node.value) and all(map(_reads_as, node.value, value))
    if isinstance(node, yaml.MappingNode):
        return isinstance(value, dict) and all(_reads_as(v, value.get(k.value)) for k, v in node.value)
    text, plain = node.value, node.style is None
    if isinstance(value, str):
        return value == text
    if value is None or isinstance(value, bool):
        return plain and (text in NULLS if value is None else text.lower() == str(value).lower())
    return plain and re.fullmatch(r"[-+.0-9eE]+", text) is not None and type(value)(text) == value


def policy(path: Path, said: str, clean: Clean) -> str:
    """The picks that the policy keeps, computed from its JSON."""
    value, made = json.loads(path.read_bytes()), json.loads(said)
    lambda_ = value["facts"]["lambda_"]
    if lambda_ != "auto" and made["parameters"]["lambda_"] != lambda_:
        return f"lambda is {made['parameters']['lambda_']}, not {lambda_}"
    if lambda_ != clean.picks["parameters"]["lambda_"]:
        return ""
    sigma = np.array(clean.picks["sigma"]) / clean.picks["sigma"][0]
    known = {"n": np.arange(1.0, len(sigma)), "sigma": sigma[1:], "slope": sigma[:-1] - sigma[1:]}
    gains = np.full(len(sigma) - 1, float(value["intercept"]))
    for name, curve in value["curves"].items():
        gains += np.interp(known[name], np.array(curve["x"], float), np.array(curve["y"], float))
    keep = int(np.argmax([0.0, *np.cumsum(gains - value["min_gain"])]))
    return "" if made["ids"] == clean.picks["ids"][:keep] else f"picks {made['ids']}, but the policy keeps {keep}"


# ---- indexes -------------------------------------------------------------------------------------------------------


def picks(folder: Path, said: str, clean: Clean) -> str:
    """The picks are of the nearest rows, with the texts and cosines that the files hold; on equal files, the same."""
    made, here, there = json.loads(said), shards(folder), shards(clean.home / "index")
    ids = made["ids"]
    if not all(0 <= i < len(here.vectors) for i in ids):
        return f"picks {ids} of {len(here.vectors)} rows"
    rows = [here.rows[i] for i in ids]
    if [(row.get("text"), row.get("source")) for row in rows] != list(zip(made["texts"], made["sources"], strict=True)):
        return "other texts or sources than documents.arrow holds"
    if not _same_query(here.manifest, there.manifest):
        return ""
    if not np.all(np.abs(here.vectors[ids] @ clean.query - made["cosines"]) < 1e-5):
        return "other cosines than vectors.npy gives"
    scores = np.nan_to_num(here.codes @ clean.query)
    if not all(scores[i] >= np.sort(scores)[-K] - 1e-5 for i in ids):
        return "picks that are not among the nearest"
    same = np.array_equal(here.vectors, there.vectors) and np.array_equal(here.codes, there.codes)
    known = ("ids", "scores", "cosines", "sigma", "stopped_because", "pool", "parameters")
    return f"other picks: {made}" if same and any(made[key] != clean.picks[key] for key in known) else ""


def _same_query(here: dict, there: dict) -> bool:
    """Whether the manifest has the prompt embedded as before: these facts of it are instructions."""
    pooling = here["embedder"]["pooling"] == there["embedder"]["pooling"]
    whole = here["embedder"]["max_tokens"] >= len(PROMPT.split())
    return pooling and whole and here["sources"][0]["corpus"]["piece_chars"] >= len(PROMPT)


def facts(folder: Path, said: str) -> str:
    made, manifest = json.loads(said), json.loads((folder / "manifest.json").read_bytes())
    wanted = {
        "complete": manifest["complete"], "part": manifest["part"], "pieces": manifest["rows"],
        "shards": len(manifest["shards"]), "kind": manifest["search"]["kind"], "dedup": manifest["dedup"],
        "embedder": manifest["embedder"]["name"], "dimension": manifest["embedder"]["dimension"],
        "precision": manifest["precision"],
        "sources": [
            {"source": s["corpus"]["source"]} | {key: s[key] for key in ("read", "rows", "duplicates", "problems")}
            for s in manifest["sources"]
        ],
    }  # fmt: skip
    return next((f"{key} is {made[key]!r}, not {value!r}" for key, value in wanted.items() if made[key] != value), "")


def intact(folder: Path, clean: Clean) -> str:
    """Every file has its hash, every text its digest, every vector length 1."""
    here = shards(folder)
    listed = {f"{s['name']}/{name}": facts for s in here.manifest["shards"] for name, facts in s["files"].items()}
    listed |= {entry["file"]: entry for entry in here.manifest["search"]["segments"]}
    listed |= {s["problems_file"]["file"]: s["problems_file"] for s in here.manifest["sources"] if s["problems_file"]}
    for name, entry in listed.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != entry["sha256"]:
            return f"{name} has another hash"
    if not is_sealed(json.loads((folder / "provenance.json").read_bytes())):
        return "provenance.json has another hash"
    if not np.all(np.abs(np.linalg.norm(here.vectors, axis=1) - 1) < 6e-3):
        return "a vector is not of length 1"
    if {} in here.rows:
        return "documents that cannot be read"
    digests = [hashlib.blake2b(row["text"].encode(), digest_size=16).digest() for row in here.rows]
    return "" if digests == [row["digest"] for row in here.rows] else "a digest is not that of its text"


def same_texts(folder: Path, merged: Path) -> str:
    here, made = shards(folder), shards(merged)
    for shard in made.manifest["shards"]:
        for name, entry in shard["files"].items():
            if hashlib.sha256((merged / shard["name"] / name).read_bytes()).hexdigest() != entry["sha256"]:
                return f"{shard['name']}/{name} of the merged index has another hash"
    same = {} not in here.rows and here.rows == made.rows and np.array_equal(here.vectors, made.vectors)
    return "" if same and np.array_equal(made.codes, made.vectors) else "the merged index holds something else"


# ---- runs ----------------------------------------------------------------------------------------------------------


def report(run: Path, said: str) -> str:
    """The sums that the results hold."""
    results = [r for r in records(run / "results.jsonl") if r["nats"]]
    bits = math.log(2) * sum(r["bytes"] for r in results)
    base = sum(r["nats"][0] for r in results) / bits
    final = sum(r["nats"][0 if r["kept"] == "base" else -1] for r in results) / bits
    counts = re.search(r"prompts: ([\d,]+), bytes: ([\d,]+)", said)
    lines = said.splitlines()
    at = next(number for number, line in enumerate(lines) if re.match(r"\| base +\|", line))
    shown = [[cell.strip() for cell in line.split("|")][-8:-6] for line in lines[at : at + 2]]
    wanted = [[str(len(results)), f"{value:,.4f}"] for value in (base, final)]
    if shown != wanted or counts is None or counts[2] != f"{sum(r['bytes'] for r in results):,}":
        return f"the report says {shown}, {counts and counts[0]}; the results are {wanted}"
    return ""


def intact_run(run: Path) -> str:
    results, selections = records(run / "results.jsonl"), records(run / "selections.jsonl")
    if not is_sealed(json.loads((run / "provenance.json").read_bytes())):
        return "provenance.json has another hash"
    if not is_sealed(run_config(run)):
        return "config.yaml has another hash"
    selected = {selection["prompt_id"]: selection["ids"] for selection in selections}
    if len({r["prompt_id"] for r in results}) < len(results) or len(selected) < len(selections):
        return "a prompt is there twice"
    wrong = [r["prompt_id"] for r in results if selected.get(r["prompt_id"]) != r["ids"]]
    return f"{wrong} were trained on other texts" if wrong else ""


def calibrated(run: Path, made: Path, clean: Clean) -> str:
    """Of the same results the same policy; of others one on as many prompts as have a step."""
    here, there = records(run / "results.jsonl"), records(clean.home / "run" / "results.jsonl")
    value, wanted = json.loads(made.read_bytes()), json.loads((clean.home / "policy.json").read_bytes())
    if here == there and run_config(run) == run_config(clean.home / "run"):
        return "" if value == wanted else "another policy of the same run"
    steps = sum(len(r["steps"]) > 1 for r in here)
    return "" if value["facts"]["prompts"] == steps else f"{value['facts']['prompts']} prompts, not {steps}"
