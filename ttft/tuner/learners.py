"""How a prompt learns from its texts: by gradient steps on an adapter or on all weights, or in context.

Both learners have the same interface, so that scoring and generation need not distinguish them:

    learn(lessons)       yields a Trace per finished prompt; its slot holds the update until the next one is requested
    scoring(slot)        context manager: the model with the update of a slot, in the dtype of scores or of steps
    before(lesson, room) tokens to put before the prompt: the texts, if they are used in context
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ttft.defaults import Training
from ttft.evaluation import Encoded, Score, context_room, prefix_token, token_ids
from ttft.finetuning.engine import GoOn, PromptTexts, Trace, finetune_prompts
from ttft.finetuning.full import FullLearner
from ttft.finetuning.lora import LoraLearner
from ttft.runtime import Timer
from ttft.tuner.in_context import SEPARATOR, contexts


@dataclass(frozen=True)
class Lesson:
    """What one prompt learns from: texts in training order, and the cosine of each to the prompt.

    encoded  the text to score; None if nothing is scored
    """

    key: str
    texts: Sequence[str]
    cosines: Sequence[float]
    encoded: Encoded | None = None


Score1 = Callable[[Any, Encoded, Sequence[int]], Score]
"""Scores a text under a model, given the tokens of a context before it."""


class Learner(Protocol):
    """See the module docstring. name, revision: of the model, as requested; window: tokens per row."""

    name: str
    revision: str | None
    tokenizer: Any
    window: int
    training: Training
    dtype: Any

    @property
    def slots(self) -> int: ...

    @property
    def device(self) -> str: ...

    @property
    def trains(self) -> bool: ...

    def room_for(self, prompts: int | None) -> None:
        """Allocate as many slots as this many prompts (None: any number) can use."""

    def facts(self) -> dict[str, Any]:
        """The training settings, for the result records."""

    def learn(
        self, lessons: Iterable[Lesson], *, score: Score1 | None = None, score_at: Sequence[int] = (),
        on_step: Callable[[str], None] | None = None, go_on: GoOn | None = None,
    ) -> Generator[Trace[Score]]: ...  # fmt: skip

    def scoring(
        self, slot: int, scale: float = 1.0, *, as_trained: bool = False
    ) -> contextlib.AbstractContextManager[Any]: ...

    def before(self, lesson: Lesson, room: int) -> list[int]: ...


@dataclass
class GradientLearner:
    """Gradient steps: LoRA on a frozen model, many prompts at a time, or all weights, one prompt at a time.

    reuse  recompute the gradient of a text selected several times in a row only every reuse-th time
    """

    name: str
    revision: str | None
    tokenizer: Any
    window: int
    training: Training
    dtype: Any
    inner: LoraLearner | FullLearner
    reuse: int = 1
    trains = True

    @property
    def slots(self) -> int:
        return self.inner.slots

    @property
    def device(self) -> str:
        return str(self.inner.device)

    def room_for(self, prompts: int | None) -> None:
        if isinstance(self.inner, LoraLearner):
            self.inner.room_for(prompts if prompts is not None else 1 << 30)

    def facts(self) -> dict[str, Any]:
        known = self.training.to_json() | {"parameters": self.inner.count, "reuse": self.reuse}
        return known | ({"alpha": self.inner.alpha} if isinstance(self.inner, LoraLearner) else {})

    def learn(
        self, lessons: Iterable[Lesson], *, score: Score1 | None = None, score_at: Sequence[int] = (),
        on_step: Callable[[str], None] | None = None, go_on: GoOn | None = None,
    ) -> Generator[Trace[Score]]:  # fmt: skip
        encoded: dict[str, Encoded] = {}

        def texts() -> Iterator[PromptTexts]:
            for lesson in lessons:
                if lesson.encoded is not None:
                    encoded[lesson.key] = lesson.encoded
                yield PromptTexts(lesson.key, lesson.texts)

        def scorer(key: str, model: Any) -> Score:
            assert score is not None
            return score(model, encoded[key], ())

        traces = finetune_prompts(
            self.inner, self.tokenizer, texts(), max_length=self.window, prefix_token=prefix_token(self.tokenizer),
            score_at=score_at, scorer=scorer if score is not None else None, on_step=on_step, go_on=go_on,
            warm_down=self.training.warm_down or 1.0, reuse=self.reuse,
        )  # fmt: skip
        for trace in traces:
            yield trace
            encoded.pop(trace.key, None)

    def scoring(
        self, slot: int, scale: float = 1.0, *, as_trained: bool = False
    ) -> contextlib.AbstractContextManager[Any]:
        return self.inner.scoring(slot, scale, as_trained=as_trained)

    def before(self, lesson: Lesson, room: int) -> list[int]:
        return []


@dataclass
class ContextLearner:
    """Nothing is trained: the texts are placed before the prompt (for which ones and their order see in_context.py)."""

    name: str
    revision: str | None
    tokenizer: Any
    window: int
    training: Training
    dtype: Any
    model: Any
    slots = 1
    trains = False

    @property
    def device(self) -> str:
        return str(self.model.device)

    def room_for(self, prompts: int | None) -> None:
        """Nothing to allocate: one prompt at a time."""

    def facts(self) -> dict[str, Any]:
        return self.training.to_json()

    def learn(
        self, lessons: Iterable[Lesson], *, score: Score1 | None = None, score_at: Sequence[int] = (),
        on_step: Callable[[str], None] | None = None, go_on: GoOn | None = None,
    ) -> Generator[Trace[Score]]:  # fmt: skip
        """`go_on` and `on_step` are never called, as there are no steps."""
        for lesson in lessons:
            trace, timer = Trace[Score](lesson.key), Timer(self.device)
            with timer("evaluate"):
                if score is not None and lesson.encoded is not None:
                    room = context_room(lesson.encoded, self.window)
                    for count, context in self._contexts(lesson, room, score_at).items():
                        trace.scores[count] = score(self.model, lesson.encoded, context)
            trace.seconds |= timer.seconds
            yield trace

    @contextlib.contextmanager
    def scoring(self, slot: int, scale: float = 1.0, *, as_trained: bool = False) -> Iterator[Any]:
        yield self.model

    def before(self, lesson: Lesson, room: int) -> list[int]:
        """A context of as many texts as fit into `room` tokens."""
        if room < 1 or not lesson.texts:
            return []
        made = self._contexts(lesson, room, ())
        return made[max(made)]

    def _contexts(self, lesson: Lesson, room: int, counts: Iterable[int]) -> dict[int, list[int]]:
        texts = [token_ids(self.tokenizer, text + SEPARATOR) for text in lesson.texts]
        return contexts(texts, lesson.cosines, room, counts)
