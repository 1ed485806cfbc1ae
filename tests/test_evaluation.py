"""Bits per byte: against lm-evaluation-harness, against a naive loop, and against what must hold of any measure."""

from __future__ import annotations

import math
import random

import pytest
import torch
from small import byte_tokenizer, sentences, tiny_gpt2

from ttft.evaluation import bits_per_byte, encode, score, split_prompt, windows

TEXTS = [
    sentences(1, 1),
    sentences(9, 2),  # longer than the window of 64
    "x",
    "naïve — 漢字 🙂 \r\n\x00 end\u2028",  # several bytes a character
    "a" * 64,  # exactly one window
    "b" * 65,
    "c" * 128,
    " leading and trailing blanks \n",
]


@pytest.fixture(scope="module")
def model():
    return tiny_gpt2()


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


def naive(model, tokenizer, text: str) -> float:
    """Nats by scoring each token alone, with the context that the windows give it."""
    ids = encode(tokenizer, text).ids
    nats = 0.0
    for begin, first, end in windows(len(ids), 1, model.config.n_positions):
        for place in range(first, end):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids[begin:place]])).logits[0, -1]
            nats -= torch.log_softmax(logits.double(), 0)[ids[place]].item()
    return nats


@pytest.mark.parametrize("text", TEXTS)
def test_equals_the_naive_loop(model, tokenizer, text):
    got = bits_per_byte(model, tokenizer, [text])[0]
    assert got.nats == pytest.approx(naive(model, tokenizer, text), rel=1e-5)
    assert got.bytes == len(text.encode()) and got.tokens == len(text.encode())
    assert got.bpb == pytest.approx(got.nats / math.log(2) / got.bytes)


def test_equals_lm_evaluation_harness(model, tokenizer, lm_folder):
    hflm = pytest.importorskip("lm_eval.models.huggingface", reason="lm-eval is in the [dev] extra")
    from lm_eval.api.instance import Instance

    harness = hflm.HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", dtype="float32", batch_size=1)
    requests = [Instance("loglikelihood_rolling", {}, (text,), i) for i, text in enumerate(TEXTS)]
    expected = harness.loglikelihood_rolling(requests, disable_tqdm=True)
    for text, theirs in zip(TEXTS, expected, strict=True):
        assert bits_per_byte(model, tokenizer, [text])[0].nats == pytest.approx(-theirs, rel=1e-4), text


def test_windows_equal_the_harness_for_any_length():
    utils = pytest.importorskip("lm_eval.utils", reason="lm-eval is in the [dev] extra")
    for length in range(1, 60):
        tokens = list(range(1, length + 1))
        for size in (1, 2, 7, 16):
            pairs = utils.get_rolling_token_windows(tokens, 0, size, 1)
            theirs = [utils.make_disjoint_window(p) for p in pairs]
            ids = [0, *tokens]
            for (begin, first, end), (context, counted) in zip(windows(length + 1, 1, size), theirs, strict=True):
                assert ids[first:end] == list(counted)
                assert [*ids[begin:first], *ids[first:end]][-len([*context, *counted]) :] == [*context, *counted]


def test_every_scored_token_once_and_no_window_too_long():
    rng = random.Random(0)
    for _ in range(500):
        start, size = rng.randint(1, 50), rng.randint(2, 20)
        length = start + rng.randint(1, 60)
        counted = []
        for begin, first, end in windows(length, start, size):
            assert begin < first < end and end - 1 - begin <= size
            counted += range(first, end)
        assert counted == list(range(start, length))
        begin, first, _ = next(windows(length, start, size))
        assert first - begin >= min(start, size // 2)  # the prefix is not lost


def test_a_uniform_model_gives_log_of_its_vocabulary(tokenizer):
    model = tiny_gpt2()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    got = bits_per_byte(model, tokenizer, ["twelve bytes"])[0]
    assert got.nats == pytest.approx(12 * math.log(257), rel=1e-6)


def test_suffix_is_conditioned_on_its_prefix(model, tokenizer):
    prefix, suffix = sentences(1, 5), sentences(1, 6)[:20]
    whole, alone = (
        bits_per_byte(model, tokenizer, [prefix[-30:] + suffix])[0],
        bits_per_byte(model, tokenizer, [prefix[-30:]])[0],
    )
    got = bits_per_byte(model, tokenizer, [suffix], prefixes=[prefix[-30:]])[0]
    assert got.bytes == len(suffix.encode())
    assert got.nats == pytest.approx(whole.nats - alone.nats, rel=1e-5)  # all in one window: the chain rule


def test_a_text_does_not_feel_its_neighbours_or_the_training_mode(model, tokenizer):
    alone = [bits_per_byte(model, tokenizer, [t])[0] for t in TEXTS]
    assert bits_per_byte(model, tokenizer, TEXTS) == alone
    model.train()
    assert bits_per_byte(model, tokenizer, TEXTS) == alone and model.training
    model.eval()


def test_a_shorter_window_scores_worse_on_long_text_and_batches_agree(model, tokenizer):
    encoded = encode(tokenizer, sentences(9, 2))
    one, eight = score(model, encoded, batch_size=1), score(model, encoded, batch_size=8)
    assert one.nats == pytest.approx(eight.nats, rel=1e-6)
    assert score(model, encoded, max_length=16).tokens == one.tokens


def test_split_prompt_loses_nothing_and_falls_on_white_space():
    text = sentences(4, 3)
    prefix, suffix = split_prompt(text)
    assert prefix + suffix == text and prefix[-1].isspace() and abs(len(prefix) / len(text) - 0.5) < 0.2
    assert split_prompt("abcdef" * 30)[0] == "abcdef" * 15
    assert split_prompt("a") == ("", "a")


def test_an_empty_text_is_refused(model, tokenizer):
    with pytest.raises(ValueError, match="empty"):
        bits_per_byte(model, tokenizer, ["fine", ""])
