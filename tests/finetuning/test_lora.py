"""LoRA: the same numbers as PEFT, the same start as the base, and back to the start bit for bit."""

from __future__ import annotations

import pytest
import torch
from small import byte_tokenizer, sentences, tiny_gpt2

from ttft.errors import ConfigError
from ttft.finetuning.engine import Job, finetune_prompts, text_windows
from ttft.finetuning.lora import attach_full, attach_lora, projections

KINDS = [("full", "off"), ("lora", "off"), ("lora", "lora"), ("lora", "full")]


def attach(model, method: str, vocabulary: str):
    return attach_full(model) if method == "full" else attach_lora(model, rank=4, vocabulary=vocabulary)


def tiny_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=257,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=64,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()


def train(trainable, texts, lr=1e-2):
    options = {"lr": lr, "max_length": 64, "prefix_token": 0}
    return next(iter(finetune_prompts(trainable, byte_tokenizer(), [Job("a", texts)], **options)))


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(20)[None]).logits


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
@pytest.mark.parametrize(("method", "vocabulary"), KINDS)
def test_starts_as_the_base_learns_and_goes_back_bit_for_bit(make, method, vocabulary):
    model = make()
    base = logits(model)
    trainable = attach(model, method, vocabulary)
    start = logits(model)
    assert torch.allclose(base, start, atol=1e-6)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    for _ in range(3):
        trace = train(trainable, [sentences(1, 4)] * 8)
        assert trace.losses[-1] < trace.losses[0] - 0.01  # it learns
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name
        assert torch.equal(logits(model), start)
        assert all(p.grad is None for p in trainable.parameters)


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
def test_twenty_steps_equal_peft_with_torch_adam(make):
    """Same A at the start, same texts: the losses of 20 steps agree with PEFT to 1e-5 relative, in float32."""
    peft = pytest.importorskip("peft")
    texts = [sentences(1, i) for i in range(20)]
    ours = attach_lora(make(), rank=4, alpha=8)
    names = sorted({name for _, name, _ in projections(make())})
    theirs = peft.get_peft_model(
        make(),
        peft.LoraConfig(r=4, lora_alpha=8, target_modules=names, lora_dropout=0.0, task_type="CAUSAL_LM",
                        fan_in_fan_out=make is tiny_gpt2),
    ).eval()  # fmt: skip
    thin = [m for m in theirs.modules() if hasattr(m, "lora_A") and "default" in m.lora_A]
    with torch.no_grad():
        for layer, (down, up) in zip(thin, zip(ours.parameters[::2], ours.parameters[1::2], strict=True), strict=True):
            layer.lora_A["default"].weight.copy_(down)
            layer.lora_B["default"].weight.copy_(up)
    adam = torch.optim.Adam([p for p in theirs.parameters() if p.requires_grad], lr=1e-2)
    expected = []
    for text in texts:
        inputs, targets = text_windows(byte_tokenizer(), text, 64, 0)
        out = theirs(input_ids=inputs).logits
        loss = torch.nn.functional.cross_entropy(out.flatten(0, 1), targets.flatten(), ignore_index=-100)
        loss.backward()
        adam.step()
        adam.zero_grad()
        expected.append(loss.item())
    assert train(ours, texts).losses == pytest.approx(expected, rel=1e-5)


def test_lora_sits_on_attention_and_mlp_and_not_on_the_head():
    trainable = attach_lora(tiny_gpt2(), rank=4)
    assert len(trainable.parameters) == 2 * 2 * 4  # A and B, two blocks, c_attn c_proj c_fc c_proj
    llama = attach_lora(tiny_llama(), rank=4)
    assert len(llama.parameters) == 2 * 2 * 7  # q k v o gate up down


def test_tied_vocabulary_shares_one_pair_untied_has_two():
    tied = attach_lora(tiny_gpt2(), rank=4, vocabulary="lora")
    assert len(tied.parameters) == 2 * 2 * 4 + 2
    untied = attach_lora(tiny_llama(), rank=4, vocabulary="lora")
    assert len(untied.parameters) == 2 * 2 * 7 + 4
    full = attach_lora(tiny_gpt2(), rank=4, vocabulary="full")
    assert len(full.parameters) == 2 * 2 * 4 + 1


def test_frozen_weights_in_bf16_keep_float32_adapters():
    model = tiny_gpt2().to(torch.bfloat16)
    trainable = attach_lora(model, rank=4, vocabulary="lora")
    assert all(p.dtype == torch.float32 for p in trainable.parameters)
    trace = train(trainable, [sentences(1, 4)] * 8)
    assert trace.losses[-1] < trace.losses[0]


def test_same_seed_same_adapter():
    one, two = attach_lora(tiny_gpt2(), seed=3), attach_lora(tiny_gpt2(), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters, two.parameters, strict=True))
    other = attach_lora(tiny_gpt2(), seed=4)
    assert not torch.equal(one.parameters[0], other.parameters[0])


def test_a_model_without_projections_is_refused():
    class Bare(torch.nn.Module):
        def get_output_embeddings(self):
            return None

    with pytest.raises(ConfigError, match="no linear projection"):
        attach_lora(Bare())
