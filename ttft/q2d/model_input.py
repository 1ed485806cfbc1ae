"""How a query model reads a dialog: the same tokens in training and in use.

The dialog is the text of `text.model_text`, truncated from the left, so that the last turn always survives. A causal
model reads it in its chat template, with the instruction as the system's message, and answers with the query; without a
template, it reads instruction, dialog and "Query:". A seq2seq model reads the dialog alone.

Text of a dialog is tokenised as plain text: what looks like a special token there is none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from jinja2 import TemplateError
from pydantic import Field

from ttft.errors import MissingArtifact
from ttft.files import write_whole
from ttft.state import STRICT, read_json, record

FILE = "q2d.json"
INSTRUCTION = "Write the search query for the last user turn of this dialog, complete by itself."
OR_NONE = "Write NONE if there is nothing to search for."
LONGEST_CHARACTERS = 40_000  # of a dialog, before it is tokenised: far more than any window of a query model holds
_PLACE = "[[DIALOG]]"


@dataclass(frozen=True)
class QueryFormat:
    """What a trained query model needs to know about its input and output; q2d.json in its folder.

    base, revision  of the model that the adapter belongs to, as finetuning.model takes it; of a seq2seq model only told
    no_search       whether it was trained to write records.NO_SEARCH
    """

    __pydantic_config__: ClassVar = STRICT

    kind: Literal["causal", "seq2seq"]
    base: str
    revision: str | None = None
    instruction: str = INSTRUCTION
    max_source_tokens: Annotated[int, Field(ge=16, le=1_000_000)] = 512
    max_target_tokens: Annotated[int, Field(ge=4, le=100_000)] = 64
    no_search: bool = False

    def save(self, folder: Path) -> None:
        text = json.dumps({"schema": 1} | asdict(self), indent=2, ensure_ascii=False)
        write_whole(folder / FILE, (text + "\n").encode())


def read_format(folder: Path) -> QueryFormat:
    """Raises MissingArtifact for a folder without a query model, or one of another schema."""
    path = folder / FILE
    if not path.is_file():
        raise MissingArtifact(f"{folder} holds no query model: there is no {FILE}", "make one with `ttft q2d train`")
    value = read_json(path)
    if not isinstance(value, dict) or value.pop("schema", None) != 1:
        raise MissingArtifact(f"{path} is not of schema 1", "train the query model again with `ttft q2d train`")
    return record(QueryFormat, value, str(path), MissingArtifact)


def prompt_ids(form: QueryFormat, tokenizer: Any, dialog: str) -> list[int]:
    """What a model reads before it writes the query of a dialog, as token ids."""
    head, tail = _frame(form, tokenizer)
    before, after = _ids(tokenizer, head), _ids(tokenizer, tail)
    return before + source_ids(form, tokenizer, dialog) + after


def source_ids(form: QueryFormat, tokenizer: Any, dialog: str) -> list[int]:
    """The dialog's own tokens, the last `max_source_tokens` of them."""
    text = dialog[-LONGEST_CHARACTERS:]
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return ids[-form.max_source_tokens :]


def target_ids(form: QueryFormat, tokenizer: Any, query: str) -> list[int]:
    """The query's tokens and the end token. A query that is too long loses its end, and has no end token."""
    ids = tokenizer(query, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id][: form.max_target_tokens]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"] if text else []


def _frame(form: QueryFormat, tokenizer: Any) -> tuple[str, str]:
    """What stands before and after the dialog."""
    if form.kind == "seq2seq":
        return "", tokenizer.eos_token or ""
    if not getattr(tokenizer, "chat_template", None):
        start = tokenizer.bos_token or ""
        return f"{start}{form.instruction}\n\n", "\nQuery:"
    messages = [{"role": "system", "content": form.instruction}, {"role": "user", "content": _PLACE}]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except TemplateError:  # of templates without a system's message
        one = [{"role": "user", "content": f"{form.instruction}\n\n{_PLACE}"}]
        text = tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True)
    head, _, tail = text.partition(_PLACE)
    return head, tail
