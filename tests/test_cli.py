"""The command line: light, strict, and plain in what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from small import embedder_facts

from ttft import cli, run_dir
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.config.generate import GenerateConfig
from ttft.config.index import IndexConfig
from ttft.config.report import ReportConfig
from ttft.config.select import SelectConfig
from ttft.vector_index.manifest import Manifest, write_manifest

REPO = Path(__file__).parents[1]
HEAVY = (
    "torch", "transformers", "peft", "faiss", "datasets", "pyarrow", "sentence_transformers", "lm_eval", "ray",
    "pymilvus",
)  # fmt: skip

DRY_RUNS = {
    "index": (IndexConfig, ["index", "corpus.jsonl", "--out", "out"]),
    "select": (SelectConfig, ["select", "index", "--prompt", "text"]),
    "finetune-eval": (FinetuneEvalConfig, ["finetune-eval", "index", "--prompts", "p.jsonl", "--out", "out"]),
    "generate": (GenerateConfig, ["generate", "index", "--prompt", "text"]),
    "report": (ReportConfig, ["report", "runs/a", "runs/b"]),
}
FINETUNE = DRY_RUNS["finetune-eval"][1]


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def plan(self) -> dict:
        assert self.code == 0, self.err
        return yaml.safe_load(self.out)


@pytest.fixture
def ttft(tmp_path: Path, monkeypatch, capsys):
    """ttft(*args) runs the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["ttft", *args])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return Done(int(stopped.value.code or 0), said.out, said.err)

    return run


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def python(*args: str, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, *args], text=True, env=environment, timeout=300, **options)


def assert_one_message(done: Done, *parts: str) -> None:
    """Exit code 2 and one message for people on standard error."""
    assert done.code == 2, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert [line.startswith("ttft: ") for line in done.err.splitlines()].count(True) == 1
    assert done.err.startswith("ttft: ")
    for part in parts:
        assert part in done.err


# ---- light ---------------------------------------------------------------------------------------------------------


def loaded(source: str) -> set[str]:
    """The heavy libraries, and numpy, that a new Python has loaded when it has run the source."""
    report = f"\nprint(*sorted({{*{HEAVY}, 'numpy'}} & set(sys.modules)), file=sys.stderr)"
    done = python("-c", f"import sys\n{source}{report}", capture_output=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_the_question_of_what_is_loaded_finds_what_is_loaded() -> None:
    assert loaded("import numpy") == {"numpy"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["finetune-eval", "--help"], ["report", "a", "--dry-run"]], ids=" ".join
)
def test_the_command_line_answers_without_heavy_libraries(arguments: list[str]) -> None:
    """What makes it quick; scripts/bench_startup.py has the times, which no test can judge on an unknown machine."""
    run = "import contextlib, ttft.cli\nwith contextlib.suppress(SystemExit):\n    ttft.cli.main()"
    assert loaded(f"sys.argv = {['ttft', *arguments]}\n{run}") == set()


def test_importing_ttft_loads_nothing_heavy() -> None:
    assert loaded("import ttft; ttft.__version__; dir(ttft)") == set()


def test_nothing_heavy_is_imported() -> None:
    places = [p for folder in ("config", "commands") for p in sorted((REPO / "ttft" / folder).glob("*.py"))]
    modules = ["ttft.cli", *(".".join(p.relative_to(REPO).with_suffix("").parts) for p in places)]
    assert loaded(f"import {', '.join(modules)}") <= {"numpy"}


def test_help_names_every_command(ttft) -> None:
    done = ttft("--help")
    assert done.code == 0
    for command in DRY_RUNS:
        assert command in done.out


@pytest.mark.parametrize("command", DRY_RUNS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_each_command_helps_with_examples(ttft, command: str, flag: str) -> None:
    done = ttft(command, flag)
    assert done.code == 0
    assert "Examples" in done.out and f"ttft {command} " in done.out


# ---- --dry-run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", DRY_RUNS)
def test_dry_run_prints_what_builds_the_same_again_and_writes_nothing(ttft, tmp_path: Path, command: str) -> None:
    kind, args = DRY_RUNS[command]
    done = ttft(*args, "--dry-run")
    assert files(tmp_path) == [] and done.err == ""
    assert done.plan == kind(**done.plan).resolved()
    (tmp_path / "again.yaml").write_text(done.out)
    assert ttft(command, "--config", "again.yaml", "--dry-run").plan == done.plan


@pytest.mark.parametrize("command", ["index", "finetune-eval", "report"])
def test_dry_run_names_the_files_that_would_be_written(ttft, command: str) -> None:
    out = ttft(*DRY_RUNS[command][1], "--dry-run").out
    assert [line for line in out.splitlines() if line.startswith("# would write ")]


def test_flag_over_set_over_file_over_default(ttft, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("n: 1\nk: 1\nlambda_: 1\nseed: 1\n")
    file = ["--config", "c.yaml"]
    sets = ["--set", "n=2", "-s", "k=2", "--set", "seed=2"]
    flags = ["-n", "3", "--seed", "0"]
    shown = [ttft(*FINETUNE, *more, "--dry-run").plan for more in ([], file, file + sets, file + sets + flags)]
    assert [s["n"] for s in shown] == [20, 1, 2, 3]
    assert [s["k"] for s in shown] == [200, 1, 2, 2]
    assert [s["lambda_"] for s in shown] == [None, 1, 1, 1]
    assert [s["seed"] for s in shown] == [0, 1, 2, 0]


def test_required_arguments_may_stand_in_the_file(ttft, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("index: there\nout: from-file\nlr: 5e-5\n")
    plan = ttft("finetune-eval", "-c", "c.yaml", "--dry-run").plan
    assert (plan["index"], plan["out"], plan["lr"]) == ("there", "from-file", 5e-5)


def test_repeated_and_paired_flags(ttft) -> None:
    assert ttft("index", "c.jsonl", "-o", "o", "--dry-run").plan["strict"] is False
    plan = ttft("index", "c.jsonl", "-o", "o", "--strict", "--subset", "a", "--subset", "b", "--dry-run").plan
    assert (plan["strict"], plan["subsets"]) == (True, ["a", "b"])
    assert ttft("select", "i", "--no-texts", "--dry-run").plan["texts"] is False
    assert ttft("select", "i", "--lambda", "0.5", "--dry-run").plan["lambda_"] == 0.5


# ---- errors for people ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["select", "none", "--prompt", "x"], ["none is not an index", "ttft index SOURCE"]),
        (["finetune-eval", "none", "--prompt", "x", "-o", "out"], ["none is not an index", "ttft index SOURCE"]),
        (["index", "none.jsonl", "-o", "out"], ["none.jsonl", ".jsonl.zst"]),
        (["index", "none/", "-o", "out"], ["none/"]),
        (["report", "none"], ["none", "ttft finetune-eval"]),
    ],
    ids=lambda value: " ".join(value) if len(value) > 2 else "",
)
def test_what_is_not_there(ttft, tmp_path: Path, args: list[str], parts: list[str]) -> None:
    assert_one_message(ttft(*args), *parts)
    assert files(tmp_path) == []


@pytest.mark.parametrize("command", ["select", "finetune-eval"])
def test_prompts_that_are_not_there(ttft, tmp_path: Path, command: str) -> None:
    (tmp_path / "index").mkdir()
    write_manifest(tmp_path / "index", Manifest(embedder_facts(4), "float16", "count"))
    more = ["-o", "out"] if command == "finetune-eval" else []
    assert_one_message(ttft(command, "index", "--prompts", "none.jsonl", *more), "none.jsonl")
    assert files(tmp_path) == ["index", f"index/{run_dir.MANIFEST}"]


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["-n", "-1"], ["the command line: n: ", "greater than or equal to 0", "-1"]),
        (["--strategy", "foo"], ["the command line: strategy: ", "'sift'", "'nearest'", "'uniform'", "'foo'"]),
        (["--score", "foo"], ["the command line: score: ", "'whole'", "'suffix'", "'foo'"]),
        (["-n", "many"], ["the command line: n: ", "integer", "'many'"]),
        (["--lr", "fast"], ["the command line: lr: ", "number", "'fast'"]),
        (["--set", "n=many"], ["--set: n: ", "integer", "'many'"]),
        (["--job", "9/8"], ["the command line: job: ", "i from 1 to n", "such as 3/8", "'9/8'"]),
        (["--set", "score_at=[0, -1]"], ["--set: score_at: ", "greater than or equal to 0", "[0, -1]"]),
        (["--set", "split=1"], ["--set: split: ", "less than 1"]),
        (["--set", "lamda=1"], ["--set: ", '"lamda"', '"lambda_"']),
        (["--set", "zzz=1"], ["--set: ", '"zzz"', "lambda_"]),
        (["--set", "n"], ["--set n: ", "key=value"]),
        (["--set", "n=[1"], ["--set n=[1: "]),
        (["--strategy", "nearest", "--alpha", "0.3"], ["alpha", "nearest"]),
        (["--method", "full", "--vocabulary", "lora"], ["vocabulary", "full"]),
        (["--method", "full", "--save-adapters", "a"], ["save_adapters", "LoRA"]),
        (["--prompt", "text"], ["--prompt", "--prompts", "not both"]),
        (["--config", "none.yaml"], ["no such configuration file: none.yaml"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("-") else "",
)
def test_options_that_do_not_fit(ttft, tmp_path: Path, more: list[str], parts: list[str]) -> None:
    assert_one_message(ttft(*FINETUNE, *more), *parts)
    assert files(tmp_path) == []


@pytest.mark.parametrize("text", ["", " \n"])
@pytest.mark.parametrize("command", ["select", "finetune-eval"])
def test_an_empty_prompt(ttft, tmp_path: Path, command: str, text: str) -> None:
    more = ["-o", "out"] if command == "finetune-eval" else []
    assert_one_message(ttft(command, "index", "--prompt", text, *more), "the prompt is empty")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lamda: 1\n", ["bad.yaml: ", '"lamda"', '"lambda_"']),
        ("n: -1\n", ["bad.yaml: n: ", "greater than or equal to 0", "-1"]),
        ("- n\n", ["bad.yaml", "mapping", "list"]),
        ("n: [1\n", ["bad.yaml", "YAML"]),
    ],
    ids=["unknown key", "out of range", "list", "not YAML"],
)
def test_a_file_that_does_not_fit(ttft, tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    assert_one_message(ttft(*FINETUNE, "--config", "bad.yaml"), *parts)
    assert files(tmp_path) == ["bad.yaml"]


def test_a_folder_as_configuration_file(ttft, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert_one_message(ttft(*FINETUNE, "--config", "folder"), "folder")


@pytest.mark.parametrize(
    ("args", "key"),
    [
        (["index", "--out", "out"], "source"),
        (["index", "corpus.jsonl"], "out"),
        (["select"], "index"),
        (["finetune-eval", "index"], "out"),
        (["report"], "runs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_missing_argument_is_said_to_be_missing(ttft, args: list[str], key: str) -> None:
    done = ttft(*args)
    assert_one_message(done, f"{key} is missing")
    assert "{" not in done.err, "what else was given is no part of the fault"


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["select", "index", "--bogus"], "--bogus"),
        (["bogus"], "bogus"),
        (["select", "one", "two"], "two"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_usage_errors(ttft, args: list[str], part: str) -> None:
    done = ttft(*args)
    assert (done.code, done.out) == (2, "")
    assert part in done.err and "Usage: " in done.err and "Traceback" not in done.err


def test_a_real_process_does_the_same(tmp_path: Path) -> None:
    done = python("-m", "ttft", "select", "none", "--prompt", "x", cwd=tmp_path, capture_output=True)
    assert_one_message(Done(done.returncode, done.stdout, done.stderr), "none is not an index")
    assert files(tmp_path) == []


# ---- other ends ----------------------------------------------------------------------------------------------------


def test_an_interruption_is_said_and_ends_with_130(ttft, monkeypatch) -> None:
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("ttft.commands.report.run", interrupted)
    done = ttft("report", "a")
    assert done.code == 130
    assert "run the same command again" in done.err and "Traceback" not in done.err


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    source = """
import sys, ttft.cli, ttft.commands.report
ttft.commands.report.run = lambda *args, **kwargs: {}["bug"]
sys.argv = ["ttft", "report", "a"]
ttft.cli.main()
"""
    done = python("-c", source, capture_output=True)
    assert done.returncode == 1 and "Traceback" in done.stderr and "KeyError: 'bug'" in done.stderr


@pytest.mark.parametrize("args", ["report a --dry-run", "--help", "index --help", "select --help"])
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, args: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = python("-m", "ttft", *args.split(), stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def shell(command: str, folder: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1"}
    line = command.replace("ttft ", f"{sys.executable} -m ttft ")
    return subprocess.run(["bash", "-c", line], capture_output=True, env=environment, cwd=folder, timeout=300)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("ttft report a --dry-run > /dev/full", b"No space left"),
        ("ttft --help > /dev/full", b"No space left"),
        ("ttft index --help > /dev/full", b"No space left"),
        ("ttft report a --dry-run >&-", b"standard output is closed"),
        ("ttft select i --prompt $'caf\\xe9'", rb"argument 4 is not UTF-8: b'caf\xe9'"),
        ("ttft $'caf\\xe9'", rb"argument 1 is not UTF-8: b'caf\xe9'"),
        ("ttft report a 2>&-", b""),
        ("ttft report a 2>/dev/full", b""),
        ("ttft report a >&- 2>&- <&-", b""),
    ],
)
def test_output_that_cannot_be_written_and_arguments_that_cannot_be_read(tmp_path: Path, command, part) -> None:
    done = shell(command, tmp_path)
    assert done.returncode == 2 and done.stdout == b"", done
    assert part in done.stderr and b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    assert done.stderr.count(b"ttft: ") == (1 if part else 0)
    assert files(tmp_path) == []


def test_a_closed_standard_error_loses_messages_only(tmp_path: Path) -> None:
    done = shell("ttft report a --dry-run 2>&- <&-", tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(b"runs:")


def test_errors_of_the_system_name_the_file(ttft, monkeypatch) -> None:
    def fails(*args, **kwargs):
        os.stat("/proc/none/\x1b[31m")

    monkeypatch.setattr("ttft.commands.report.run", fails)
    assert_one_message(ttft("report", "a"), "/proc/none/\\u001b[31m: No such file or directory")


def test_too_much_to_ask_for(ttft, monkeypatch) -> None:
    def fails(*args, **kwargs):
        raise MemoryError("Unable to allocate 507. GiB")

    monkeypatch.setattr("ttft.commands.report.run", fails)
    assert_one_message(ttft("report", "a"), "not enough memory: Unable to allocate 507. GiB")


INTERRUPTED = """
import builtins, os, signal, sys
import ttft.cli
sys.argv = ["ttft", "report", "a"]
imported, wanted, times = builtins.__import__, {wanted!r}, {times}

def interrupting(name, *args, **kwargs):
    if name == wanted:
        for _ in range(times):
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                if times == 1:
                    raise
    return imported(name, *args, **kwargs)

builtins.__import__ = interrupting
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where interruptions are ignored
ttft.cli.main()
"""


@pytest.mark.parametrize("wanted", ["ttft.errors", "ttft.cli.app", "typer", "pydantic", "ttft.commands.report"])
@pytest.mark.parametrize("times", [1, 2])
def test_an_interruption_during_an_import(tmp_path: Path, wanted: str, times: int) -> None:
    """The first says so and ends in order, the second ends at once."""
    done = python("-c", INTERRUPTED.format(wanted=wanted, times=times), capture_output=True, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr == ("interrupted; all files written are valid: run the same command again to resume\n"
                           if times == 1 else "")  # fmt: skip


def test_an_interruption_where_python_drops_exceptions(tmp_path: Path) -> None:
    source = """
import os, signal, sys, ttft.cli, ttft.commands.report

class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

def run(*args, **kwargs):
    thing = Dropping()
    del thing
    print("went on")

ttft.commands.report.run = run
sys.argv = ["ttft", "report", "a"]
signal.signal(signal.SIGINT, signal.default_int_handler)
ttft.cli.main()
"""
    done = python("-c", source, capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("interrupted; ") and "Traceback" not in done.stderr


def test_where_the_shell_ignores_interruptions_so_does_the_command(tmp_path: Path) -> None:
    source = """
import os, signal, sys, ttft.cli
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.argv = ["ttft", "report", "a", "--dry-run"]
import ttft.commands.report
before = ttft.commands.report.run
ttft.commands.report.run = lambda *a, **k: (os.kill(os.getpid(), signal.SIGINT), before(*a, **k))
ttft.cli.main()
"""
    assert python("-c", source, capture_output=True, cwd=tmp_path).returncode == 0
