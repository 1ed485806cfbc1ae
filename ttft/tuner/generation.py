"""Prompts -> answers: select texts, fine-tune, generate, discard the update."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import torch

from ttft import defaults
from ttft.errors import ConfigError
from ttft.evaluation import prefix_token
from ttft.finetuning.engine import GoOn, Trace
from ttft.progress import OnNote, counted, ignore
from ttft.records import Prompt, Selection
from ttft.runtime import Timer
from ttft.tuner.dialogs import model_input
from ttft.tuner.learners import Learner, Lesson
from ttft.tuner.results import Answer
from ttft.tuner.scoring import StepCount
from ttft.tuner.selector import Selector

Stream = Callable[[str, str], Any]
"""Called with a prompt's id and "base" or "tuned" when an answer begins; returns transformers' streamer for it."""


class Answering:
    """Answers prompts with fixed generation options.

    compare  also generate an answer with the base model, first
    seed     of sampling: set again for every answer, so that it does not depend on the prompts before
    options  arguments of transformers' `generate`; max_new_tokens defaults to 128
    Raises ConfigError if max_new_tokens leaves no room for a prompt.
    """

    def __init__(
        self, selector: Selector, learner: Learner, *, compare: bool = False, seed: int = 0,
        stream: Stream | None = None, on_note: OnNote = ignore, **options: Any,
    ) -> None:  # fmt: skip
        self.selector, self.learner, self.compare, self.seed = selector, learner, compare, seed
        self.stream, self.on_note = stream, on_note
        if options.get("num_return_sequences", 1) != 1:
            raise ConfigError("num_return_sequences: a prompt has one answer", "call it several times with other seeds")
        self.options = {"num_beams": 1, "use_cache": True, "max_new_tokens": defaults.MAX_NEW_TOKENS} | options
        self.new = int(self.options["max_new_tokens"])
        if self.new >= learner.window:
            raise ConfigError(
                f"max_new_tokens {self.new} leaves no room for a prompt in the context window of {learner.name}, "
                f"{learner.window} tokens",
                f"use fewer, such as --max-new-tokens {learner.window // 2}",
            )

    def encode(self, prompt: Prompt) -> list[int]:
        """The tokens of a prompt as in scoring, after one prefix token, unless a chat template begins with it and no
        texts go between the two. If they do not fit into the window, the last
        ones that do, with a note to the user."""
        tokenizer, window = self.learner.tokenizer, self.learner.window
        room = window - self.new
        ids, _ = model_input(prompt, tokenizer)
        count, prefix = len(ids), prefix_token(tokenizer)
        if not (prompt.turns and self.learner.trains and ids[:1] == [prefix]):
            ids = [prefix, *ids]
        if len(ids) > room:
            self.on_note(
                f"prompt {prompt.id} has {count} tokens, of which only the last {room} are used: the window is "
                f"{window} tokens, and {self.new} are reserved for the answer"
            )
        return ids[-room:]

    def answers(
        self, prompts: Iterable[tuple[Prompt, list[int]]], *, counter: StepCount | None = None,
        go_on: GoOn | None = None,
    ) -> Generator[Answer]:  # fmt: skip
        """Answer each prompt (with its tokens, from `encode`) as soon as the model is tuned for it."""
        going: dict[str, tuple[Prompt, list[int], Selection, Lesson]] = {}

        def lessons() -> Iterator[Lesson]:
            for prompt, ids in prompts:
                selection = self.selector.select(prompt.id, prompt.query)
                if counter is not None:
                    counter.chosen(selection)
                if prompt.turns:
                    self._tell_queries(prompt)
                lesson = Lesson(prompt.id, self.selector.texts(selection), selection.cosines)
                going[prompt.id] = prompt, ids, selection, lesson
                yield lesson

        step = counter.step if counter is not None else None
        for trace in self.learner.learn(lessons(), on_step=step, go_on=go_on):
            answer = self._answer(trace, *going.pop(trace.key))
            if counter is not None:
                counter.end(trace.key, len(trace.losses))
            yield answer

    def _tell_queries(self, prompt: Prompt) -> None:
        queries = ", ".join(map(repr, prompt.query))
        what = f"searched for {queries}" if queries else "no search is needed, so the base model answers"
        self.on_note(f"{prompt.id}: {what}")

    def _answer(
        self, trace: Trace, prompt: Prompt, ids: list[int], selection: Selection, lesson: Lesson
    ) -> Answer:  # fmt: skip
        seconds = selection.seconds | {"train": trace.seconds["train"]}
        if trace.failed:
            return Answer(
                trace.key, None, selection.ids, len(trace.losses), seconds=_rounded(seconds), failed=trace.failed,
                rewrite=prompt.rewrite,
            )  # fmt: skip
        if self.learner.trains and prompt.query:
            texts = counted(len(trace.losses), "text")
            self.on_note(f"{trace.key}: fine-tuned on {texts} in {trace.seconds['train']:.1f} s")
        timer, made = Timer(self.learner.device), {}
        context = self.learner.before(lesson, self.learner.window - self.new - len(ids))
        for name, scale in [("base", 0.0)] * self.compare + [("tuned", 1.0)]:
            streamer = self.stream(trace.key, name) if self.stream is not None else None
            fed = [ids[0], *context, *ids[1:]] if name == "tuned" and context else ids
            with timer(name), self.learner.scoring(trace.slot, scale, as_trained=True) as model:
                made[name] = self._generate(model, fed, streamer)
        return Answer(
            trace.key, made["tuned"], selection.ids, len(trace.losses), base=made.get("base"),
            seconds=_rounded(seconds | timer.seconds), rewrite=prompt.rewrite,
        )  # fmt: skip

    def _generate(self, model: Any, ids: list[int], streamer: Any) -> str:
        """The text generated after `ids`. The caller's random state is left unchanged."""
        device = torch.device(self.learner.device)
        options = self.options | ({"streamer": streamer} if streamer is not None else {})
        inputs = torch.tensor([ids], device=device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            made = model.generate(inputs, attention_mask=torch.ones_like(inputs), **options)
        tokens = getattr(made, "sequences", made)[0, len(ids) :]
        return self.learner.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in seconds.items()}
