"""The loss without logits in memory, and the attention: the values and gradients of the plain formulas."""

from __future__ import annotations

import pytest
import torch
from finetuning.models import FAMILIES, gpt2

from ttft.finetuning import attention
from ttft.finetuning import loss as module
from ttft.finetuning.loss import IGNORED, row_nats


def case(rows: int, length: int, adapter: bool, bias: bool):
    torch.manual_seed(rows + length)
    hidden, weight = torch.randn(rows, length, 8, dtype=torch.double), torch.randn(30, 8, dtype=torch.double)
    targets = torch.randint(0, 30, (rows, length))
    for row in range(rows):
        targets[row, length - row :] = IGNORED  # ever more padding; a row may be nothing but padding
    thin = torch.randn(rows, length, 3, dtype=torch.double) if adapter else None
    up = torch.randn(rows, 30, 3, dtype=torch.double) if adapter else None
    leaves = [x.requires_grad_() for x in (hidden, thin, up) if x is not None]
    return hidden, weight, targets, torch.randn(30, dtype=torch.double) if bias else None, thin, up, leaves


@pytest.mark.parametrize("chunk", [1 << 22, 31, 90])
@pytest.mark.parametrize(("adapter", "bias"), [(False, False), (True, False), (True, True), (False, True)])
def test_equals_cross_entropy_and_its_gradients(monkeypatch, chunk, adapter, bias):
    monkeypatch.setattr(module, "CHUNK", chunk)
    hidden, weight, targets, offset, thin, up, leaves = case(4, 7, adapter, bias)
    logits = hidden @ weight.t() + (0 if offset is None else offset) + (0 if thin is None else thin @ up.mT)
    nats = torch.nn.functional.cross_entropy(logits.mT, targets, ignore_index=IGNORED, reduction="none").sum(1)
    weights = torch.tensor([1.0, 0.5, 2.0, 0.1], dtype=torch.double)
    expected = torch.autograd.grad((nats * weights).sum(), leaves)
    ours = row_nats(hidden, weight, targets, bias=offset, thin=thin, up=up)
    assert torch.allclose(ours.double(), nats, rtol=1e-5)
    for a, b in zip(torch.autograd.grad((ours * weights).sum(), leaves), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)  # the softmax is float32


def test_nothing_but_padding_is_nothing():
    hidden = torch.randn(2, 3, 8, requires_grad=True)
    nats = row_nats(hidden, torch.randn(30, 8), torch.full((2, 3), IGNORED))
    nats.sum().backward()
    assert nats.tolist() == [0.0, 0.0] and not hidden.grad.any()


def test_a_row_that_is_not_finite_is_alone():
    hidden, weight, targets, _, thin, up, leaves = case(3, 5, True, False)
    sound = torch.autograd.grad(row_nats(hidden, weight, targets, thin=thin, up=up).sum(), leaves)
    with torch.no_grad():
        hidden[1, 0, 0] = float("nan")
    nats = row_nats(hidden, weight, targets, thin=thin, up=up)
    assert torch.isfinite(nats).tolist() == [True, False, True]
    for a, b in zip(torch.autograd.grad(nats.sum(), leaves), sound, strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])


@pytest.mark.parametrize("make", FAMILIES)
def test_attention_is_that_of_the_model(make):
    """Logits and gradients as with transformers' own eager attention, on every family, grouped queries too."""
    ids = torch.randint(0, 257, (3, 40), generator=torch.Generator().manual_seed(0))
    results = []
    for ours in (False, True):
        model = make()
        model.set_attn_implementation("eager")
        if ours:
            attention.use(model)
        out = model(input_ids=ids, use_cache=False).logits
        out.square().mean().backward()
        results.append((out.detach(), model.get_input_embeddings().weight.grad))
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_attention_reads_padding_and_long_texts_as_the_model_does(monkeypatch):
    plain, ours = gpt2(), gpt2()
    attention.use(ours)
    ids = torch.arange(40).view(2, 20)
    padding = torch.ones(2, 20, dtype=torch.long)
    padding[1, :7] = 0
    with torch.no_grad():
        a, b = (m(input_ids=ids, attention_mask=padding, use_cache=False).logits for m in (plain, ours))
        assert torch.allclose(a[0], b[0], atol=1e-5) and torch.allclose(a[1, 7:], b[1, 7:], atol=1e-5)
        monkeypatch.setattr(attention, "LONGEST", 10)
        a, b = (m(input_ids=ids, use_cache=False).logits for m in (plain, ours))
        assert torch.allclose(a, b, atol=1e-5)
