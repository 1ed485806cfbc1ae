"""The in-context baseline: which texts stand before the prompt and in what order; where they stand; what is counted."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from small import byte_tokenizer, sentences, tiny_gpt2

from ttft.evaluation import Encoded, context_room, encode, fed, score, spans, token_ids
from ttft.tuner.in_context import contexts, fitting


def texts(*lengths: int) -> list[list[int]]:
    """Texts of these lengths; text i is made of the token i alone."""
    return [[i] * length for i, length in enumerate(lengths)]


def test_the_nearest_stands_last():
    assert contexts(texts(1, 1, 1), [0.2, 0.9, 0.5], 10, [])[3] == [0, 2, 1]
    assert contexts(texts(1, 1, 1), [0.5, 0.5, 0.5], 10, [])[3] == [2, 1, 0]  # equally near: the first chosen is last


def test_texts_are_dropped_whole_and_the_least_near_first():
    cosines = [0.9, 0.2, 0.8, 0.7]
    assert [fitting(texts(3, 3, 3, 3), cosines, room) for room in (12, 11, 8, 6, 5)] == [
        [0, 1, 2, 3], [0, 2, 3], [0, 2], [0, 2], [0],
    ]  # fmt: skip
    assert fitting(texts(2, 1, 9, 1), cosines, 8) == [0]  # none that is less near than one that was dropped


def test_of_one_that_does_not_fit_the_end_is_kept():
    assert contexts([[1, 2, 3, 4, 5], [6, 7]], [0.9, 0.1], 3, [1]) == {0: [], 1: [3, 4, 5]}


def test_a_text_chosen_twice_stands_once():
    assert contexts([[1, 2], [3], [1, 2], [1, 2]], [0.9, 0.5, 0.9, 0.9], 99, [3]) == {0: [], 2: [3, 1, 2]}


def test_fewer_texts_are_those_chosen_first_of_those_that_fit():
    made = contexts(texts(2, 50, 1, 3), [0.6, 0.1, 0.9, 0.8], 10, (0, 1, 2, 3, 9))
    assert made == {0: [], 1: [0, 0], 2: [0, 0, 2], 3: [0, 0, 3, 3, 3, 2]}
    assert contexts([], [], 5, [0, 1, 5]) == {0: []}


def test_every_scored_token_once_after_all_of_the_context():
    rng = random.Random(0)
    for _ in range(500):
        window, start = rng.randint(8, 40), rng.randint(1, 60)
        encoded = Encoded(list(range(1000, 1000 + start + rng.randint(1, 90))), start, 1)
        context = list(range(rng.randint(1, context_room(encoded, window))))
        encoded = replace(encoded, context=context)
        counted = []
        parts = spans(encoded, window)
        for begin, first, end in parts:
            row = fed(encoded, begin, end)
            assert row[: 1 + len(context)] == [1000, *context] and len(row) <= window
            own = row[1 + len(context) :]
            assert own == encoded.ids[end - 1 - len(own) : end - 1] and (first == 1 or len(own) >= end - first)
            counted += range(first, end)
        assert counted == list(range(start, len(encoded.ids)))
        if len(context) <= window - (len(encoded.ids) - 1):
            assert len(parts) == 1 and fed(encoded, *parts[0][::2])[1 + len(context) :] == encoded.ids[1:-1]


@pytest.mark.parametrize("lines", [1, 3])
@pytest.mark.parametrize("prefix", ["", sentences(1, 8)[:25], sentences(2, 9)])
def test_equals_scoring_token_by_token(lines, prefix):
    """Each token's log-likelihood from a pass of its own over prefix token, context and the text before it."""
    model, tokenizer, window = tiny_gpt2(96), byte_tokenizer(), 96
    encoded = encode(tokenizer, sentences(lines, 5)[: 50 * lines], prefix)
    context = token_ids(tokenizer, "stone river\n\n")
    expected = 0.0
    for begin, first, end in spans(replace(encoded, context=context), window):
        for place in range(first, end):
            ids = [0, *context, *encoded.ids[max(1, begin) : place]]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            expected -= torch.log_softmax(logits.double(), 0)[encoded.ids[place]].item()
    with_context = score(model, replace(encoded, context=context))
    assert with_context.nats == pytest.approx(expected, rel=1e-5)
    plain = score(model, encoded)
    assert (with_context.bytes, with_context.tokens) == (plain.bytes, plain.tokens)
    assert with_context.nats != plain.nats and score(model, replace(encoded, context=[])) == plain


def test_context_is_what_a_prefix_is_where_all_fits():
    model, tokenizer = tiny_gpt2(), byte_tokenizer()
    text, before = sentences(1, 5)[:20], "river stone cloud"
    as_prefix = score(model, encode(tokenizer, text, before))
    as_context = score(model, replace(encode(tokenizer, text), context=token_ids(tokenizer, before)))
    assert as_context.nats == pytest.approx(as_prefix.nats, rel=1e-6)


def test_a_copy_of_the_text_before_it_helps_a_model_that_can_copy():
    from ttft import embedded_model_path
    from ttft.finetuning.model import load_causal_lm

    model, tokenizer = load_causal_lm(str(embedded_model_path()))
    text = sentences(3, 5)
    encoded = encode(tokenizer, text)
    base, other, copy = (
        score(model, replace(encoded, context=token_ids(tokenizer, before))).nats
        for before in ("", sentences(3, 6) + "\n\n", text + "\n\n")
    )
    assert copy < 0.9 * base and copy < 0.95 * other
