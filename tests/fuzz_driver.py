"""Runs commands on spoilt input, each in a forked child, and says what was not as it must be.

    python fuzz_driver.py FOLDER SEED CASES

FOLDER holds what tests/test_fuzz.py made: an index, a run, a policy, prompts, a corpus, a configuration. Every case
copies what it spoils, runs one command in a child, and looks at how the child ended: exit code 0 or 2, no traceback, a
message that names the spoilt file where it was refused, at most 60 s of processor time and 1 GiB more memory than the
parent. A line of JSON is printed for each case that broke a rule, and one in the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

CPU_SECONDS, MEMORY = 60, 1 << 30
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "../x",
    "/etc/passwd", "a" * 5000, "\u202e\x1b[31m", "é", [], {}, [[]], {"a": 1}, [1, "2", None], "1", "true", "auto",
    "sift", "shard-00000", "0" * 64, "float16", "inner_product", "http://127.0.0.1:1", "milvus.db",
]  # fmt: skip
WORDS = [
    b"{", b"}", b"[", b"]", b'"', b"\\", b":", b",", b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"&a ", b"*a",
    b"!!python/object:os.system ", b"!!int ", b"2001-99-99", b"NaN", b"1e999", b"- ", b"? ", b"%YAML 9", b"\x1b[2J",
    b"null", b"true", b"\\ud800", b"9" * 400, b"[" * 200, b"{" * 200, b"../../x", b"\t", b"---\n", b"'",
]  # fmt: skip


def spoil(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, left out, put in or repeated."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(made) + 1)
        kind = rng.randrange(6)
        if kind == 0 and made:
            made[at % len(made)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            made[at : at + rng.choice((1, 4, 64, 4096))] = b""
        elif kind == 2:
            made[at:at] = rng.choice(WORDS)
        elif kind == 3:
            del made[at:]
        elif kind == 4:
            made[at:at] = made[at : at + rng.choice((1, 16, 256))]
        else:
            made[at : at + 8] = rng.randbytes(8)
    return bytes(made)


def spoil_json(value: Any, rng: random.Random) -> Any:
    """One value of a JSON document replaced, removed or added."""
    value = json.loads(json.dumps(value))
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            walk(node[key])

    walk(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        parent, key = rng.choice(places)
        kind = rng.randrange(5)
        if kind == 0 and isinstance(parent, dict):
            parent.pop(key, None)
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(("x", "../x", "é", "sha256", "files"))] = rng.choice(VALUES)
        elif kind == 2 and isinstance(parent, list) and parent:
            parent.append(parent[0])
        elif isinstance(parent, dict) or (isinstance(key, int) and key < len(parent)):
            parent[key] = rng.choice(VALUES)
    return value


def sealed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    rest = {key: part for key, part in value.items() if key != "sha256"}
    return rest | {"sha256": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def replaced(path: Path, rng: random.Random) -> None:
    """Something else than a file in its place."""
    path.unlink()
    kind = rng.randrange(5)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.symlink_to(rng.choice(("/etc/hostname", "nowhere", "/dev/zero", str(path))))
    elif kind == 3:
        path.write_bytes(rng.choice((b"", b"1", b'"x"', b"[]", b"{}", b"\0" * 100)))


# ---- what a case spoils, and the command that meets it -------------------------------------------------------------


class Case:
    """One command on a spoilt copy. `names`: words of which the message must hold one when the input is refused."""

    def __init__(self, home: Path, work: Path, rng: random.Random) -> None:
        self.home, self.work, self.rng, self.names = home, work, rng, ()  # type: ignore[var-annotated]

    def copy(self, name: str) -> Path:
        place = self.work / name
        if (self.home / name).is_dir():
            shutil.copytree(self.home / name, place)
        else:
            shutil.copyfile(self.home / name, place)
        return place

    def select(self, index: Path, *more: object) -> list[object]:
        return ["select", index, "--prompt", "river stone cloud", "-n", 2, "-k", 5, "--device", "cpu", *more]

    def on_index(self, index: Path) -> list[object]:
        return self.rng.choice((self.select(index), ["index", "info", index], ["index", "verify", index]))

    def corpus(self) -> list[object]:
        path = self.copy(self.rng.choice(("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst", "corpus.parquet")))
        path.write_bytes(spoil(path.read_bytes(), self.rng))
        self.names = (path.name,)
        out, encoder = self.work / "made", self.home / "encoder"
        return ["index", path, "--out", out, "--embedder", encoder, "--dtype", "float32", "--max-documents", 6]

    def prompts(self) -> list[object]:
        path = self.copy("prompts.jsonl")
        path.write_bytes(spoil(path.read_bytes(), self.rng))
        self.names = (path.name, "prompt")
        return ["select", self.home / "index", "--prompts", path, "-n", 1, "-k", 5, "--max-prompts", 2]

    def yaml(self) -> list[object]:
        path = self.copy("config.yaml")
        path.write_bytes(spoil(path.read_bytes(), self.rng))
        self.names = (path.name,)
        return ["finetune-eval", "--config", path, "--dry-run"]

    def sets(self) -> list[object]:
        key = self.rng.choice(("n", "k", "seed", "lr", "score_at", "lambda", "subsets", "reuse", "model", "x", ""))
        value = spoil(str(self.rng.choice((5, "1e-3", "[1, 2]", "auto", "{a: 1}"))).encode(), self.rng)
        text = f"{key}={value.decode('utf-8', 'replace')}".replace("\0", "")
        self.names = ("--set",)
        return ["finetune-eval", "i", "--out", "o", "--prompt", "x", "--set", text, "--dry-run"]

    def manifest(self) -> list[object]:
        index = self.copy("index")
        path = index / "manifest.json"
        path.write_bytes(spoil(path.read_bytes(), self.rng))
        self.names = ("manifest.json", str(index))
        return self.on_index(index)

    def resealed(self) -> list[object]:
        index = self.copy("index")
        path = index / "manifest.json"
        path.write_text(json.dumps(sealed(spoil_json(json.loads(path.read_bytes()), self.rng))))
        self.names = ("manifest.json", str(index))
        return self.on_index(index)

    def index_file(self) -> list[object]:
        index = self.copy("index")
        path = self.rng.choice([p for p in sorted(index.rglob("*")) if p.is_file() and p.name != ".lock"])
        if self.rng.random() < 0.5:
            replaced(path, self.rng)
        else:
            path.write_bytes(spoil(path.read_bytes(), self.rng))
        self.names = (path.name, str(index))
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
        data = data[: self.rng.randrange(len(data))] if self.rng.random() < 0.3 else spoil(data, self.rng)
        file.write_bytes(data)
        facts = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for entry in (shard["files"].get(name), *manifest["search"]["segments"]):
            if entry is not None and entry.get("file", f"{shard['name']}/{name}") == f"{shard['name']}/{name}":
                entry |= facts
        path.write_text(json.dumps(sealed(manifest)))
        self.names = (name, str(index))
        return self.on_index(index)

    def run_file(self) -> list[object]:
        run = self.copy("run")
        path = self.rng.choice([p for p in sorted(run.rglob("*")) if p.is_file() and p.name != ".lock"])
        if self.rng.random() < 0.3:
            replaced(path, self.rng)
        else:
            path.write_bytes(spoil(path.read_bytes(), self.rng))
        self.names = (path.name, str(run))
        return ["report", run, "--out", self.work / "page.html"]

    def policy(self) -> list[object]:
        path = self.copy("policy.json")
        if self.rng.random() < 0.5:
            path.write_text(json.dumps(sealed(spoil_json(json.loads(path.read_bytes()), self.rng))))
        else:
            path.write_bytes(spoil(path.read_bytes(), self.rng))
        self.names = (path.name,)
        return self.select(self.home / "index", "--policy", path)


KINDS: dict[str, Callable[[Case], list[object]]] = {
    name: getattr(Case, name)
    for name in (
        "corpus", "prompts", "yaml", "sets", "manifest", "resealed", "index_file", "crafted", "run_file", "policy",
    )
}  # fmt: skip


# ---- one case ------------------------------------------------------------------------------------------------------


def child(command: list[object], said: Path) -> int:
    """The exit code of a command, in this process: the forked one."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    sys.argv = ["ttft", *map(str, command)]
    from ttft.cli import main

    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:  # noqa: BLE001 - a bug is what is looked for
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def run(home: Path, seed: int, number: int) -> dict[str, Any]:
    """What was wrong with case `number`: {} if nothing."""
    rng = random.Random(f"{seed}-{number}")
    name = list(KINDS)[number % len(KINDS)]
    with tempfile.TemporaryDirectory(dir=home / "work") as folder:
        case = Case(home, Path(folder), rng)
        command = KINDS[name](case)
        said = Path(folder) / "said.txt"
        process = os.fork()
        if process == 0:
            os._exit(child(command, said))
        _, status, used = os.wait4(process, 0)
        words = said.read_text(errors="replace") if said.exists() else ""
    code = os.waitstatus_to_exitcode(status)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    wrong = []
    if code not in (0, 2):
        wrong.append(f"exit code {code}")
    if "Traceback" in words:
        wrong.append("a traceback")
    if code == 2 and not any(part in words for part in case.names):
        wrong.append(f"none of {case.names} named")
    if used.ru_utime + used.ru_stime > CPU_SECONDS:
        wrong.append("too long")
    if used.ru_maxrss * 1024 - before > MEMORY:
        wrong.append("too much memory")
    if not wrong:
        return {}
    return {"case": number, "kind": name, "wrong": wrong, "command": list(map(str, command)), "said": words[-600:]}


def main() -> None:
    home, seed, cases = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (home / "work").mkdir(exist_ok=True)
    os.chdir(home)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread: no pool of threads to be lost in a fork
    import datasets  # noqa: F401 - what takes long is loaded once, before the forks
    import faiss  # noqa: F401
    import torch
    import transformers  # noqa: F401

    import ttft.commands.index
    import ttft.commands.report
    import ttft.indexing.build
    import ttft.reporting.page
    import ttft.tuner.run
    import ttft.tuner.session
    import ttft.vector_index.verify  # noqa: F401

    torch.set_num_threads(1)
    faults = 0
    for number in range(cases):
        if wrong := run(home, seed, number):
            faults += 1
            print(json.dumps(wrong), flush=True)
    print(json.dumps({"cases": cases, "faults": faults}))


if __name__ == "__main__":
    main()
