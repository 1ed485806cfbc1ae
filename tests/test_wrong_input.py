"""Wrong input to every command: one message that names it, exit code 2, no traceback, and no waiting."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

LONGEST_WAIT = 60  # seconds for a command that should fail at once: only one that waits for ever takes longer
COMMANDS = (
    "index",
    "index merge",
    "index info",
    "index verify",
    "select",
    "finetune-eval",
    "generate",
    "calibrate",
    "report",
)


class Waits(BaseException):
    """The command waits."""


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Whoever waits for a FIFO is interrupted, by an exception that no command turns into a message."""

    def stop(*_) -> None:
        raise Waits

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_WAIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def place(tmp_path: Path, monkeypatch, index_folder: Path) -> Path:
    """The folder that commands run in: with an index, and with things that are no input."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index").symlink_to(index_folder)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "bytes.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    (tmp_path / "list.jsonl").write_text("[1, 2]\n")
    (tmp_path / "number.jsonl").write_text('{"text": 3}\n')
    (tmp_path / "bytes.yaml").write_bytes(b"seed: caf\xe9\n")
    (tmp_path / "ok.jsonl").write_text('{"text": "river stone"}\n')
    os.mkfifo(tmp_path / "fifo.jsonl")
    os.mkfifo(tmp_path / "fifo.yaml")
    for name, file in (("fifo-index", "manifest.json"), ("fifo-run", "results.jsonl")):
        (tmp_path / name).mkdir()
        os.mkfifo(tmp_path / name / file)
    return tmp_path


@pytest.fixture
def refused(place: Path, run_ttft, capsys):
    """refused(arguments, *parts): the command ends with 2 and one message that contains the parts."""

    def check(arguments: list[str], *parts: str) -> None:
        capsys.readouterr()
        assert run_ttft(*arguments) == 2, arguments
        said = capsys.readouterr()
        assert said.out == "" and "Traceback" not in said.err
        assert sum(line.startswith(("ttft: ", "│")) for line in said.err.splitlines()) >= 1
        for part in parts:
            assert part in said.err.replace("\n", " "), (arguments, said.err)

    return check


def given(command: str, *more: str) -> list[str]:
    """A command whose arguments would be right, followed by those that are not."""
    right = {
        "index": ["ok.jsonl", "--out", "out"],
        "index merge": ["index", "--out", "out"],
        "index info": ["index"],
        "index verify": ["index"],
        "select": ["index"],
        "finetune-eval": ["index", "--out", "out"],
        "generate": ["index"],
        "calibrate": ["run"],
        "report": ["run"],
    }[command]
    return [*command.split(), *right, *more]


@pytest.mark.parametrize("command", COMMANDS)
def test_configuration_files(refused, place: Path, command: str) -> None:
    for name, part in (
        ("none.yaml", "no such configuration file"),
        ("folder", "not an ordinary file"),
        ("fifo.yaml", "not an ordinary file"),
        ("bytes.yaml", "not YAML"),
        ("x" * 300, "no such configuration file"),
    ):
        refused(given(command, "--config", name), name, part)
    for text, part in (
        ("seed: 1\nseed: 2\n", "twice"),
        ("1: 2\n", "name of an option"),
        ("seed: 2001-99-99\n", "2001-99-99" if command not in NO_SEED else "unknown key"),
        ("seed: &a [*a]\n", "anchors"),
        ("- 1\n", "mapping"),
        ("bogus: 1\n", '"bogus"'),
    ):
        (place / "wrong.yaml").write_text(text)
        refused(given(command, "--config", "wrong.yaml"), "wrong.yaml", part)
    if os.geteuid() != 0:
        (place / "wrong.yaml").chmod(0)
        refused(given(command, "--config", "wrong.yaml"), "wrong.yaml", "Permission denied")


def test_a_missing_option_names_the_configuration_file(refused, place: Path) -> None:
    (place / "half.yaml").write_text("index: index\n")
    refused(["finetune-eval", "--config", "half.yaml"], "out is missing: set it on the command line", "in half.yaml")


NO_SEED = {"index info", "index verify", "report"}
NO_SEED_FLAG = {"index merge"}


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in NO_SEED])
def test_seeds(refused, command: str) -> None:
    for value in () if command in NO_SEED_FLAG else ("-1", str(2**63), "9" * 400, "9" * 5000, "many", "1e5", "0x10"):
        refused(given(command, "--seed", value), "the command line: seed: ", value[:60] if value != "1e5" else "100000")
    for value in ("true", "'1'", "1.0", "many", "[1]", "{a: 1}", ""):
        refused(given(command, "--set", f"seed={value}"), "--set: seed: Input should be a valid integer")
    refused(given(command, "--set", "sede=1"), 'unknown key "sede"', '"seed"')


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("-n", "1000000000"), ("-n", "-1"), ("-k", "1000000000"), ("-k", "0"), ("-k", "1.5"), ("-k", "nan"),
        ("--lambda", "0"), ("--lambda", "-1"), ("--lambda", "inf"), ("--lambda", "1e400"), ("--alpha", "nan"),
        ("--rank", "100000"), ("--rank", "0"), ("--lr", "-1"), ("--lr", "inf"), ("--lr", "1e+39"),
        ("--set", "slots=100000"), ("--set", "max_length=7"), ("--set", "lora_alpha=0"), ("--set", "warm_down=2"),
        ("--set", "reuse=0"), ("--set", "nprobe=0"), ("--set", "max_prompt_chars=0"), ("--set", "relevance=2"),
        ("--max-prompts", "0"), ("--strategy", "sitf"), ("--method", "lroa"), ("--stop", "nevre"), ("--dtype", "int8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["finetune-eval", "generate"])
def test_options_of_selection_and_training(refused, command: str, option: str, value: str) -> None:
    name, _, setting = value.partition("=")
    refused(given(command, option, value), f"{setting or name}", "Input should be")


@pytest.mark.parametrize(
    ("command", "more", "parts"),
    [
        ("index", ["--set", "batch_size=100000"], ["batch_size", "100000"]),
        ("index", ["--set", "max_line_bytes=1"], ["max_line_bytes", "1"]),
        ("index", ["--shard-rows", "0"], ["shard_rows", "0"]),
        ("index", ["--piece-chars", "3"], ["piece_chars", "3"]),
        ("index", ["--max-documents", "-3"], ["max_documents", "-3"]),
        ("index", ["--job", "0/3"], ["job", "0/3"]),
        ("index", ["--factory", "Falt"], ["Falt"]),
        ("index", ["--store", "chroma"], ["store", "chroma"]),
        ("index", ["--store", "milvus", "--uri", "x"], ["uri", "x"]),
        ("index", ["--dedup", "some"], ["dedup", "some"]),
        ("index", ["--workers", "0"], ["workers", "0"]),
        ("index info", ["--recall", "0"], ["recall", "0"]),
        ("index info", ["--sample", "1000000000"], ["sample", "1000000000"]),
        ("finetune-eval", ["--set", "split=1"], ["split", "1"]),
        ("finetune-eval", ["--budget-steps", "-1"], ["budget_steps", "-1"]),
        ("finetune-eval", ["--set", "score_at=[-1]"], ["score_at", "-1"]),
        ("finetune-eval", ["--set", "guard_margin=1"], ["guard_margin", "1"]),
        ("generate", ["--max-new-tokens", "10000000"], ["max_new_tokens", "10000000"]),
        ("generate", ["--do-sample", "--temperature", "0"], ["temperature", "0"]),
        ("generate", ["--do-sample", "--top-p", "2"], ["top_p", "2"]),
        ("generate", ["--do-sample", "--top-k", "-1"], ["top_k", "-1"]),
        ("calibrate", ["--folds", "1"], ["folds", "1"]),
        ("calibrate", ["--folds", "100000"], ["folds", "100000"]),
        ("calibrate", ["--keep", "2"], ["keep", "2"]),
        ("report", ["--set", "subsets=1"], ["subsets", "valid boolean"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_other_options(refused, command: str, more: list[str], parts: list[str]) -> None:
    refused(given(command, *more), *parts)


@pytest.mark.parametrize("command", ["select", "finetune-eval", "generate"])
@pytest.mark.parametrize("name", ["none.jsonl", "empty.jsonl", "bytes.jsonl", "number.jsonl"])
def test_prompts(refused, command: str, name: str) -> None:
    refused(given(command, "--prompts", name), name)


def test_prompts_may_come_through_a_pipe(place: Path, run_ttft, capsys) -> None:
    """A user's own FIFO is waited for, as every program does."""
    line = '{"id": "through a pipe", "text": "river stone"}\n'
    threading.Thread(target=lambda: (place / "fifo.jsonl").write_text(line), daemon=True).start()
    assert run_ttft("select", "index", "--prompts", "fifo.jsonl", "-n", 1) == 0
    assert "through a pipe" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["none.jsonl", "empty.jsonl", "bytes.jsonl", "number.jsonl", "fifo.jsonl", "folder"])
def test_sources(refused, name: str) -> None:
    refused(["index", name, "--out", "out", "--embedder", "none"], name)


@pytest.mark.parametrize("name", ["none", "folder", "ok.jsonl", "fifo.jsonl", "fifo-index", "x" * 300])
def test_indexes(refused, name: str) -> None:
    refused(["index", "info", name], name)
    refused(["index", "verify", name], name)
    refused(["index", "merge", name, "--out", "out"], name)
    refused(["select", name, "--prompt", "river"], name)
    refused(["generate", name, "--prompt", "river"], name)
    refused(["finetune-eval", name, "--prompt", "river", "--out", "out"], name)


@pytest.mark.parametrize("name", ["none", "folder", "ok.jsonl", "fifo.jsonl", "fifo-run", "x" * 300])
def test_runs(refused, name: str) -> None:
    refused(["report", name], name)
    refused(["calibrate", name], name)


@pytest.mark.parametrize("name", ["none.json", "folder", "fifo.jsonl", "ok.jsonl", "bytes.jsonl"])
def test_policies(refused, name: str) -> None:
    refused(["select", "index", "--prompt", "river", "--policy", name], name)


@pytest.mark.parametrize("out", ["ok.jsonl", "ok.jsonl/below", "/proc/none", "/dev/null"])
def test_outputs(refused, out: str, lm_folder: Path) -> None:
    refused(["index", "ok.jsonl", "--out", out], out.removesuffix("/below"))
    refused(["index", "merge", "index", "--out", out], out.removesuffix("/below"))
    refused(["finetune-eval", "index", "--prompt", "river", "--model", str(lm_folder), "--out", out],
            out.removesuffix("/below"))  # fmt: skip
