"""`ttft q2d generate` against a real server process that speaks the OpenAI protocol and misbehaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ttft.commands.q2d_generate import run
from ttft.config.q2d_generate import Q2dGenerateConfig
from ttft.errors import ConfigError, TtftError
from ttft.q2d.endpoint import Endpoint
from ttft.q2d.generate import COST, DIALOGS, FAILED, LlmAuthor, generate_into
from ttft.q2d.llm import Sampling
from ttft.q2d.prompts import load_demonstrations
from ttft.q2d.questions import load_questions

pytest.importorskip("openai")
REPO = Path(__file__).parents[2]
KEY = "sk-secret-0123456789abcdef"
KINDS = ("plain", "limit", "error", "truncated", "malformed", "nojson", "slow")
FORMS = ("labels", "tail", "json", "fence", "chatter", "assistant-first", "two", "cut")
CASES = [*(("plain", form) for form in FORMS), *((kind, form) for kind in KINDS[1:] for form in ("labels", "chatter"))]
QUESTIONS = [f"When {kind} is thing{number}-{form}?" for number, (kind, form) in enumerate(CASES)]
Start = Callable[..., str]


@contextmanager
def served(log: Path, delay: float = 0.0) -> Iterator[str]:
    """The base URL of a server of its own."""
    command = [sys.executable, str(Path(__file__).with_name("fake_endpoint.py")), str(log), str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


def command(questions: Path, out: Path, url: str, *more: str) -> list[str]:
    options = ["--out", str(out), "--llm", url, "--llm-model", "m", "--samples", "2", *more]
    return [sys.executable, "-m", "ttft", "q2d", "generate", str(questions), *options]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPO), "OPENAI_API_KEY": KEY, "OMP_NUM_THREADS": "1"}


def generate(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True)  # type: ignore[arg-type]
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (DIALOGS, FAILED, COST)}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.txt"
    path.write_text("\n".join(QUESTIONS))
    return path


def test_two_runs_and_a_killed_one_give_the_same_bytes(questions: Path, tmp_path: Path) -> None:
    with served(tmp_path / "one.log") as url:
        said = generate(questions, tmp_path / "one", url)
    with served(tmp_path / "two.log", delay=0.02) as url:
        generate(questions, tmp_path / "two", url, "--concurrency", "3")
    first = results(tmp_path / "one")
    assert results(tmp_path / "two") == first
    dialogs, failed = first[DIALOGS].splitlines(), first[FAILED].splitlines()
    assert len(dialogs) + len(failed) == 2 * len(QUESTIONS)
    assert {json.loads(line)["why"] for line in failed} == {"no_turns", "starts_with_assistant", "two_in_a_row"}
    assert f"{len(dialogs)} dialogs" in said and "next: ttft q2d filter" in said
    cost = json.loads(first[COST])
    assert cost["requests"] == 2 * len(QUESTIONS) and cost["prompt_tokens"] == 200 * len(QUESTIONS)

    killed = tmp_path / "killed"
    with served(tmp_path / "three.log", delay=0.05) as url:
        lines = 0
        for _ in range(2):
            process = subprocess.Popen(command(questions, killed, url, "--concurrency", "2"), env=environment())
            answers = killed / "cache/completions.jsonl"
            before = lines
            deadline = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline and lines < before + 8:
                time.sleep(0.02)
                lines = answers.read_bytes().count(b"\n") if answers.exists() else 0
            assert process.poll() is None, "it ended before it was killed"
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len((killed / DIALOGS).read_bytes()) < len(first[DIALOGS])
        generate(questions, killed, url)
    assert results(killed) == first
    asked = [json.loads(line)[2] for line in (tmp_path / "three.log").read_text().splitlines()]
    again = 2 * 2 * (len(KINDS) - 2)  # those that misbehave the first time
    assert len(asked) <= 2 * len(QUESTIONS) + again + 4  # 4: under way when it was killed


def test_the_key_is_sent_and_is_in_no_file_or_message(tmp_path: Path) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text("When plain is a-labels?\nAlways refused is b-labels?\nWhen plain is c-tail?\n")
    out, log = tmp_path / "out", tmp_path / "log"
    with served(log) as url:
        said = generate(questions, out, url)
        (tmp_path / "denied.txt").write_text("Always denied is a-labels?")
        said += generate(tmp_path / "denied.txt", tmp_path / "denied", url, code=2)
    assert {json.loads(line)[1] for line in log.read_text().splitlines()} == {f"Bearer {KEY}"}
    log.unlink()
    failures = [json.loads(line) for line in (out / FAILED).read_text().splitlines()]
    assert [one["why"] for one in failures] == ["no_answer: HTTP 400: " + failures[0]["why"][21:]] * 2
    assert "HTTP 401" in said and "***" in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8
    for text in (said, *(path.read_bytes().decode() for path in files)):
        assert KEY not in text and "secret-0123" not in text


def test_a_key_given_in_the_wrong_place_is_refused_and_not_repeated(questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert KEY not in generate(questions, out, "http://127.0.0.1:9/v1", "--api-key-env", KEY, "--dry-run", code=2)
    for url in (f"http://user:{KEY}@127.0.0.1:9/v1", f"http://127.0.0.1:9/v1?key={KEY}"):
        given = Q2dGenerateConfig(questions=str(questions), out=str(out), llm=url, llm_model="m")
        for dry_run in (True, False):
            with pytest.raises(ConfigError) as error:
                run(given, dry_run=dry_run)
            assert KEY not in error.value.message + error.value.hint
    assert not out.exists()


def test_an_endpoint_that_is_not_there_writes_nothing(questions: Path, tmp_path: Path) -> None:
    said = generate(questions, tmp_path / "out", "http://127.0.0.1:9/v1", code=2)
    assert "no endpoint at http://127.0.0.1:9/v1" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_server_that_never_recovers_ends_the_run_which_then_resumes(tmp_path: Path) -> None:
    questions = tmp_path / "questions.txt"
    texts = [f"When plain is thing{n}-labels?" for n in range(6)]
    questions.write_text("\n".join([*texts[:3], "Always error is d-labels?", *texts[3:]]))
    loaded = load_questions(questions)
    folder = tmp_path / "out"
    folder.mkdir()
    with served(tmp_path / "log") as url:
        endpoint = Endpoint(url, "m", Sampling(), tries=3, sleep=lambda _: None, concurrency=1)
        author = LlmAuthor(endpoint, load_demonstrations(), cache=folder / "cache")
        with pytest.raises(TtftError, match="HTTP 500, 3 tries"):
            generate_into(folder, loaded, author)
        assert len((folder / DIALOGS).read_bytes().splitlines()) == 3
        retried = [one for one in loaded if not one.question.startswith("Always")]
        with pytest.raises(TtftError, match="not of this run"):
            generate_into(folder, retried[1:], author)
        generate_into(folder, retried, author)
    assert [json.loads(line)["query"] for line in (folder / DIALOGS).read_text().splitlines()] == texts
