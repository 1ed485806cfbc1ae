"""The README files of the repository and what they show: blocks of code, commands, Python, names of files."""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
import types
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).parents[1]
SKIPPED = {"runs", "build", "dist", "venv", "node_modules", "__pycache__"}  # and all that begin with a dot
FENCE = re.compile(r"^ *```([^\n`]*)\n(.*?)^ *```[ ]*$", flags=re.M | re.S)
COMMAND = re.compile(r"^(?:\$ )?(?:\w+=\S* )*(ttft .*)$")
END = re.compile(r"[|<>&;]+")
OF_REPO = re.compile(r"(?<![\w./-])(?:configs|scripts|tests|ttft)/[\w./*-]*\w")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
NO_RUN = "no-run"


@dataclass(frozen=True)
class Fence:
    """A block of code: the words after its ```, its text, and the line of the page on which the text begins."""

    info: tuple[str, ...]
    text: str
    line: int

    @property
    def is_python(self) -> bool:
        return self.info[:1] == ("python",)


def readmes() -> list[Path]:
    """All README.md of the repository: the front page first, then those of the rooms by path."""
    found = []
    for folder, folders, names in os.walk(REPO):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))
        found += [Path(folder) / name for name in names if name == "README.md"]
    return sorted(found, key=lambda path: (path.parent != REPO, path))


def fences(text: str) -> list[Fence]:
    return [
        Fence(tuple(match[1].split()), textwrap.dedent(match[2]), text.count("\n", 0, match.start(2)) + 1)
        for match in FENCE.finditer(text)
    ]


# ---- commands ------------------------------------------------------------------------------------------------------


def shell_lines(text: str) -> list[str]:
    """The lines of all blocks that are not Python, continued lines joined."""
    blocks = [fence.text for fence in fences(text) if not fence.is_python]
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def commands(lines: list[str]) -> list[str]:
    return [match[1] for line in lines if (match := COMMAND.match(line))]


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


# ---- Python --------------------------------------------------------------------------------------------------------


def run_python(text: str, name: str) -> list[int]:
    """Run the Python blocks of a page in their order, as one module; returns the first lines of those that were run.

    A block that begins with ```python no-run is compiled and not run. `name` is the file that a traceback shows.
    """
    module, ran = types.ModuleType("page"), []
    before = sys.modules.get("page")
    sys.modules["page"] = module  # dataclasses and pickle look a class up in its module
    try:
        for fence in fences(text):
            if not fence.is_python:
                continue
            unknown = set(fence.info[1:]) - {NO_RUN}
            assert not unknown, f"{name}:{fence.line}: {unknown} after ```python; there is {NO_RUN} only"
            code = compile("\n" * (fence.line - 1) + fence.text, name, "exec")
            if NO_RUN not in fence.info:
                exec(code, vars(module))
                ran.append(fence.line)
    finally:
        if before is None:
            del sys.modules["page"]
        else:
            sys.modules["page"] = before
    return ran


# ---- names ---------------------------------------------------------------------------------------------------------


def absent_files(text: str, folder: Path) -> list[str]:
    """What a page in `folder` names and is not there: files of the repository by their path from its root (`*` stands
    for anything), and what its links lead to, from the page's own folder."""
    absent = {name for name in OF_REPO.findall(text) if not list(REPO.glob(name))}
    for link in LINK.findall(text):
        place = link.split("#")[0]
        if place and not re.match(r"[a-z]+:", place) and not (folder / place).exists():
            absent.add(link)
    return sorted(absent)


def make_targets(text: str) -> set[str]:
    """The targets of `make TARGET` in blocks and in `code`."""
    in_code = shell_lines(text) + re.findall(r"`([^`\n]+)`", text)
    return {match for line in in_code for match in re.findall(r"(?:^|\s)make ([a-z][a-z0-9-]*)", line)}
