"""The engine: plain Adam, one step a text, in order; a prompt's trace does not depend on the prompts before it."""

from __future__ import annotations

import pytest
import torch
from small import byte_tokenizer, sentences, tiny_gpt2

from ttft.evaluation import encode, score
from ttft.finetuning.engine import IGNORED, Job, finetune_prompts, text_windows
from ttft.finetuning.lora import attach_full, attach_lora

OPTIONS = {"lr": 1e-3, "max_length": 64, "prefix_token": 0}


def test_equals_a_hand_written_adam_loop():
    texts = [sentences(1, i) for i in range(5)]
    trace = next(iter(finetune_prompts(attach_full(tiny_gpt2()), byte_tokenizer(), [Job("a", texts)], **OPTIONS)))
    model = tiny_gpt2()
    moments = {id(p): (torch.zeros_like(p), torch.zeros_like(p)) for p in model.parameters()}
    for step, text in enumerate(texts, 1):
        loss = window_loss(model, text)
        assert trace.losses[step - 1] == pytest.approx(loss.item(), rel=1e-5)
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                m, v = moments[id(p)]
                m.mul_(0.9).add_(p.grad, alpha=0.1)
                v.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                p -= 1e-3 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
                p.grad = None


def window_loss(model, text: str) -> torch.Tensor:
    """Mean nats per token of a text in disjoint windows of 64, each token once."""
    ids = [0, *byte_tokenizer()(text)["input_ids"]]
    losses = []
    for start in range(0, len(ids) - 1, 64):
        part = torch.tensor([ids[start : start + 65]])
        out = model(input_ids=part[:, :-1]).logits[0]
        losses.append(torch.nn.functional.cross_entropy(out, part[0, 1:], reduction="sum"))
    return torch.stack(losses).sum() / (len(ids) - 1)


def test_a_prompt_does_not_feel_the_prompts_before_it():
    jobs = [Job(f"p{i}", [sentences(1, 10 * i + j) for j in range(4)]) for i in range(3)]
    trainable, encoded = attach_lora(tiny_gpt2(), rank=4), encode(byte_tokenizer(), sentences(2, 99))
    options = OPTIONS | {"score_at": (0, 2), "scorer": lambda key: score(trainable.model, encoded).nats}
    together = list(finetune_prompts(trainable, byte_tokenizer(), jobs, **options))
    alone = [next(iter(finetune_prompts(trainable, byte_tokenizer(), [job], **options))) for job in jobs]
    assert [t.key for t in together] == ["p0", "p1", "p2"]
    for a, b in zip(together, alone, strict=True):
        assert a.losses == b.losses and a.scores == b.scores
    assert together[0].scores[0] == together[2].scores[0] and together[0].scores[4] != together[2].scores[4]


def test_scores_are_taken_at_the_asked_steps_and_at_the_last():
    seen = []
    job = Job("a", [sentences(1, i) for i in range(4)])
    options = OPTIONS | {"score_at": (0, 2, 9), "scorer": seen.append}
    trace = next(iter(finetune_prompts(attach_full(tiny_gpt2()), byte_tokenizer(), [job], **options)))
    assert sorted(trace.scores) == [0, 2, 4] and seen == ["a"] * 3
    assert set(trace.seconds) == {"train", "evaluate"} and trace.seconds["train"] > 0
    empty = next(iter(finetune_prompts(attach_full(tiny_gpt2()), byte_tokenizer(), [Job("b", [])], **options)))
    assert list(empty.scores) == [0] and empty.losses == []


def test_the_order_of_texts_is_kept_and_matters():
    texts = [sentences(1, i) for i in range(3)]
    runs = [Job("ab", texts), Job("ba", texts[::-1])]
    forward, backward = finetune_prompts(attach_full(tiny_gpt2()), byte_tokenizer(), runs, **OPTIONS)
    first = next(iter(finetune_prompts(attach_full(tiny_gpt2()), byte_tokenizer(), [Job("a", texts[:1])], **OPTIONS)))
    assert forward.losses[0] == first.losses[0] and forward.losses != backward.losses[::-1]


def test_long_texts_are_one_step_over_all_their_windows():
    inputs, targets = text_windows(byte_tokenizer(), "x" * 150, 64, 0)
    assert inputs.shape == (3, 64) and (targets != IGNORED).sum() == 150
    assert inputs[0, 0] == 0 and inputs[1, 0] == targets[0, -1]
    job = Job("a", ["x" * 150])
    trace = next(iter(finetune_prompts(attach_full(tiny_gpt2()), byte_tokenizer(), [job], **OPTIONS)))
    assert len(trace.losses) == 1


def test_an_error_in_the_scorer_still_resets_the_weights():
    trainable = attach_full(tiny_gpt2())
    before = [p.clone() for p in trainable.parameters]

    def scorer(key):
        if any(not torch.equal(p, b) for p, b in zip(trainable.parameters, before, strict=True)):
            raise RuntimeError("after the first step")

    with pytest.raises(RuntimeError, match="after the first step"):
        list(
            finetune_prompts(
                trainable, byte_tokenizer(), [Job("a", ["some text"])], **OPTIONS, score_at=(0,), scorer=scorer
            )
        )
    assert all(torch.equal(p, b) for p, b in zip(trainable.parameters, before, strict=True))


@pytest.mark.gpu
def test_gpu_equals_cpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    job = Job("a", [sentences(1, i) for i in range(5)])
    runs = [
        next(iter(finetune_prompts(attach_lora(tiny_gpt2().to(d), rank=4), byte_tokenizer(), [job], **OPTIONS)))
        for d in ("cpu", "cuda")
    ]
    assert runs[1].losses == pytest.approx(runs[0].losses, rel=1e-4)
