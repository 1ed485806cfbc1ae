"""Runs commands on spoilt input, each in a forked child, and says what was not as it must be.

    python fuzz_driver.py FOLDER SEED FIRST LAST

FOLDER holds what tests/test_fuzz.py made: an index, a run, a policy, prompts, a corpus, a configuration. Cases FIRST to
LAST - 1 are run: each spoils a copy of something (fuzz_cases.py) and runs one command on it in a child. It must end
with exit code 0 or 2 and without a traceback, within 60 s of processor time and 1 GiB more memory than the parent. A
message that refuses must name the file; what is accepted is read a second time, by an independent reader
(fuzz_oracle.py) in another child. A line of JSON is printed for each case that broke a rule, and one in the end.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import fuzz_oracle as oracle
import typer.main
import yaml
from fuzz_cases import KINDS, Case
from small import ttft

CPU_SECONDS, WAITING, MEMORY = 60, 180, 1 << 30
ADDRESSES = 32 << 30
"""Bytes that a child may ask for, so that a fault cannot take the machine's memory."""


def run(home: Path, clean: oracle.Clean, seed: int, number: int) -> dict[str, Any]:
    """What was wrong with case `number`, and what came of it."""
    rng, name = random.Random(f"{seed}-{number}"), list(KINDS)[number % len(KINDS)]
    with tempfile.TemporaryDirectory(dir=home / "work") as folder:
        case, ended = Case(home, Path(folder), rng, clean), Path(folder, "ended.json")
        command, before = KINDS[name](case), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        process = os.fork()
        if process == 0:
            _child(case, command, ended)
            os._exit(0)
        _, status, used = os.wait4(process, 0)
        died = {"code": os.waitstatus_to_exitcode(status), "judged": ""} | _used(used)
        end = json.loads(ended.read_bytes()) if ended.exists() else died
        said = "".join(p.read_text(errors="replace") for p in (case.out, case.message) if p.exists())
    rules = {
        f"exit code {end['code']}": end["code"] in (0, 2),
        "a traceback": "Traceback" not in said,
        f"none of {case.names} named": end["code"] != 2 or any(part in said for part in case.names),
        "too long": end["seconds"] <= CPU_SECONDS,
        "too much memory": end["memory"] - before * 1024 <= MEMORY,
        f"accepted, but {end['judged'][-1000:]}": not end["judged"],
        "the judge did not end": status == 0 or end is died,
    }
    wrong = [rule for rule, held in rules.items() if not held]
    asked = list(map(str, command))
    return {"case": number, "kind": name, "code": end["code"], "wrong": wrong, "command": asked, "said": said[-900:]}


def _child(case: Case, command: list[object], ended: Path) -> None:
    """Runs a command, and if it accepts its input the judge; writes down how both ended."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    signal.alarm(WAITING)  # a child that waits for something uses no processor time
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, case.out), (2, case.message)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    try:
        code = ttft(*command)
    except BaseException:  # noqa: BLE001 - a bug is what is looked for
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    end = {"code": code, "judged": ""} | _used(resource.getrusage(resource.RUSAGE_SELF))
    try:
        if code == 0:
            end["judged"] = case.judge(case.out.read_text(errors="replace"), case.message.read_text(errors="replace"))
    except BaseException:  # noqa: BLE001 - what the independent reader refuses
        end["judged"] = traceback.format_exc()
    ended.write_text(json.dumps(end))


def _used(used: resource.struct_rusage) -> dict[str, float]:
    return {"seconds": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss * 1024}


def clean_commands(home: Path) -> oracle.Clean:
    """Runs every command on clean input, which also imports and builds once what all children need."""
    work = Path(tempfile.mkdtemp(dir=home / "work"))

    def said(*command: object) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as message:
            code = ttft(*command)
        assert code == 0, (command, message.getvalue())
        return out.getvalue()

    index, made = home / "index", ["--embedder", home / "encoder", "--dtype", "float32"]
    for form in ("corpus.jsonl.gz", "corpus.jsonl.zst", "corpus.parquet"):
        said("index", home / form, "--out", work / form, *made)
    said("select", index, *oracle.SELECT, "--policy", home / "policy.json")
    said("index", "info", index)
    said("index", "verify", index)
    said("index", "merge", index, "--out", work / "merged")
    said("report", home / "run", "--out", work / "page.html")
    said("report", home / "run", "--verify")
    said("calibrate", home / "run", "--out", work / "policy.json", "--folds", 2)
    picks = json.loads(said("select", index, *oracle.SELECT))
    of_prompts = said("select", index, "--prompts", home / "prompts.jsonl", "-n", 1, "-k", 5)
    texts = [json.loads(line)["text"] for line in (home / "prompts.jsonl").read_text().splitlines()]
    options = yaml.safe_load(said("finetune-eval", "i", "--out", "o", "--prompt", "x", "--dry-run"))
    import ttft.cli.app as commands
    from ttft.embedding import load_embedder

    commands.app = typer.main.get_command(commands.app)  # which is made again for every command otherwise
    query = load_embedder(str(home / "encoder")).encode([oracle.PROMPT])[0]
    by_text = dict(zip(texts, map(json.loads, of_prompts.splitlines()), strict=True))
    return oracle.Clean(home, picks, by_text, options, query)


def main() -> None:
    home, seed, first, last = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    (home / "work").mkdir(exist_ok=True)
    os.chdir(home)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})  # one thread: no pool of threads to be lost in a fork
    import torch

    torch.set_num_threads(1)
    clean = clean_commands(home)
    gc.collect()
    gc.freeze()  # the children do not copy what is never freed
    faults, seconds, kinds = 0, time.monotonic(), collections.Counter()
    for number in range(first, last):
        done = run(home, clean, seed, number)
        kinds[f"{done['kind']} {done['code']}"] += 1
        if done["wrong"]:
            faults += 1
            print(json.dumps(done), flush=True)
    each = (time.monotonic() - seconds) / max(1, last - first)
    print(json.dumps({"cases": last - first, "faults": faults, "seconds": round(each, 4), "kinds": kinds}))


if __name__ == "__main__":
    main()
