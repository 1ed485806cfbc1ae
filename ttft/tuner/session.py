"""`Tuner`: an index, its encoder and a language model. Per prompt: select, fine-tune, score or answer, discard.

    tuner = Tuner("runs/docs", model="HuggingFaceTB/SmolLM2-135M")
    tuner.score("some held-out text").percent_of_base
    print(tuner.generate("To rotate the keys, ", max_new_tokens=64))

Settings, defaults and results are those of `ttft finetune-eval`, to the last bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from ttft import defaults, runtime
from ttft.defaults import Lambda
from ttft.embedding import Embedder
from ttft.errors import ConfigError, TtftError
from ttft.finetuning.engine import GoOn
from ttft.progress import OnNote, OnProgress, ignore
from ttft.q2d.rewrites import Rewrites
from ttft.records import Prompt, Result
from ttft.selection.policy import GainPolicy
from ttft.tuner.dialogs import Queries, loader
from ttft.tuner.generation import Answering, Stream
from ttft.tuner.guard import Guard
from ttft.tuner.learners import Learner, Lesson
from ttft.tuner.loading import checked_model, load_learner
from ttft.tuner.prompts import PromptLike, as_prompt, asked, targets
from ttft.tuner.results import Answer, ChosenTexts
from ttft.tuner.scoring import Evaluator, Scoring, StepCount, Target
from ttft.tuner.selector import Selector, given_or_loaded
from ttft.vector_index.shards import VectorIndex, open_vector_index


class Tuner:
    """Test-time fine-tuning on the texts of an index.

    index       index folder (see `ttft.build_index`), or an opened index
    model       "embedded" (ships with ttft), "smollm2" (an extra package), a Hugging Face name, a folder, a .gguf file;
                or a loaded causal LM of transformers, which is not changed, with its tokenizer
    embedder    the encoder the index was built with, already loaded or by name; default: load it

    Selection   strategy, n (texts to select, one gradient step each), k (pool size; None: the whole index), lambda_,
                alpha (the paper's stopping rule), policy (of `ttft calibrate`), relevance (of mmr), query, nprobe,
                ef_search
    Training    method ("lora", "full", or "in-context": put the texts before the prompt and train nothing), rank,
                lora_alpha, rslora, vocabulary, lr, warm_down, reuse, slots (prompts trained at the same time; default:
                what fits into memory), start_from (a LoRA adapter in PEFT's format to start every prompt from),
                max_length (tokens per row)
    Dialogs     rewriter (what writes the query of a prompt that is a dialog: a folder of `ttft q2d train`, or an object
                with `rewrite`; default: the last turn is the query), rewrites (queries of a dialog, see selector.py)
    Machine     device, dtype (of the encoder and the training steps), score_dtype (of scoring)

    The defaults for None are in ttft/defaults.py and depend on the embedder and the model. The encoder is loaded by the
    constructor, the language model when it is first needed (see `load`). A Tuner is not thread-safe: a call during
    another call raises TtftError.

    Raises MissingArtifact for a missing index, encoder or model; ConfigError for settings that cannot be combined.
    """

    def __init__(
        self,
        index: str | Path | VectorIndex,
        model: Any = "embedded",
        tokenizer: Any = None,
        *,
        embedder: Embedder | str | None = None,
        strategy: str = defaults.STRATEGY,
        n: int = defaults.N,
        k: int | None = defaults.K,
        lambda_: Lambda | None = None,
        alpha: float | None = None,
        policy: str | Path | GainPolicy | None = None,
        stop: Literal["never", "calibrated"] = "calibrated",
        relevance: float = defaults.RELEVANCE,
        query: str = defaults.QUERY,
        nprobe: int | None = None,
        ef_search: int | None = None,
        method: str | None = None,
        rank: int | None = None,
        lora_alpha: float | None = None,
        rslora: bool | None = None,
        vocabulary: str | None = None,
        lr: float | None = None,
        warm_down: float | None = None,
        reuse: int = 1,
        slots: int | None = None,
        start_from: str | Path | None = None,
        rewriter: str | Path | Rewrites | None = None,
        rewrites: int = 1,
        model_revision: str | None = None,
        max_length: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        score_dtype: str = defaults.SCORE_DTYPE,
        seed: int = 0,
        trust_remote_code: bool = False,
        on_note: OnNote = ignore,
    ) -> None:
        self.device = runtime.pick_device(device)
        self.dtype = runtime.pick_dtype(dtype, self.device)
        self.score_dtype = runtime.pick_dtype(score_dtype, self.device)
        self.seed, self.on_note = seed, on_note
        checked_model(model, tokenizer)
        named = model if isinstance(model, str | Path) else model.name_or_path or type(model).__name__
        self.model_name = defaults.named_model(named)
        self.training = defaults.training_for(
            self.model_name, method, rank=rank, rslora=rslora, vocabulary=vocabulary, lr=lr, warm_down=warm_down
        )
        self._make_learner = partial(
            load_learner, model, tokenizer, self.training, name=self.model_name, revision=model_revision,
            max_length=max_length, device=self.device, dtype=self.dtype, score_dtype=self.score_dtype, slots=slots,
            lora_alpha=lora_alpha, reuse=reuse, start_from=start_from, seed=seed, trust_remote_code=trust_remote_code,
            on_note=on_note,
        )  # fmt: skip
        if not isinstance(index, VectorIndex):
            index = open_vector_index(index, nprobe=nprobe, ef_search=ef_search)
        self.index: VectorIndex = index
        for remark in self.index.remarks():
            on_note(remark)
        encoder = given_or_loaded(self.index, embedder, self.device, self.dtype, trust_remote_code)
        self.selector = Selector(
            self.index, encoder, strategy=strategy, n=n, k=k, lambda_=lambda_, alpha=alpha, policy=policy, stop=stop,
            relevance=relevance, query=query, seed=seed,
        )  # fmt: skip
        self.queries = Queries(loader(rewriter, device, dtype), rewrites, on_note)
        self._doing = ""

    # ---- what is loaded --------------------------------------------------------------------------------------------

    def load(self) -> Learner:
        """Load the language model now rather than when it is first needed."""
        return self._learner

    @cached_property
    def _learner(self) -> Learner:
        return self._make_learner()

    @property
    def model(self) -> Any:
        """The language model of the learner, without any update."""
        inner = getattr(self._learner, "inner", self._learner)
        return inner.model  # type: ignore[union-attr]

    @property
    def tokenizer(self) -> Any:
        return self._learner.tokenizer

    @property
    def window(self) -> int:
        """Tokens per row, in training and scoring."""
        return self._learner.window

    # ---- one prompt ------------------------------------------------------------------------------------------------

    def select(self, prompt: PromptLike) -> ChosenTexts:
        """The texts that the strategy selects for a prompt. Does not need the language model."""
        (this,) = self.queries.of([as_prompt(prompt, on_note=self.on_note)])
        selection = self.selector.select(this.id, this.query)
        return ChosenTexts(selection, tuple(self.selector.documents(selection)), this.rewrite)

    def score(
        self, prompt: PromptLike, *, prefix: str | None = None, score: Literal["whole", "suffix"] = "whole",
        split: float = defaults.PREFIX_SHARE, guard: Guard | None = None, score_at: Sequence[int] = defaults.SCORE_AT,
        on_progress: OnProgress = ignore, go_on: GoOn | None = None,
    ) -> Result:  # fmt: skip
        """Bits per byte of one text before and after fine-tuning on the texts selected for it.

        prefix  known text before the prompt, used for retrieval and as context; only the prompt is scored. Without it,
                score="suffix" cuts the prompt itself (`split`), score="whole" retrieves with the text that is scored
        guard, score_at, go_on  see `score_many`
        Raises CorpusError for a prompt with nothing to score.
        """
        this = as_prompt(prompt)
        item: PromptLike | tuple[str, PromptLike] = this if prefix is None else (prefix, this)
        results = self.score_many(
            [item], score=score, split=split, guard=guard, score_at=score_at, on_progress=on_progress, go_on=go_on
        )
        with contextlib.closing(results):
            return next(results)

    def generate(
        self, prompt: PromptLike, *, compare: bool = False, seed: int | None = None, on_progress: OnProgress = ignore,
        go_on: GoOn | None = None, **options: Any,
    ) -> Answer:  # fmt: skip
        """The answer of the tuned model to a prompt. Printing it prints its text.

        compare  also generate the base model's answer (`.base`)
        seed     of sampling; default: the Tuner's
        options  generation arguments of transformers: max_new_tokens, do_sample, temperature, ...
        Raises TtftError if training failed.
        """
        answers = self.generate_many(
            [as_prompt(prompt)], compare=compare, seed=seed, on_progress=on_progress, go_on=go_on, **options
        )
        with contextlib.closing(answers):
            answer = next(answers)
        if answer.failed:
            raise TtftError(f"prompt {answer.prompt_id} has no answer: {answer.failed}", "try a smaller lr")
        return answer

    @contextlib.contextmanager
    def tuned(self, prompt: PromptLike, *, go_on: GoOn | None = None) -> Iterator[Any]:
        """The model tuned for a prompt, a PreTrainedModel in eval mode. After the block it is restored bit for bit.

        Raises TtftError if training failed, ConfigError with method "in-context", which trains nothing.
        """
        learner, (this,) = self._learner, self.queries.of([as_prompt(prompt, on_note=self.on_note)])
        if not learner.trains:
            raise ConfigError("method in-context trains nothing, so there is no tuned model", "use method='lora'")
        with self._working("tuned"):
            learner.room_for(1)
            selection = self.selector.select(this.id, this.query)
            lesson = Lesson(this.id, self.selector.texts(selection), selection.cosines)
            traces = learner.learn([lesson], go_on=go_on)
            with contextlib.closing(traces):
                trace = next(traces)
                if trace.failed:
                    raise TtftError(f"the model cannot be tuned: {trace.failed}", "try a smaller lr")
                with learner.scoring(trace.slot) as model:
                    yield model

    # ---- many prompts ----------------------------------------------------------------------------------------------

    def score_many(
        self, prompts: Iterable[PromptLike | tuple[str, PromptLike]], *, score: Literal["whole", "suffix"] = "whole",
        split: float = defaults.PREFIX_SHARE, guard: Guard | None = None, score_at: Sequence[int] = defaults.SCORE_AT,
        on_progress: OnProgress = ignore, go_on: GoOn | None = None,
    ) -> Generator[Result]:  # fmt: skip
        """`score` for many prompts, several at a time in the slots of the engine; yields results as prompts finish.

        prompts   texts, mappings or Prompts; of a tuple (prefix, prompt), the prompt is scored after its prefix. A list
                  is checked before anything is trained; other iterables are read one by one
        guard     with a prefix: drop or scale the update if the prefix becomes less likely (see guard.py)
        score_at  numbers of steps after which a prompt is scored; 0 and the last step always are
        go_on     called with (prompt id, losses so far) after each step; training of the prompt stops if it is False
        """
        scoring = Scoring(score=score, split=split, score_at=tuple(score_at), guard=guard)
        wanted: Iterable[Target] = targets(prompts, self.tokenizer, scoring, self.queries)
        count = len(prompts) if isinstance(prompts, Sized) else None
        if count is not None:
            wanted = list(wanted)
        with self._working("score_many"):
            evaluator = self.evaluator(scoring, prompts=count)
            counter = StepCount(count, self.selector.n, self._learner.trains, on_progress)
            results = evaluator.results(wanted, counter=counter, go_on=go_on)
            with contextlib.closing(results):
                for result in results:
                    counter.end(result.prompt_id, result.steps_taken)
                    yield result

    def generate_many(
        self, prompts: Iterable[PromptLike], *, compare: bool = False, seed: int | None = None,
        stream: Stream | None = None, on_progress: OnProgress = ignore, go_on: GoOn | None = None, **options: Any,
    ) -> Generator[Answer]:  # fmt: skip
        """`generate` for many prompts, several trained at a time; yields answers as they are ready. If training of a
        prompt failed, its answer has `failed` and no text.

        stream  called with (prompt id, "base" or "tuned") when an answer begins; returns a streamer of transformers
        """
        generator = Answering(
            self.selector, self._learner, compare=compare, seed=self.seed if seed is None else seed, stream=stream,
            on_note=self.on_note, **options,
        )  # fmt: skip
        count = len(prompts) if isinstance(prompts, Sized) else None
        made = asked(prompts, self.queries, together=count is not None)
        encoded: Iterable[tuple[Prompt, list[int]]] = ((p, generator.encode(p)) for p in made)
        if count is not None:
            encoded = list(encoded)
        with self._working("generate_many"):
            self._learner.room_for(count)
            counter = StepCount(count, self.selector.n, self._learner.trains, on_progress)
            answers = generator.answers(encoded, counter=counter, go_on=go_on)
            with contextlib.closing(answers):
                yield from answers

    def evaluator(self, scoring: Scoring, *, prompts: int | None = None) -> Evaluator:
        """An evaluator that scores prompts with this session, for `run.evaluate_into`, which writes a run folder.

        prompts  how many there will be, so that no more slots than that are allocated
        """
        self._learner.room_for(prompts)
        return Evaluator(self.selector, self._learner, scoring)

    @contextlib.contextmanager
    def _working(self, call: str) -> Iterator[None]:
        if self._doing:
            raise TtftError(
                f"this Tuner is in the middle of {self._doing}: its slots are in use",
                "finish or close that iterator or block first, or create another Tuner",
            )
        self._doing = call
        try:
            yield
        finally:
            self._doing = ""
