"""Every command that is shown is understood: in the README, in comments of configs and scripts, in the scripts."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ttft import cli

REPO = Path(__file__).parents[1]
README = REPO / "README.md"
COMMAND = re.compile(r"^(?:\$ )?(?:\w+=\S* )*(ttft .*)$")
END = re.compile(r"[|<>&;]+")

readme = pytest.mark.skipif(not README.exists(), reason="there is no README.md yet")


def readme_text() -> str:
    return README.read_text(encoding="utf-8") if README.exists() else ""


def code(text: str) -> list[str]:
    """The lines of Markdown code fences, continued lines joined."""
    fences = re.findall(r"^ *```[^\n]*\n(.*?)^ *```", text, flags=re.M | re.S)
    return [line.strip() for fence in fences for line in fence.replace("\\\n", " ").splitlines()]


def comments(path: Path) -> list[str]:
    """The lines of '# ' comments, without their mark."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.lstrip("#").strip() for line in lines if line.startswith("#")]


def arguments(command: str) -> list[str]:
    """What the shell hands to ttft: the words after it, up to a pipe, a redirection or a comment."""
    words = shlex.shlex(command, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found = list(words)[1:]
    for place, word in enumerate(found):
        if END.fullmatch(word):
            descriptor = word.startswith(">") and found[place - 1] in ("1", "2")
            return found[: place - descriptor]
    return found


def commands(lines: list[str]) -> list[str]:
    return [match[1] for line in lines if (match := COMMAND.match(line))]


OF_README = commands(code(readme_text()))
OF_COMMENTS = [
    pytest.param(command, id=f"{path.name}: {command}")
    for path in sorted([*(REPO / "configs").rglob("*.yaml"), *(REPO / "scripts").rglob("*.sh")])
    for command in commands(comments(path))
]


@pytest.fixture
def understood(monkeypatch, capsys):
    """understood(args) runs ttft in this process with --dry-run, from the root of the repository."""
    monkeypatch.chdir(REPO)

    def run(args: list[str]) -> None:
        helps = not args or {"--help", "-h"} & set(args)
        monkeypatch.setattr(sys, "argv", ["ttft", *args, *([] if helps else ["--dry-run"])])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert not stopped.value.code, f"{shlex.join(args)}\n{capsys.readouterr().err}"

    return run


def test_commands_are_found_in_markdown() -> None:
    fence = "$ ttft a 'x | y' \\\n  -n 3 | jq .ids\nHF_HUB_OFFLINE=1 ttft b > out 2> log\nls\n"
    text = f"ttft no\n```bash\n{fence}```\nttft no\n"
    found = commands(code(text))
    assert [arguments(command) for command in found] == [["a", "x | y", "-n", "3"], ["b"]]
    assert arguments("ttft c 2> log") == ["c"]
    assert arguments("ttft c -n 2 # ttft d") == ["c", "-n", "2"]


@readme
def test_the_readme_shows_commands() -> None:
    assert len(OF_README) >= 5


@readme
@pytest.mark.parametrize("command", OF_README)
def test_a_command_of_the_readme(understood, command: str) -> None:
    understood(arguments(command))


@pytest.mark.parametrize("command", OF_COMMENTS)
def test_a_command_of_a_comment(understood, command: str) -> None:
    understood(arguments(command))


@readme
def test_targets_of_the_readme_are_in_the_makefile() -> None:
    in_code = code(readme_text()) + re.findall(r"`([^`\n]+)`", readme_text())
    named = {match for line in in_code for match in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", line)}
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    assert named <= targets, f"no such target: {', '.join(sorted(named - targets))}"


@readme
def test_files_of_the_readme_are_there() -> None:
    named = set(re.findall(r"\b(?:configs/[\w./*-]+\.yaml|scripts/[\w./*-]+\w)", readme_text()))
    absent = sorted(name for name in named if not list(REPO.glob(name)))
    assert not absent, f"not there: {', '.join(absent)}"


@pytest.mark.parametrize(("script", "args"), [("demo.sh", []), ("pile.sh", ["prompts.jsonl.zst"])])
def test_the_commands_of_a_script(understood, tmp_path: Path, script: str, args: list[str]) -> None:
    log = tmp_path / "log"
    stubs = {"ttft": 'printf "%s\\0" "$@" >> "$LOG"; printf "\\n" >> "$LOG"', "python": ":"}
    for name, body in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "LOG": str(log),
        "RUN": str(tmp_path / "run"),
    }
    done = subprocess.run([REPO / "scripts" / script, *args], env=environment, capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0, done.stderr
    calls = [line.split("\0")[:-1] for line in log.read_text().split("\n")[:-1]]
    assert [call[0] for call in calls][-1] == "report" and "finetune-eval" in {call[0] for call in calls}
    for call in calls:
        understood(call)
