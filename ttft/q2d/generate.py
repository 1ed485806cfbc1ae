"""Questions -> dialogs in a run folder: dialogs.jsonl, failed.jsonl, cost.json.

Records are written in the order of the questions and their samples, however the answers arrive. A run that was killed
goes on where it stopped; its files become the same, byte for byte, as those of a run that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from ttft.errors import TtftError
from ttft.json_lines import JsonLines
from ttft.progress import OnProgress, Progress, ignore
from ttft.q2d import rule_templates, rules
from ttft.q2d.llm import Cached, Completion, Llm, Request
from ttft.q2d.parse import parse_dialog
from ttft.q2d.prompts import SHOTS, Demonstrations, check_no_leak, generation_messages, prompt_sha256
from ttft.q2d.records import Dialog, Generator, Question
from ttft.run_dir import sha256_text, write_json
from ttft.state import STRICT, read_json, read_records, record

DIALOGS, FAILED, COST = "dialogs.jsonl", "failed.jsonl", "cost.json"
RULES = "rules"
WINDOW = 1024  # requests that are handed to a model at once, about
TOGETHER, LONGEST_WAIT = 64, 1.0  # records that are written at once, and seconds that a record waits for others


@dataclass(frozen=True, slots=True)
class Failed:
    """A dialog that could not be made: what the model wrote and why it is none."""

    __pydantic_config__: ClassVar = STRICT

    question_id: str
    sample: int
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took. requests: answers used; cached: those that were in the cache before the run; cost: of the
    others, in the unit of the prices, None without prices."""

    __pydantic_config__: ClassVar = STRICT

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What a run made, in all of its starts."""

    dialogs: int
    failed: int
    written: int
    cost: Cost


Written = Dialog | Failed
Job = tuple[Question, int]


class RuleAuthor:
    """Makes dialogs by the rules. others: whether earlier turns may be about other questions of the list."""

    def __init__(self, questions: Sequence[Question], seed: int, *, others: bool = True) -> None:
        self.questions, self.seed, self.others = questions, seed, others
        templates = {name: value for name, value in vars(rule_templates).items() if name.isupper()}
        self._sha256 = sha256_text(repr(sorted(templates.items())))

    def opened(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def write(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Written]]:
        others = self.questions if self.others else ()
        for place, (question, sample) in enumerate(jobs):
            turns = rules.make_dialog(question, sample=sample, seed=self.seed, others=others)
            yield place, _dialog(question, turns, Generator(RULES, self._sha256, self.seed, 0.0, sample))

    def usage(self, jobs: Sequence[Job]) -> Cost:
        return Cost()


class LlmAuthor:
    """Makes dialogs with a language model. cache: folder for its answers, None to keep none."""

    def __init__(self, llm: Llm, shown: Demonstrations, *, shots: int = SHOTS, cache: Path | None = None) -> None:
        self.llm: Llm | Cached = llm if cache is None else Cached(llm, cache)
        self.shown, self.shots = shown, shots
        self._sha256 = prompt_sha256(generation_messages("", shown, shots))

    def opened(self) -> AbstractContextManager[Any]:
        return self.llm if isinstance(self.llm, Cached) else nullcontext()

    def requests(self, jobs: Sequence[Job]) -> list[Request]:
        return [Request(generation_messages(question.question, self.shown, self.shots), n) for question, n in jobs]

    def write(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Written]]:
        sampling = self.llm.sampling
        for place, answer in self.llm.complete(self.requests(jobs)):
            question, sample = jobs[place]
            made = Generator(self.llm.name, self._sha256, sampling.seed, sampling.temperature, sample)
            yield place, _read(question, answer, made)

    def usage(self, jobs: Sequence[Job]) -> Cost:
        """The answers to these jobs that are in the cache."""
        if not isinstance(self.llm, Cached):
            return Cost()
        known = [answer for answer in map(self.llm.known, self.requests(jobs)) if answer is not None]
        return Cost(len(known), 0, sum(a.prompt_tokens for a in known), sum(a.completion_tokens for a in known))


Author = RuleAuthor | LlmAuthor


def _dialog(question: Question, turns: Any, made: Generator, notes: tuple[str, ...] = ()) -> Dialog:
    return Dialog(
        id=f"{question.id}-{made.sample}", question_id=question.id, query=question.question, turns=tuple(turns),
        generator=made, answers=question.answers, forbidden=question.forbidden, source=question.source, notes=notes,
    )  # fmt: skip


def _read(question: Question, answer: Completion, made: Generator) -> Written:
    if answer.refused:
        return Failed(question.id, made.sample, "", f"no_answer: {answer.refused}")
    reply = parse_dialog(answer.text, complete=answer.complete)
    if reply.why:
        return Failed(question.id, made.sample, answer.text, reply.why)
    return _dialog(question, reply.turns, made, reply.notes)


def check_questions(questions: Sequence[Question], shown: Demonstrations) -> None:
    """Raises TtftError where there is none, an id repeats, a question is empty or is one of the demonstrations."""
    if not questions:
        raise TtftError("there are no questions", "give a file with at least one")
    seen: set[str] = set()
    for question in questions:
        if not question.question.strip():
            raise TtftError(f"the question {question.id!r} is empty", "remove it from the file")
        if question.id in seen:
            raise TtftError(f"two questions have the id {question.id!r}", "ids must differ, also within a file")
        seen.add(question.id)
    check_no_leak(shown, (question.question for question in questions))


def preview(questions: Sequence[Question], author: Author) -> list[Written]:
    """One dialog of each question, in order; nothing is written."""
    jobs = [(question, 0) for question in questions]
    with author.opened():
        found = dict(author.write(jobs))
    return [found[place] for place in range(len(jobs))]


def generate_into(
    folder: Path,
    questions: Sequence[Question],
    author: Author,
    *,
    samples: int = 1,
    prices: tuple[float, float] | None = None,
    on_progress: OnProgress = ignore,
) -> Account:
    """Write `samples` dialogs of every question into a folder that this process has locked, or those still missing.

    prices  of a million tokens of prompts and of answers
    Raises TtftError; what is in the files then stays, and the same call goes on from there.
    """
    jobs = [(question, sample) for question in questions for sample in range(samples)]
    done = _done(folder, jobs)
    with author.opened():
        cached = _cached_before(folder, author, jobs, fresh=not done)
        written = _write(folder, author, jobs, done, on_progress)
        usage = _priced(author.usage(jobs), cached, prices)
    write_json(folder / COST, asdict(usage))
    failed = len(read_records(folder / FAILED, Failed)) if (folder / FAILED).exists() else 0
    return Account(len(jobs) - failed, failed, written, usage)


def _done(folder: Path, jobs: Sequence[Job]) -> set[tuple[str, int]]:
    """The jobs that have a record. Raises TtftError for records of others."""
    done: list[tuple[str, int]] = []
    for name, kind in ((DIALOGS, Dialog), (FAILED, Failed)):
        if (folder / name).exists():
            with JsonLines(folder / name):  # removes an incomplete last line
                pass
            for one in read_records(folder / name, kind):
                done.append((one.question_id, one.generator.sample if isinstance(one, Dialog) else one.sample))
    known = {(question.id, sample) for question, sample in jobs}
    if len(set(done)) < len(done) or not known.issuperset(done):
        raise TtftError(f"{folder} holds dialogs that are not of this run", "choose another --out")
    return set(done)


def _cached_before(folder: Path, author: Author, jobs: Sequence[Job], *, fresh: bool) -> int:
    """How many answers other runs had left in the cache when this run began; kept in cost.json for later starts."""
    path = folder / COST
    if path.exists():
        return record(Cost, read_json(path, TtftError), str(path), TtftError).cached
    cached = author.usage(jobs).requests if fresh else 0
    write_json(path, asdict(Cost(cached=cached)))
    return cached


def _priced(usage: Cost, cached: int, prices: tuple[float, float] | None) -> Cost:
    cost = None
    if prices is not None:
        share = 1 - cached / usage.requests if usage.requests else 1.0
        cost = round(share * (usage.prompt_tokens * prices[0] + usage.completion_tokens * prices[1]) / 1e6, 6)
    return Cost(usage.requests, cached, usage.prompt_tokens, usage.completion_tokens, cost)


def _write(
    folder: Path, author: Author, jobs: Sequence[Job], done: set[tuple[str, int]], on_progress: OnProgress
) -> int:
    """Write what is missing, in order; how many records that were."""
    batch = author.llm.batch if isinstance(author, LlmAuthor) else 1
    size = batch * max(1, WINDOW // batch)
    with JsonLines(folder / DIALOGS) as dialogs, JsonLines(folder / FAILED) as failed:
        writer = _Writer(dialogs, failed, len(jobs), len(done), on_progress)
        try:
            for start in range(0, len(jobs), size):
                window = jobs[start : start + size]
                wanted = [place for place, (question, n) in enumerate(window) if (question.id, n) not in done]
                if not wanted:
                    continue
                # whole groups, since an answer may depend on its group; the cache has what is done already
                window = window[wanted[0] // batch * batch :]
                for place, one in _in_order(author.write(window)):
                    if (window[place][0].id, window[place][1]) not in done:
                        writer.add(one)
        finally:
            writer.flush()
    return writer.written


def _in_order(found: Iterator[tuple[int, Written]]) -> Iterator[tuple[int, Written]]:
    """The records by position, each as soon as those before it are there."""
    waiting: dict[int, Written] = {}
    following = 0
    for place, one in found:
        waiting[place] = one
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1


class _Writer:
    """Appends records to the two files, some at a time."""

    def __init__(self, dialogs: JsonLines, failed: JsonLines, total: int, before: int, on_progress: OnProgress) -> None:
        self.dialogs, self.failed, self.on_progress = dialogs, failed, on_progress
        self.total, self.before, self.written, self.failures = total, before, 0, 0
        self._waiting: list[Written] = []
        self._flushed = time.monotonic()

    def add(self, one: Written) -> None:
        self._waiting.append(one)
        self.written += 1
        self.failures += isinstance(one, Failed)
        if len(self._waiting) >= TOGETHER or time.monotonic() - self._flushed > LONGEST_WAIT:
            self.flush()
        detail = f"{self.failures} failed" if self.failures else ""
        self.on_progress(Progress("generating", self.before + self.written, self.total, "dialogs", detail))

    def flush(self) -> None:
        records, self._waiting, self._flushed = self._waiting, [], time.monotonic()
        if records:
            self.dialogs.append(*(one.to_json() for one in records if isinstance(one, Dialog)))
            self.failed.append(*(asdict(one) for one in records if isinstance(one, Failed)))
