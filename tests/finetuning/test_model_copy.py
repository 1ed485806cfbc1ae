"""A model that a learner was given computes what it computed, with its own flags; its weights are stored once."""

from __future__ import annotations

import pytest
import torch
from finetuning.models import FAMILIES, gpt2
from small import byte_tokenizer, sentences

from ttft.finetuning.engine import PromptTexts, finetune_prompts
from ttft.finetuning.full import FullLearner
from ttft.finetuning.lora import LoraLearner, tied
from ttft.finetuning.model_copy import private_copy, sharing_copy

IDS = torch.arange(20)[None]


def facts(model) -> dict:
    """All that a user could see of a model, but not its outputs."""
    return {
        "modules": [(name, type(module), module.training, id(module)) for name, module in model.named_modules()],
        "weights": [(n, id(p), p.data_ptr(), p.requires_grad, p.dtype) for n, p in model.named_parameters()],
        "config": model.config.to_dict() | {"attention": model.config._attn_implementation},
    }


@pytest.mark.parametrize("kind", ["lora", "vocabulary", "bf16", "full"])
@pytest.mark.parametrize("make", FAMILIES)
def test_the_model_given_stays_as_it_was(make, kind):
    model = make().train()
    next(model.parameters()).requires_grad_(False)
    before, weights = facts(model), {name: p.detach().clone() for name, p in model.named_parameters()}

    def logits() -> torch.Tensor:
        return model.eval()(input_ids=IDS).logits.detach()

    expected = logits()
    model.train()
    if kind == "full":
        learner = FullLearner(model, lr=1e-3)
    else:
        more = {"vocabulary": {"vocabulary": "lora"}, "bf16": {"dtype": torch.bfloat16}}.get(kind, {})
        learner = LoraLearner(model, rank=4, lr=1e-2, slots=2, **more)
    assert facts(model) == before
    jobs = [PromptTexts(f"p{i}", [sentences(1, i)] * 2) for i in range(3)]
    for trace in finetune_prompts(learner, byte_tokenizer(), jobs, max_length=64, prefix_token=0):
        with torch.no_grad(), learner.scoring(trace.slot) as tuned:
            assert not torch.equal(tuned(input_ids=IDS).logits, expected)
        assert torch.equal(logits(), expected)
        model.train()
    assert facts(model) == before and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("make", FAMILIES)
def test_a_learner_stores_no_weight_twice(make):
    model = make()
    own = {p.data_ptr() for p in [*model.parameters(), *model.buffers()]}
    learner = LoraLearner(model, rank=4)
    assert {p.data_ptr() for p in [*learner.model.parameters(), *learner.model.buffers()]} == own
    assert learner.model is learner.scorer
    other = LoraLearner(model, rank=4, score_dtype=torch.bfloat16)  # a second copy only where another dtype needs one
    assert {p.data_ptr() for p in other.model.parameters()} <= own and other.scorer.dtype == torch.bfloat16


@pytest.mark.parametrize("copy", [sharing_copy, private_copy])
@pytest.mark.parametrize("make", FAMILIES)
def test_a_copy_computes_the_same_and_ties_what_was_tied(make, copy):
    model = make()
    one = copy(model)
    assert tied(one) == tied(model) and not one.training
    assert [name for name, _ in one.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert torch.equal(one(input_ids=IDS).logits, model(input_ids=IDS).logits)
    assert not {id(m) for m in one.modules()} & {id(m) for m in model.modules()}
    assert one.config is not model.config and all(m.config is one.config for m in one.modules() if hasattr(m, "config"))


def test_an_interrupted_full_learner_has_touched_nothing():
    model = gpt2()
    before = [p.detach().clone() for p in model.parameters()]
    jobs = [PromptTexts("a", [sentences(1, 0)] * 2)]
    traces = finetune_prompts(FullLearner(model, lr=1e-2), byte_tokenizer(), jobs, max_length=64, prefix_token=0)
    next(traces)
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
