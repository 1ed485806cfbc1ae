"""Prompts that are dialogs: what the model reads, and the queries that texts are retrieved with.

A dialog is answered or scored in the chat template of the model's tokenizer, or else as lines "User: ..." and
"Assistant: ..." and a last "Assistant: ". What is embedded is a query: written by a rewriter, or the last turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ttft.errors import CorpusError
from ttft.evaluation import token_ids
from ttft.json_lines import JsonLines
from ttft.progress import OnNote, OnProgress, Progress, counted, ignore
from ttft.q2d.dialog_input import DialogInput
from ttft.q2d.records import Turn
from ttft.q2d.rewrites import Rewrites
from ttft.q2d.text import dialog_text, one_line
from ttft.records import Prompt, QueryRecord
from ttft.run_dir import REWRITES, sha256_text
from ttft.state import read_records

TOGETHER = 64  # dialogs that are rewritten before their queries are recorded
SHOWN = 3  # notes on single dialogs
Spoken = tuple[tuple[str, str], ...]
"""(role, text) of each turn; the first may be the system's."""


def spoken(dialog: DialogInput) -> Spoken:
    system = (("system", dialog.system),) if dialog.system.strip() else ()
    return (*system, *((turn.role, turn.text) for turn in dialog.turns))


def plain_text(turns: Spoken) -> str:
    """A dialog as one text, for models without a chat template, at the end of which the assistant has to speak."""
    system = "".join(f"System: {one_line(text)}\n" for role, text in turns if role == "system")
    return f"{system}{dialog_text(_turns(turns))}\nAssistant: "


def dialog_prompt(name: str, dialog: DialogInput, subset: str = "") -> Prompt:
    turns = spoken(dialog)
    return Prompt(name, plain_text(turns), subset, turns)


def model_input(prompt: Prompt, tokenizer: Any) -> tuple[list[int], str]:
    """(tokens, text) of a prompt for the model.

    Only the template of a dialog may bring special tokens: what looks like one in a turn is tokenised as plain text.
    """
    if not prompt.turns:
        return token_ids(tokenizer, prompt.text), prompt.text
    frame = _frame(prompt.turns, tokenizer)
    if frame is None:
        return _plain(tokenizer, prompt.text), prompt.text
    ids: list[int] = []
    for place, part in enumerate(frame):
        ids += _plain(tokenizer, part) if place % 2 else token_ids(tokenizer, part)
    return ids, "".join(frame)


def _plain(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]


def _frame(turns: Spoken, tokenizer: Any) -> list[str] | None:
    """The filled template in parts, by turns the template's own text and a turn's; None if there is no template, or
    none that takes this dialog."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    folded = turns
    if turns[0][0] == "system":  # some templates have no place for it
        (_, system), (role, first) = turns[0], turns[1]
        folded = ((role, f"{system}\n\n{first}"), *turns[2:])
    for form in dict.fromkeys((turns, folded)):
        marks = [f"[[TURN {place}]]" for place in range(len(form))]
        messages = [{"role": role, "content": mark} for (role, _), mark in zip(form, marks, strict=True)]
        try:
            rest = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # jinja's, of a template that refuses these roles
            if type(error).__module__.split(".")[0] != "jinja2":
                raise
            continue
        parts = []
        for mark, (_, text) in zip(marks, form, strict=True):
            before, found, rest = rest.partition(mark)
            parts += [before, text] if found else []
        if len(parts) == 2 * len(form):
            return [*parts, rest]
    return None


def _turns(turns: Spoken) -> list[Turn]:
    """The turns that a query is made of."""
    return [Turn("user" if role == "user" else "assistant", text) for role, text in turns if role != "system"]


class Queries:
    """Gives prompts that are dialogs their queries; other prompts stay as they are.

    load  makes the rewriter when the first dialog needs it; None: the last turn is the query
    n     queries of a dialog at most
    """

    def __init__(self, load: Callable[[], Rewrites] | None = None, n: int = 1, on_note: OnNote = ignore) -> None:
        self.load, self.n, self.on_note = load, n, on_note
        self._rewriter: Rewrites | None = None
        self._told = 0

    def of(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """The prompts, each dialog with its queries. All are rewritten at once."""
        asked = [prompt for prompt in prompts if prompt.turns and prompt.rewrite is None]
        made = dict(zip((prompt.id for prompt in asked), self._records(asked), strict=True))
        return [_with(prompt, made.get(prompt.id, prompt.rewrite)) for prompt in prompts]

    def one_by_one(self, prompts: Iterable[Prompt]) -> Iterator[Prompt]:
        for prompt in prompts:
            yield from self.of([prompt])

    def _records(self, prompts: Sequence[Prompt]) -> list[QueryRecord]:
        if not prompts:
            return []
        if self.load is None:
            self._tell("a dialog is searched for with its last turn; --rewrite MODEL has a query written", once=True)
            return [_record(prompt, [prompt.turns[-1][1]], True, "last turn") for prompt in prompts]
        self._rewriter = self._rewriter or self.load()
        rewrites = self._rewriter.rewrite([_turns(prompt.turns) for prompt in prompts], n=self.n)
        records = []
        for prompt, made in zip(prompts, rewrites, strict=True):
            records.append(_record(prompt, list(made.queries), made.search, made.how, made.note))
            if made.note:
                self._tell(f"prompt {prompt.id}: {made.note}")
        return records

    def _tell(self, text: str, *, once: bool = False) -> None:
        self._told += 1
        if self._told <= (1 if once else SHOWN):
            self.on_note(text)


def loader(rewriter: str | Path | Rewrites | None, device: str, dtype: str) -> Callable[[], Rewrites] | None:
    """For `Queries`: what gives the rewriter, loaded by its name if it is one."""
    if rewriter is None:
        return None
    if not isinstance(rewriter, str | Path):
        return lambda: rewriter

    def load() -> Rewrites:
        from ttft.q2d.rewriter import load_rewriter

        return load_rewriter(rewriter, device=device, dtype=dtype)

    return load


def _record(prompt: Prompt, queries: list[str], search: bool, how: str, note: str = "") -> QueryRecord:
    return QueryRecord(prompt.id, sha256_text(prompt.text), queries, search, how, note)


def _with(prompt: Prompt, rewrite: QueryRecord | None) -> Prompt:
    return prompt if rewrite is None else Prompt(prompt.id, prompt.text, prompt.subset, prompt.turns, rewrite)


def recorded_queries(
    folder: Path, prompts: Sequence[Prompt], queries: Queries, on_progress: OnProgress = ignore
) -> list[Prompt]:
    """`Queries.of` for a run: queries that are recorded in its folder are taken from there, new ones are recorded.

    Raises CorpusError for a prompt whose dialog is not the one that was rewritten.
    """
    dialogs = [prompt for prompt in prompts if prompt.turns]
    if not dialogs:
        return list(prompts)
    path = folder / REWRITES
    known = {record.prompt_id: record for record in read_records(path, QueryRecord, key=lambda one: one.prompt_id)}
    for prompt in dialogs:
        if prompt.id in known and known[prompt.id].text_sha256 != sha256_text(prompt.text):
            raise CorpusError(f"prompt {prompt.id} differs from the dialog in {path}", "choose another --out")
    todo = [prompt for prompt in dialogs if prompt.id not in known]
    with JsonLines(path) as log:
        for begin in range(0, len(todo), TOGETHER):
            made = [p.rewrite for p in queries.of(todo[begin : begin + TOGETHER]) if p.rewrite is not None]
            log.append(*(record.to_json() for record in made))
            known |= {record.prompt_id: record for record in made}
            on_progress(Progress("rewriting", begin + len(made), len(todo), "dialogs"))
    asked = [known[prompt.id] for prompt in dialogs]
    unsearched, failed = sum(not r.search for r in asked), sum(bool(r.note) for r in asked)
    queries.on_note(
        f"{counted(len(asked), 'dialog')}: {unsearched:,} without a search, {failed:,} with the last turn in place of "
        f"the model's query; queries: {path}"
    )
    return [_with(prompt, known.get(prompt.id)) for prompt in prompts]
