"""LoRA in many slots: the numbers of PEFT, the same alone and among others, and back to the start bit for bit."""

from __future__ import annotations

import pytest
import torch
from finetuning.models import FAMILIES, gpt2, llama
from small import byte_tokenizer, sentences

from ttft.errors import ConfigError
from ttft.finetuning.lora import LoraLearner, projections
from ttft.finetuning.loss import IGNORED
from ttft.finetuning.texts import make_batch, tokenise

BOTH = ["off", "lora"]


def text(seed: int, lines: int = 1):
    return tokenise(byte_tokenizer(), sentences(lines, seed), 64, 0)


def learner(make=gpt2, slots: int = 1, **options) -> LoraLearner:
    return LoraLearner(make(), **{"rank": 4, "lr": 1e-2, "slots": slots} | options)


def train(one: LoraLearner, texts: list, slot: int = 0) -> list[float]:
    return [one.step(make_batch({slot: t}))[0] for t in texts]


def logits(one: LoraLearner, slot: int = 0) -> torch.Tensor:
    with torch.no_grad(), one.scoring(slot) as model:
        return model(input_ids=torch.arange(20)[None]).logits.clone()


@pytest.mark.parametrize("vocabulary", BOTH)
@pytest.mark.parametrize("make", FAMILIES)
def test_starts_as_the_base_learns_and_goes_back_bit_for_bit(make, vocabulary):
    with torch.no_grad():
        base = make()(input_ids=torch.arange(20)[None]).logits
    one = learner(make, vocabulary=vocabulary)
    frozen = {k: v.clone() for k, v in one.model.state_dict().items()}
    start = logits(one)
    assert torch.allclose(base, start, atol=1e-5)
    for _ in range(2):
        losses = train(one, [text(4)] * 8)
        assert losses[-1] < losses[0] - 0.01
        one.reset(0)
        assert torch.equal(logits(one), start) and torch.equal(one.adapters.values[0], one.adapters.start)
    assert all(torch.equal(value, frozen[name]) for name, value in one.model.state_dict().items())
    assert all(p.grad is None for p in one.model.parameters())


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("make", FAMILIES)
def test_twenty_steps_equal_peft_with_torch_adam(make, rslora):
    """Same A at the start, same texts: the losses of 20 steps agree with PEFT to 1e-5 relative, in float32."""
    peft = pytest.importorskip("peft")
    texts = [text(i, lines=1 + i % 2) for i in range(20)]
    one = learner(make, alpha=8, rslora=rslora)
    names = sorted({name for _, _, name, _ in projections(make())})
    config = peft.LoraConfig(
        r=4, lora_alpha=8, use_rslora=rslora, target_modules=names, lora_dropout=0.0, task_type="CAUSAL_LM",
        fan_in_fan_out=make is gpt2,
    )  # fmt: skip
    theirs = peft.get_peft_model(make(), config).eval()
    with torch.no_grad():
        for name, module in theirs.named_modules():
            if hasattr(module, "lora_A") and "default" in module.lora_A:
                part = one.adapters.parts[name.removeprefix("base_model.model.") + ".A"]
                a = one.adapters.start[part.begin : part.end].view(part.shape)
                module.lora_A["default"].weight.copy_(a.t())
    adam = torch.optim.Adam([p for p in theirs.parameters() if p.requires_grad], lr=1e-2)
    expected = []
    for t in texts:
        batch = make_batch({0: t})
        out = theirs(input_ids=batch.inputs).logits
        loss = torch.nn.functional.cross_entropy(out.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)
        loss.backward()
        adam.step()
        adam.zero_grad()
        expected.append(loss.item())
    assert train(one, texts) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("vocabulary", BOTH)
@pytest.mark.parametrize("make", [gpt2, llama])
def test_sixteen_side_by_side_equal_sixteen_alone(make, vocabulary):
    """Texts of other lengths beside it, and of several windows, change a prompt by no more than 1e-5."""
    texts = {slot: [text(100 * slot + i, lines=1 + (slot + i) % 3) for i in range(20)] for slot in range(16)}
    together = learner(make, slots=16, vocabulary=vocabulary)
    rounds = [together.step(make_batch({s: t[i] for s, t in texts.items()})) for i in range(20)]
    for slot, own in texts.items():
        alone = learner(make, vocabulary=vocabulary)
        assert [losses[slot] for losses in rounds] == pytest.approx(train(alone, own), rel=1e-5)
        assert torch.allclose(logits(together, slot), logits(alone), rtol=1e-3, atol=1e-4)


def test_slots_in_any_order_and_some_left_out():
    one, other = learner(slots=3), learner(slots=3)
    for order in ([2, 0], [1], [0, 1, 2], [2]):
        one.step(make_batch({slot: text(slot) for slot in order}))
    for slot, steps in ((0, 2), (1, 2), (2, 3)):
        train(other, [text(slot)] * steps, slot)
        assert torch.allclose(one.adapters.values[slot], other.adapters.values[slot], atol=1e-5)


def test_reset_of_one_slot_leaves_the_others():
    one = learner(slots=3)
    for _ in range(3):
        one.step(make_batch({slot: text(slot) for slot in range(3)}))
    before = one.adapters.values.clone()
    one.reset(1)
    assert torch.equal(one.adapters.values[[0, 2]], before[[0, 2]])
    assert torch.equal(one.adapters.values[1], one.adapters.start)
    after = one.step(make_batch({slot: text(7) for slot in range(3)}))
    assert after[1] == pytest.approx(train(learner(), [text(7)])[0], rel=1e-6)  # a fresh Adam, too
    assert torch.allclose(one.adapters.values[1], _trained_once(text(7)), atol=1e-6)


def _trained_once(t) -> torch.Tensor:
    one = learner()
    train(one, [t])
    return one.adapters.values[0]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_touches_no_neighbour(number):
    one, well = learner(slots=3, vocabulary="lora"), learner(slots=3, vocabulary="lora")
    texts = {slot: text(slot, lines=1 + slot) for slot in range(3)}
    one.adapters.values[1] = number
    sick = [one.step(make_batch(texts)) for _ in range(3)]
    sound = [well.step(make_batch(texts)) for _ in range(3)]
    for a, b in zip(sick, sound, strict=True):
        assert not torch.isfinite(torch.tensor(a[1])) and [a[0], a[2]] == pytest.approx([b[0], b[2]], rel=1e-6)
    assert torch.allclose(one.adapters.values[[0, 2]], well.adapters.values[[0, 2]], atol=1e-6)
    one.reset(1)
    assert one.step(make_batch({1: texts[1]})) == pytest.approx(train(learner(vocabulary="lora"), [texts[1]]), rel=1e-6)


def test_the_update_can_be_scaled_and_none_of_it_is_the_base():
    one = learner(vocabulary="lora")
    start = logits(one)
    train(one, [text(1)] * 5)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        with one.scoring(0, scale=0.0) as model:
            assert torch.allclose(model(input_ids=ids).logits, start, atol=1e-6)
        with one.scoring(0, scale=0.5) as model:
            half = model(input_ids=ids).logits.clone()
    assert (half - start).norm() < (logits(one) - start).norm()


def test_factors_of_the_rate_are_those_of_adam():
    one = learner()
    one.step(make_batch({0: text(1)}))
    moved = one.adapters.values[0] - one.adapters.start
    one.reset(0)
    one.step(make_batch({0: text(1)}), {0: 0.25})
    assert torch.allclose(one.adapters.values[0] - one.adapters.start, 0.25 * moved, atol=1e-7)


def test_lora_sits_on_attention_and_mlp_and_not_on_the_head():
    assert len(learner().adapters.parts) == 2 * 2 * 4  # A and B, two blocks, c_attn c_proj c_fc c_proj
    assert len(learner(llama).adapters.parts) == 2 * 2 * 7  # q k v o gate up down


def test_tied_vocabulary_shares_one_pair_untied_has_two():
    assert len(learner(vocabulary="lora").adapters.parts) == 2 * 2 * 4 + 2
    assert len(learner(llama, vocabulary="lora").adapters.parts) == 2 * 2 * 7 + 4


def test_bf16_steps_keep_float32_adapters_and_scores():
    one = learner(vocabulary="lora", dtype=torch.bfloat16)
    assert one.adapters.values.dtype == torch.float32 and logits(one).dtype == torch.float32
    losses = train(one, [text(4)] * 8)
    assert losses[-1] < losses[0]
    exact = learner(vocabulary="lora")
    assert losses == pytest.approx(train(exact, [text(4)] * 8), rel=0.02)
    half = learner(vocabulary="lora", dtype=torch.bfloat16, score_dtype=torch.bfloat16)
    train(half, [text(4)])
    assert logits(half).dtype == torch.bfloat16 and half.model.lm_head.weight.dtype == torch.bfloat16


def test_same_seed_same_adapter():
    one, two, other = (learner(seed=seed).adapters.start for seed in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_a_model_without_projections_is_refused():
    model = gpt2()
    model.transformer.h = torch.nn.ModuleList()
    with pytest.raises(ConfigError, match="no linear projection"):
        LoraLearner(model)


@pytest.mark.gpu
def test_gpu_equals_cpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    texts = {slot: text(slot, lines=1 + slot) for slot in range(4)}
    runs = []
    for device in ("cpu", "cuda"):
        one = LoraLearner(gpt2().to(device), slots=4, rank=4, vocabulary="lora", lr=1e-3)
        runs.append([loss for _ in range(5) for loss in one.step(make_batch(texts))])
    assert runs[1] == pytest.approx(runs[0], rel=1e-4)
