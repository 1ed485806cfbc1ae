"""Bits per byte: sums of nats and bytes, never only their ratio.

    BPB = sum of nats / (ln 2 * sum of UTF-8 bytes of exactly the scored text)

Every token is predicted once. One prefix token (BOS if the tokenizer has one, else EOS) precedes the first; texts
longer than the model's window roll over disjoint windows, of which the last is slid back to be full. This is the
rolling log-likelihood of lm-evaluation-harness (lm_eval.utils.get_rolling_token_windows, context_len 1), and tests
compare the two. Nothing is truncated.

In suffix scoring the model is conditioned on the prefix and only the suffix is counted. The two are tokenised
separately, so that the cut is at the same byte for every tokenizer, and the first window keeps as much of the prefix as
fits, at least half a window.

A context of other texts (the in-context baseline) is placed in every window, after its own prefix token: if it were
only in the first, most of a long text would not see it. It may take the room that the text itself leaves, and at least
half a window; a text that needs more windows because of it sees less of itself. Its tokens are never counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttft.errors import ConfigError
from ttft.runtime import autocast


@dataclass(frozen=True)
class Score:
    """Negative log-likelihood (nats) of `tokens` tokens that spell `bytes` bytes of UTF-8."""

    nats: float
    bytes: int
    tokens: int

    @property
    def bpb(self) -> float:
        return self.nats / (math.log(2) * self.bytes)


@dataclass(frozen=True)
class Encoded:
    """A text ready to be scored: ids with one prefix token in front; ids[start:] are scored, start >= 1.

    context  ids of other texts, placed after the prefix token of every window
    """

    ids: list[int]
    start: int
    bytes: int
    context: list[int] = field(default_factory=list)


def prefix_token(tokenizer: Any) -> int:
    """The token put before every text: BOS, else EOS. Raises ConfigError if the tokenizer has neither."""
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise ConfigError("the tokenizer has neither a BOS nor an EOS token, so no text's first token can be scored")
    return token


def window_of(model: Any) -> int:
    """The longest input of a model, from its configuration."""
    config = model.config
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        if getattr(config, name, None):
            return int(getattr(config, name))
    raise ConfigError(f"{type(model).__name__} does not state its longest input", "give --max-length")


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of exactly this text, without special ones."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def encode(tokenizer: Any, text: str, prefix: str = "") -> Encoded:
    """Tokenise without special tokens and put one prefix token in front; only `text` is scored, after `prefix`."""
    before = token_ids(tokenizer, prefix) if prefix else []
    ids = [prefix_token(tokenizer), *before, *token_ids(tokenizer, text)]
    return Encoded(ids, 1 + len(before), len(text.encode()))


def windows(length: int, start: int, window: int) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, first, end): feed ids[begin:end-1], count the predictions of ids[first:end]; end-1-begin <= window.

    Positions start..length-1 are each predicted once. The first window gives the context before `start` what room the
    scored tokens leave, and at least half a window if there is so much of it.
    """
    first, context = start, min(start, max(1, window // 2))
    while first < length:
        end = min(length, first + window + 1 - context)
        yield max(0, end - 1 - window), first, end
        first, context = end, 1


def context_room(encoded: Encoded, window: int) -> int:
    """Number of context tokens that a window may hold with this text: the room it leaves, at least half a window."""
    return max(window - (len(encoded.ids) - 1), window // 2)


def spans(encoded: Encoded, window: int) -> list[tuple[int, int, int]]:
    """The windows of a text, as in `windows`, small enough to be fed with its context.

    Where the whole text goes into one window, its own prefix token is the one before the context. Else every window has
    one more.
    """
    assert len(encoded.context) <= context_room(encoded, window)
    length, room = len(encoded.ids), window - len(encoded.context)
    if encoded.context and length - 1 > room:
        room -= 1
    return list(windows(length, encoded.start, room))


def fed(encoded: Encoded, begin: int, end: int) -> list[int]:
    """What a model is fed to predict ids up to `end`: ids[begin:end-1], after the prefix token and the context, if any.

    The last n positions of it predict ids[end-n:end].
    """
    if not encoded.context:
        return encoded.ids[begin : end - 1]
    return [encoded.ids[0], *encoded.context, *encoded.ids[max(1, begin) : end - 1]]


def split_prompt(text: str, fraction: float = 0.5) -> tuple[str, str]:
    """Cut a text once, at `fraction` of its characters or just after the last white space before it, if one is near.

    Returns (prefix, suffix); their concatenation is the text. The suffix of a text of one character is the text.
    """
    at = int(len(text) * fraction)
    for i in range(at, max(0, at - 40), -1):
        if text[i - 1].isspace():
            at = i
            break
    return text[:at], text[at:]


def score(
    model: Any, encoded: Encoded, *, max_length: int | None = None, batch_size: int = 8, dtype: Any = None
) -> Score:
    """Score one text under the model; `dtype` is the compute type (default: that of the weights).

    A text's score does not depend on other texts: only its own windows share a batch.
    """
    import torch

    window = max_length or window_of(model)
    parts = spans(encoded, window)
    device = next(model.parameters()).device
    was_training, nats = model.training, 0.0
    model.eval()
    with torch.inference_mode(), autocast(device.type, dtype):
        for i in range(0, len(parts), batch_size):
            nats += _score_windows(model, encoded, parts[i : i + batch_size], device)
    model.train(was_training)
    return Score(nats, encoded.bytes, len(encoded.ids) - encoded.start)


def _score_windows(model: Any, encoded: Encoded, parts: Sequence[tuple[int, int, int]], device: Any) -> float:
    """Nats of the counted tokens of some windows. Padding is on the right, where a causal model cannot see it."""
    import torch

    rows = [fed(encoded, begin, end) for begin, _, end in parts]
    width = max(map(len, rows))
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    inputs = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    logits = model(input_ids=inputs, attention_mask=torch.tensor(mask, device=device), use_cache=False).logits
    nats = 0.0
    for row, (_, first, end) in enumerate(parts):
        counted = logits[row, len(rows[row]) - (end - first) : len(rows[row])].float()
        targets = torch.tensor(encoded.ids[first:end], device=device)
        nats += torch.nn.functional.cross_entropy(counted, targets, reduction="none").double().sum().item()
    return nats


def bits_per_byte(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    max_length: int | None = None,
    *,
    prefixes: Sequence[str] | None = None,
    batch_size: int = 8,
    dtype: Any = None,
) -> list[Score]:
    """Per text: nats, bytes, tokens. The corpus value is sum(nats) / (ln 2 * sum(bytes)).

    model       any causal LM of transformers, scored in eval mode on the device it is on
    max_length  window in tokens; default: the model's longest input
    prefixes    per text: known text before it that conditions and is not scored
    Raises ValueError for an empty text: it has no bytes to divide by.
    """
    if not all(texts):
        raise ValueError("an empty text has no bits per byte")
    before = prefixes if prefixes is not None else [""] * len(texts)
    encodings = (encode(tokenizer, t, p) for t, p in zip(texts, before, strict=True))
    return [score(model, e, max_length=max_length, batch_size=batch_size, dtype=dtype) for e in encodings]
