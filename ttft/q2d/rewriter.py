"""A query model in use: dialogs -> queries, in batches. Whatever goes wrong with one, its last turn is the query.

- A dialog of one turn is its own query, byte for byte, and no model is asked.
- Decoding is greedy. More queries come from a beam search, whose results depend on the dialog only.
- What a model writes is tidied and checked (guards.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from ttft import runtime
from ttft.errors import ConfigError, MissingArtifact
from ttft.files import check_folder
from ttft.finetuning.model import load_causal_lm
from ttft.q2d.guards import fault, is_no_search, tidy
from ttft.q2d.model_input import (
    FILE,
    INSTRUCTION,
    LONGEST_CHARACTERS,
    OR_NONE,
    QueryFormat,
    prompt_ids,
    read_format,
    source_ids,
)
from ttft.q2d.records import Turn
from ttft.q2d.rewrites import RULES, Rewrite, Rewrites, Rule, check_dialogs, last_turn, unchanged
from ttft.q2d.text import dialog_text, model_turns, norm

BATCH = 16
WEIGHTS = "adapter_model.safetensors"
LEAST_SOURCE = 16  # tokens of a dialog


class Output(NamedTuple):
    """What a model wrote. whole: it came to an end by itself."""

    text: str
    whole: bool


def load_rewriter(
    name: str | Path, *, device: str = "auto", dtype: str = "auto", max_new_tokens: int | None = None
) -> Rewrites:
    """What makes queries of dialogs, by its name.

    name  a folder made by `ttft q2d train`; "last-turn", "user-turns" or "history", baselines without a model; or any
          causal LM as `finetuning.model.load_causal_lm` takes it, which then follows an instruction, untrained
    max_new_tokens  of a query; default: what the model was trained with
    Raises MissingArtifact for a model that is not there, ConfigError for one whose window is too small.
    """
    if str(name) in RULES:
        return Rule(str(name))
    device = runtime.pick_device(device)
    kind, folder = runtime.pick_dtype(dtype, device), Path(name)
    with runtime.quiet_loading():
        if (folder / FILE).is_file():
            form = read_format(folder)
            load = _seq2seq if form.kind == "seq2seq" else _adapted
            model, tokenizer = load(folder, form)
        elif folder.is_dir() and (folder / "adapter_config.json").is_file():
            raise MissingArtifact(f"{folder} is an adapter, but no query model: it has no {FILE}", "ttft q2d train")
        else:
            form = QueryFormat("causal", str(name), None, f"{INSTRUCTION} {OR_NONE}", no_search=True)
            model, tokenizer = _named(str(name))
    model = model.to(device=device, dtype=kind).eval()
    return Rewriter(model, tokenizer, form, max_new_tokens or form.max_target_tokens)


def _named(name: str, revision: str | None = None) -> tuple[Any, Any]:
    try:
        return load_causal_lm(name, revision=revision)
    except MissingArtifact as error:
        baselines = ", ".join(RULES)
        hint = f"give a folder made by `ttft q2d train`, one of {baselines}, or a causal LM"
        raise MissingArtifact(error.message, hint) from None


def _adapted(folder: Path, form: QueryFormat) -> tuple[Any, Any]:
    """The base model with the adapter merged into it."""
    from peft import PeftModel

    check_folder(folder)
    if not (folder / WEIGHTS).is_file():  # peft would take a pickle in its place
        raise MissingArtifact(f"{folder} has no {WEIGHTS}", "train the query model again: ttft q2d train")
    model, tokenizer = load_causal_lm(form.base, revision=form.revision)
    try:
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload(), tokenizer
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        first = str(error).strip().split("\n")[0]
        raise MissingArtifact(f"{folder} holds no adapter of {form.base}: {first}", "train it again") from None


def _seq2seq(folder: Path, form: QueryFormat) -> tuple[Any, Any]:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    check_folder(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        return AutoModelForSeq2SeqLM.from_pretrained(str(folder), use_safetensors=True), tokenizer
    except (OSError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        raise MissingArtifact(f"{folder} holds no seq2seq model: {first}", "train it again") from None


class FirstLine(StoppingCriteria):
    """Ends an output with the line break after its first line, since the rest would be dropped. start: of the output
    among the tokens of a row."""

    def __init__(self, tokenizer: Any, start: int) -> None:
        self.tokenizer, self.start = tokenizer, start

    def __call__(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> Any:
        ended = [self._ended(tokens) for tokens in input_ids[:, self.start :].tolist()]
        return torch.tensor(ended, device=input_ids.device)

    def _ended(self, tokens: list[int]) -> bool:
        if not tokens or "\n" not in self.tokenizer.decode(tokens[-1:]):
            return False
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return "\n" in text.lstrip()


@dataclass
class Rewriter:
    """A query model. new: tokens of a query at most."""

    model: Any
    tokenizer: Any
    form: QueryFormat
    new: int
    batch: int = BATCH

    def __post_init__(self) -> None:
        if self.form.kind == "seq2seq":
            return
        window = getattr(self.model.config, "max_position_embeddings", None) or self.form.max_source_tokens * 2
        room = int(window) - self.new - len(prompt_ids(self.form, self.tokenizer, ""))
        if room < LEAST_SOURCE:
            raise ConfigError(
                f"the window of {self.form.base}, {window} tokens, has no room for a dialog beside the instruction and "
                f"{self.new} tokens of a query",
                "use a model with a longer window, or a smaller max_new_tokens",
            )
        self.form = replace(self.form, max_source_tokens=min(self.form.max_source_tokens, room))

    def rewrite(self, dialogs: Sequence[Sequence[Turn]], *, n: int = 1) -> list[Rewrite]:
        """The queries of each dialog, at most n different ones. Raises ConfigError for a dialog that is none."""
        check_dialogs(dialogs, n)
        with_history = [place for place, turns in enumerate(dialogs) if len(turns) > 1]
        short = {place: _tail(model_turns(dialogs[place])) for place in with_history}
        ids = {place: self._ids(turns) for place, turns in short.items()}
        order = sorted(with_history, key=lambda place: len(ids[place]))
        made = [unchanged(turns) for turns in dialogs]
        for begin in range(0, len(order), self.batch):
            some = order[begin : begin + self.batch]
            for place, written in zip(some, self._written([ids[place] for place in some], n), strict=True):
                made[place] = self._judged(written, short[place], dialogs[place], n)
        return made

    def _ids(self, turns: Sequence[Turn]) -> list[int]:
        make = prompt_ids if self.form.kind == "causal" else source_ids
        ids = make(self.form, self.tokenizer, dialog_text(turns))
        end = self.tokenizer.eos_token_id
        return ids if self.form.kind == "causal" or end is None else [*ids, end]

    def _written(self, prompts: list[list[int]], n: int) -> list[list[Output] | str]:
        """The outputs for each prompt, or why there are none. A batch that fails is tried one by one."""
        try:
            return list(self._generated(prompts, n))
        except Exception as error:  # noqa: BLE001 - whatever it is, the last turn is there to search with
            if len(prompts) == 1:
                first = (str(error).strip() or "no message").split("\n")[0]
                return [f"the model failed: {type(error).__name__}: {first[:200]}"]
            return [self._written([prompt], n)[0] for prompt in prompts]

    @torch.inference_mode()
    def _generated(self, prompts: list[list[int]], n: int) -> list[list[Output]]:
        """Of each prompt the greedy output, and for n > 1 those of a beam search after it."""
        longest = max(len(ids) for ids in prompts)
        pad = self.tokenizer.pad_token_id
        pad = pad if pad is not None else (self.tokenizer.eos_token_id or 0)
        rows = torch.full((len(prompts), longest), pad)
        mask = torch.zeros_like(rows)
        for row, ids in enumerate(prompts):
            rows[row, longest - len(ids) :] = torch.tensor(ids)
            mask[row, longest - len(ids) :] = 1
        given = {"input_ids": rows.to(self.model.device), "attention_mask": mask.to(self.model.device)}
        start = longest if self.form.kind == "causal" else 1
        found: list[list[Output]] = [[] for _ in prompts]
        for beams in [1] if n == 1 else [1, 2 * n]:
            made = self.model.generate(
                **given, max_new_tokens=self.new, do_sample=False, num_beams=beams, num_return_sequences=beams,
                pad_token_id=pad, eos_token_id=self._ends() or None, use_cache=True,
                stopping_criteria=StoppingCriteriaList([FirstLine(self.tokenizer, start)]),
            )  # fmt: skip
            for row, tokens in enumerate(made[:, start:].tolist()):
                found[row // beams].append(self._output(tokens))
        return found

    def _ends(self) -> list[int]:
        known = getattr(self.model.generation_config, "eos_token_id", None)
        ends = known if isinstance(known, list) else [known]
        return [end for end in dict.fromkeys([*ends, self.tokenizer.eos_token_id]) if end is not None]

    def _output(self, tokens: list[int]) -> Output:
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Output(text, bool(set(tokens) & set(self._ends())) or "\n" in text.lstrip())

    def _judged(self, written: list[Output] | str, short: Sequence[Turn], turns: Sequence[Turn], n: int) -> Rewrite:
        """The queries among the outputs, or the last turn and why."""
        if isinstance(written, str):
            return last_turn(turns, f"{written}; the last turn is the query")
        queries: dict[str, str] = {}
        why = ""
        for place, output in enumerate(written):
            query = tidy(output.text)
            if self.form.no_search and is_no_search(query):
                if place == 0:
                    return Rewrite((), False, "no search")
                continue
            wrong = fault(query, short) or ("" if output.whole else f"it does not end within {self.new} tokens")
            why = why or wrong
            if not wrong:
                queries.setdefault(norm(query), query)
        if not queries:
            return last_turn(turns, f"the model's query was refused: {why}; the last turn is the query")
        return Rewrite(tuple(queries.values())[:n], True, "model")


def _tail(turns: Sequence[Turn]) -> list[Turn]:
    """The end of a dialog, at least the end of its last turn: what a model can hold, whatever the turns' lengths."""
    kept: list[Turn] = []
    room = LONGEST_CHARACTERS
    for turn in reversed(turns):
        if room <= 0:
            break
        kept.append(replace(turn, text=turn.text[-room:]))
        room -= len(turn.text)
    return kept[::-1]
