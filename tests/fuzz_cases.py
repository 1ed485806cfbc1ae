"""The cases of the fuzzer: what is spoilt, the command that meets it, and how its output is judged.

A case copies what it spoils out of the folder that tests/test_fuzz.py made. `names` are words of which the message must
hold one if the input is refused; `judge` is called with the standard output and the message of a command that accepted
it, and returns what differs from an independent reader (fuzz_oracle.py).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import fuzz_oracle as oracle
import fuzz_readers as readers
import yaml
from fuzz_oracle import Clean
from fuzz_spoil import checked, replaced, sealed, spoil, spoil_json, spoil_line

FORMS = ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst", "corpus.parquet")


# ---- the cases -----------------------------------------------------------------------------------------------------


def nothing(out: str, message: str) -> str:
    return ""


class Case:
    """One command on a spoilt copy; the methods whose names are in KINDS return the command."""

    def __init__(self, home: Path, work: Path, rng: random.Random, clean: Clean) -> None:
        self.home, self.work, self.rng, self.clean = home, work, rng, clean
        self.out, self.message = work / "out.txt", work / "message.txt"
        self.names: tuple[str, ...] = ()
        self.judge: Callable[[str, str], str] = nothing

    def copy(self, name: str) -> Path:
        place = self.work / name
        if (self.home / name).is_dir():
            shutil.copytree(self.home / name, place)
        else:
            shutil.copyfile(self.home / name, place)
        return place

    def spoil(self, path: Path, how: Callable[[bytes, random.Random], bytes] = spoil) -> None:
        path.write_bytes(how(path.read_bytes(), self.rng))

    # ---- texts -----------------------------------------------------------------------------------------------------

    def corpus(self) -> list[object]:
        path = self.copy(self.rng.choice(FORMS))
        if path.name == "corpus.jsonl.gz" and self.rng.random() < 0.5:  # what is in it, rather than its bytes
            path.write_bytes(gzip.compress(spoil(gzip.decompress(path.read_bytes()), self.rng)))
        else:
            self.spoil(path)
        self.names, out = (path.name,), self.work / "made"
        self.judge = lambda said, message: oracle.corpus(path, out, 6, message)
        given = ["--embedder", self.home / "encoder", "--dtype", "float32", "--max-documents", 6]
        return ["index", path, "--out", out, *given]

    def prompts(self) -> list[object]:
        path = self.copy("prompts.jsonl")
        self.spoil(path)
        self.names = (path.name,)
        self.judge = lambda said, message: oracle.prompts(path, said, self.clean)
        return ["select", self.home / "index", "--prompts", path, "-n", 1, "-k", 5, "--max-prompts", 2]

    # ---- options ---------------------------------------------------------------------------------------------------

    def yaml(self) -> list[object]:
        path = self.copy("config.yaml")
        self.spoil(path)
        self.names = (path.name,)
        self.judge = lambda said, message: oracle.options(readers.yaml_file(path), said, self.clean)
        return ["finetune-eval", "--config", path, "--dry-run"]

    def sets(self) -> list[object]:
        key = self.rng.choice(("n", "k", "seed", "lr", "score_at", "lambda", "subsets", "reuse", "model", "x", ""))
        value = spoil(str(self.rng.choice((5, "1e-3", "[1, 2]", "auto", "{a: 1}"))).encode(), self.rng)
        text = f"{key}={value.decode('utf-8', 'replace')}".replace("\0", "")
        self.names = ("--set",)
        self.judge = lambda said, message: oracle.options(readers.given(text), said, self.clean)
        return ["finetune-eval", "i", "--out", "o", "--prompt", "x", "--set", text, "--dry-run"]

    def policy(self) -> list[object]:
        path = self.copy("policy.json")
        if self.rng.random() < 0.7:
            path.write_text(json.dumps(sealed(spoil_json(json.loads(path.read_bytes()), self.rng))))
        else:
            self.spoil(path)
        self.names = (path.name,)
        self.judge = lambda said, message: oracle.policy(path, said, self.clean)
        return ["select", self.home / "index", *oracle.SELECT, "--policy", path]

    # ---- an index --------------------------------------------------------------------------------------------------

    def on_index(self, index: Path) -> list[object]:
        """One of the commands that read an index, with its judge."""
        merged = self.work / "merged"
        commands: list[tuple[list[object], Callable[[str, str], str]]] = [
            (["select", index, *oracle.SELECT], lambda said, message: oracle.picks(index, said, self.clean)),
            (["index", "info", index], lambda said, message: oracle.facts(index, said)),
            (["index", "verify", index], lambda said, message: oracle.intact(index, self.clean)),
            (["index", "merge", index, "--out", merged], lambda said, message: oracle.same_texts(index, merged)),
        ]
        command, self.judge = self.rng.choice(commands)
        return command

    def manifest(self) -> list[object]:
        index = self.copy("index")
        path = index / "manifest.json"
        self.spoil(path)
        self.names = ("manifest.json",)
        return self.on_index(index)

    def resealed(self) -> list[object]:
        index = self.copy("index")
        path = index / "manifest.json"
        path.write_text(json.dumps(sealed(spoil_json(json.loads(path.read_bytes()), self.rng))))
        self.names = (str(index),)  # the manifest, or a file that is not what the manifest says
        return self.on_index(index)

    def index_file(self) -> list[object]:
        index = self.copy("index")
        path = self.rng.choice([p for p in sorted(index.rglob("*")) if p.is_file() and p.name != ".lock"])
        if path.name == ".checked.json":
            return self._passed(index, path)
        if self.rng.random() < 0.5:
            replaced(path, self.rng)
        else:
            self.spoil(path)
        self.names = (path.name,)
        return self.on_index(index)

    def _passed(self, index: Path, path: Path) -> list[object]:
        """The list of the files that have passed their checks, which holds inodes and times of the copies."""
        known = json.loads(path.read_bytes())
        for name, state in known.items():
            status = (index / name).stat()
            known[name] = [status.st_ino, status.st_size, status.st_ctime_ns, state[3]]
        path.write_text(json.dumps(spoil_json(known, self.rng)))
        self.names = ("never refused",)
        return self.on_index(index)

    def crafted(self) -> list[object]:
        """A spoilt file whose hash in the manifest is right."""
        index = self.copy("index")
        path = index / "manifest.json"
        manifest = json.loads(path.read_bytes())
        shard = self.rng.choice(manifest["shards"])
        name = self.rng.choice(("documents.arrow", "vectors.npy", "index.faiss"))
        file = index / shard["name"] / name
        data = file.read_bytes()
        data = data[: self.rng.randrange(len(data))] if self.rng.random() < 0.2 else spoil(data, self.rng)
        file.write_bytes(data)
        facts = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for entry in (shard["files"].get(name), *manifest["search"]["segments"]):
            if entry is not None and entry.get("file", f"{shard['name']}/{name}") == f"{shard['name']}/{name}":
                entry |= facts
        path.write_text(json.dumps(sealed(manifest)))
        self.names = (f"{shard['name']}/{name}",)
        return self.on_index(index)

    # ---- a run, and state files in general -------------------------------------------------------------------------

    def on_run(self, run: Path) -> list[object]:
        page, made = self.work / "page.html", self.work / "made.json"
        commands: list[tuple[list[object], Callable[[str, str], str]]] = [
            (["report", run, "--out", page], lambda said, message: oracle.report(run, said)),
            (["report", run, "--verify"], lambda said, message: oracle.intact_run(run)),
            (
                ["calibrate", run, "--out", made, "--folds", 2],
                lambda said, message: oracle.calibrated(run, made, self.clean),
            ),
        ]
        command, self.judge = self.rng.choices(commands, (4, 4, 1))[0]  # calibrating takes long
        return command

    def run_file(self) -> list[object]:
        run = self.copy("run")
        path = self.rng.choice([p for p in sorted(run.rglob("*")) if p.is_file() and p.name != ".lock"])
        if self.rng.random() < 0.3:
            replaced(path, self.rng)
        else:
            self.spoil(path, self.rng.choice((spoil, spoil_line)))
        self.names = (path.name, f"ttft: {run}: ", f"ttft: {run} ")  # the run where its files are valid but of no use
        return self.on_run(run)

    def run_resealed(self) -> list[object]:
        run = self.copy("run")
        path = run / self.rng.choice(("results.jsonl", "selections.jsonl", "config.yaml", "provenance.json"))
        if path.suffix == ".jsonl":
            records = [json.loads(line) for line in path.read_bytes().splitlines()]
            records = [{key: part for key, part in record.items() if key != "check"} for record in records]
            at = self.rng.randrange(len(records))
            records[at] = spoil_json(records[at], self.rng)
            path.write_bytes(b"".join(map(checked, records)))
        elif path.suffix == ".yaml":
            value = sealed(spoil_json(yaml.safe_load(path.read_bytes()), self.rng))
            path.write_text(json.dumps(value))  # which is YAML as well
        else:
            path.write_text(json.dumps(sealed(spoil_json(json.loads(path.read_bytes()), self.rng))))
        self.names = (path.name, f"ttft: {run}: ", f"ttft: {run} ")
        return self.on_run(run)

    def index_state(self) -> list[object]:
        """provenance.json, and the list of problems with its hash in the manifest."""
        index = self.copy("index")
        path, manifest = index / "provenance.json", index / "manifest.json"
        if self.rng.random() < 0.5:
            path.write_text(json.dumps(sealed(spoil_json(json.loads(path.read_bytes()), self.rng))))
        else:
            path, value = index / "problems-00.jsonl", json.loads(manifest.read_bytes())
            path.write_bytes(spoil(b'{"kind": "empty text", "place": "c.jsonl:1", "detail": ""}\n', self.rng))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            value["sources"][0]["problems_file"] |= {"bytes": path.stat().st_size, "sha256": digest}
            manifest.write_text(json.dumps(sealed(value)))
        self.names = (path.name,)
        return self.on_index(index)


KINDS: dict[str, Callable[[Case], list[object]]] = {
    name: getattr(Case, name)
    for name in (
        "corpus", "prompts", "yaml", "sets", "manifest", "resealed", "index_file", "crafted", "run_file",
        "run_resealed", "index_state", "policy",
    )
}  # fmt: skip
