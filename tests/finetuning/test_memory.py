"""The memory formula, against what a pass keeps for its backward pass and what the adapters hold."""

from __future__ import annotations

import pytest
import torch
from finetuning.models import FAMILIES, gpt2
from small import byte_tokenizer, sentences

from ttft.finetuning import memory
from ttft.finetuning.lora import LoraLearner
from ttft.finetuning.texts import make_batch, tokenise

WINDOW = 64


def kept_bytes(learner: LoraLearner, batch) -> int:
    """Bytes of all tensors that autograd keeps in a pass, the frozen weights left out, each storage once."""
    frozen = {p.untyped_storage().data_ptr() for p in learner.model.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in frozen:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        learner.adapters.rows(batch.slots, learner.dtype, train=True),
    ):
        nats = learner._nats(batch.inputs, batch.targets)
        held = sum(storages.values())
        del nats
    return held


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", FAMILIES)
def test_a_pass_keeps_what_the_formula_says(make, dtype):
    """At most, and (for GPT-2, whose layers the formula spells out) at least two thirds of it; linear in texts."""
    for texts in (1, 3, 8):
        learner = LoraLearner(make(), slots=8, rank=4, window=WINDOW, dtype=dtype, score_dtype=dtype)
        long = tokenise(byte_tokenizer(), sentences(9, 1)[:WINDOW], WINDOW, 0)
        batch = make_batch(dict.fromkeys(range(texts), long))
        stated = memory.pass_bytes(learner.token_numbers, batch.inputs.numel(), learner.count, texts, dtype)
        held = kept_bytes(learner, batch)
        assert held <= (1.0 if make is gpt2 else 1.7) * stated
        assert held >= 0.6 * stated


def test_adapters_hold_sixteen_bytes_a_number():
    learner = LoraLearner(gpt2(), slots=5, rank=4)
    learner.step(make_batch({slot: tokenise(byte_tokenizer(), "some text", WINDOW, 0) for slot in range(5)}))
    tensors = [learner.adapters.values, learner.adapters.gradients]
    for optimiser in learner.adapters._optimisers:
        tensors += [t for state in optimiser.state.values() for k, t in state.items() if k != "step"]
    assert sum(t.numel() * t.element_size() for t in tensors) == memory.BYTES_PER_NUMBER * learner.count * 5


def test_what_fits_follows_the_free_memory():
    assert memory.slots_that_fit(10**6, 64 * 10**6 * 3, "cpu") == 3
    assert memory.slots_that_fit(10**6, 1, "cpu") == 1 and memory.slots_that_fit(10, 10**12, "cpu") == 16
    assert memory.tokens_that_fit(1000, 4 * 2 * 1000 * 50, "cpu", torch.bfloat16) == 50
    assert memory.tokens_that_fit(1000, 1, "cuda", torch.float32) == 1
    learner = LoraLearner(gpt2(), slots=None, prompts=3, rank=4, window=WINDOW)
    assert learner.slots == 3 and 1 <= learner.pass_tokens <= 4096
