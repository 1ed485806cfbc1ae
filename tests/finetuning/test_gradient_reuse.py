"""Gradient reuse: plain Adam that is handed the cached gradient again, in its own slot only, and fewer passes."""

from __future__ import annotations

import pytest
import torch
from small import byte_tokenizer, sentences, tiny_gpt2

from ttft.evaluation import encode, score
from ttft.finetuning.engine import PromptTexts, finetune_prompts
from ttft.finetuning.full import FullLearner
from ttft.finetuning.gradient_reuse import computed
from ttft.finetuning.lora import LoraLearner

A, B, C = (sentences(1, seed) for seed in (1, 2, 3))
TEXTS = [A, A, A, B, A, A, B, B, B, B, B, C]


def full(**options) -> FullLearner:
    return FullLearner(tiny_gpt2(128), **{"lr": 1e-3} | options)


def lora(slots: int = 1, **options) -> LoraLearner:
    return LoraLearner(tiny_gpt2(128), **{"rank": 4, "lr": 1e-2, "slots": slots} | options)


def finetune(learner, jobs, **options) -> dict:
    options = {"max_length": 128, "prefix_token": 0} | options
    return {trace.key: trace for trace in finetune_prompts(learner, byte_tokenizer(), jobs, **options)}


def scorer(key, model) -> float:
    return score(model, encode(byte_tokenizer(), sentences(1, 99))).nats


@pytest.mark.parametrize(
    ("reuse", "expected"), [(1, "111111111111"), (2, "101110101011"), (3, "100110100101"), (99, "100110100001")]
)
def test_every_rth_repeat_in_a_row_computes(reuse, expected):
    assert "".join(str(int(c)) for c in computed(TEXTS, reuse)) == expected
    assert computed([], reuse) == []


def loss_of(model, weights: dict, text: str) -> torch.Tensor:
    ids = torch.tensor([[0, *byte_tokenizer()(text)["input_ids"]]])
    logits = torch.func.functional_call(model, weights, (ids[:, :-1],)).logits[0]
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:])


def by_hand(model, trained: dict, weights_of, lr: float, reuse: int) -> list[float]:
    """The losses of TEXTS as Adam takes the steps, the gradient of a repeat taken from a cache."""
    adam = torch.optim.Adam(trained.values(), lr=lr)
    losses, repeats = [], 0
    for place, text in enumerate(TEXTS):
        repeats = repeats + 1 if place and TEXTS[place - 1] == text else 0
        if repeats % reuse == 0:
            loss = loss_of(model, weights_of(), text)
            cache = torch.autograd.grad(loss, list(trained.values()))
        for parameter, gradient in zip(trained.values(), cache, strict=True):
            parameter.grad = gradient.clone()
        adam.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("reuse", [1, 2, 3])
def test_full_equals_a_loop_with_a_cache(reuse):
    model = tiny_gpt2(128)
    expected = by_hand(model, dict(model.named_parameters()), dict, 1e-3, reuse)
    trace = finetune(full(), [PromptTexts("a", TEXTS)], reuse=reuse, scorer=scorer)["a"]
    assert trace.losses == pytest.approx(expected, rel=1e-5)
    assert trace.scores[len(TEXTS)] == pytest.approx(scorer("a", model), rel=1e-5)


@pytest.mark.parametrize("reuse", [1, 2, 3])
def test_lora_equals_a_loop_with_a_cache(reuse):
    """The adapted weights are W + A B, put together by hand."""
    learner, model = lora(), tiny_gpt2(128)
    adapters = learner.adapters
    trained = {
        name: adapters.start[part.begin : part.end].view(part.shape).clone().requires_grad_()
        for name, part in adapters.parts.items()
    }
    frozen = dict(model.requires_grad_(False).named_parameters())

    def weights_of() -> dict:
        layers = {name.removesuffix(".A") for name in trained if name.endswith(".A")}
        return {f"{n}.weight": frozen[f"{n}.weight"] + trained[f"{n}.A"] @ trained[f"{n}.B"] for n in layers}

    expected = by_hand(model, trained, weights_of, 1e-2, reuse)
    trace = finetune(learner, [PromptTexts("a", TEXTS)], reuse=reuse, scorer=scorer)["a"]
    assert trace.losses == pytest.approx(expected, rel=1e-5)
    model.load_state_dict(weights_of(), strict=False)
    assert trace.scores[len(TEXTS)] == pytest.approx(scorer("a", model), rel=1e-5)


@pytest.mark.parametrize("make", [full, lora])
def test_without_repeats_or_with_one_nothing_changes(make):
    options = {"scorer": scorer, "score_at": (0, 3)}
    plain = finetune(make(), [PromptTexts("a", TEXTS)], **options)["a"]
    one = finetune(make(), [PromptTexts("a", TEXTS)], reuse=1, **options)["a"]
    assert (one.losses, one.scores, one.gradients) == (plain.losses, plain.scores, len(TEXTS))
    alternating = [PromptTexts("a", [A, B] * 3)]
    assert finetune(make(), alternating, reuse=2)["a"].losses == finetune(make(), alternating)["a"].losses


@pytest.mark.parametrize("make", [full, lora])
def test_a_repeated_step_costs_no_pass_and_says_the_last_loss(make):
    learner, seen = make(), []
    inner = learner.step
    learner.step = lambda batch, factors=None: (seen.append(factors[0]), inner(batch, factors))[1]
    trace = finetune(learner, [PromptTexts("a", [A] * 5)], reuse=2, warm_down=0.2, scorer=scorer, score_at=range(6))[
        "a"
    ]
    assert len(seen) == trace.gradients == 3 and seen == pytest.approx([1.0, 0.6, 0.2])
    assert trace.losses[0] == trace.losses[1] != trace.losses[2] == trace.losses[3] != trace.losses[4]
    assert len(set(trace.scores.values())) == 6  # every step moves the weights


def test_slots_change_nothing():
    """Prompts whose repeats begin in different rounds, side by side and alone."""
    jobs = [PromptTexts(f"p{i}", [*TEXTS[i:], *TEXTS[:i]][: 4 + i]) for i in range(7)]
    options = {"reuse": 2, "scorer": scorer, "score_at": (0, 2)}
    alone, together = finetune(lora(), jobs, **options), finetune(lora(3), jobs, **options)
    plain = finetune(lora(3), jobs, scorer=scorer)
    for key, trace in alone.items():
        assert together[key].losses == pytest.approx(trace.losses, rel=1e-5)
        assert together[key].gradients == trace.gradients < len(trace.losses)
        assert list(together[key].scores.values()) == pytest.approx(list(trace.scores.values()), rel=1e-5)
        assert list(plain[key].scores.values())[-1] != list(trace.scores.values())[-1]


def test_neighbours_keep_their_weights_while_a_slot_repeats():
    learner, other = lora(3), lora(3)
    jobs = [PromptTexts("same", [A] * 6), PromptTexts("x", [B, C, B]), PromptTexts("y", [C, B, C])]
    reused, plain = finetune(learner, jobs, reuse=3), finetune(other, jobs)
    assert reused["x"].losses == pytest.approx(plain["x"].losses, rel=1e-5)
    before = learner.adapters.values.clone()
    learner.repeat({1: 1.0})
    assert torch.equal(learner.adapters.values[[0, 2]], before[[0, 2]])
