"""The engine: plain Adam, one step a text, in order; slots filled as they free; nothing of one prompt in another."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from small import byte_tokenizer, sentences, tiny_gpt2

from ttft.evaluation import encode, score
from ttft.finetuning.engine import PromptTexts, finetune_prompts
from ttft.finetuning.full import FullLearner
from ttft.finetuning.lora import LoraLearner
from ttft.finetuning.loss import IGNORED
from ttft.finetuning.texts import Text, make_batch, passes, tokenise

OPTIONS = {"max_length": 64, "prefix_token": 0}


def full(**options) -> FullLearner:
    return FullLearner(tiny_gpt2(), **{"lr": 1e-3} | options)


def lora(slots: int = 1, **options) -> LoraLearner:
    return LoraLearner(tiny_gpt2(), **{"rank": 4, "lr": 1e-2, "slots": slots, "vocabulary": "lora"} | options)


def finetune(learner, jobs, **options) -> dict:
    return {trace.key: trace for trace in finetune_prompts(learner, byte_tokenizer(), jobs, **OPTIONS | options)}


def scorer(key, model) -> float:
    return score(model, encode(byte_tokenizer(), sentences(2, 99))).nats


def jobs_of_other_lengths(count: int) -> list[PromptTexts]:
    return [
        PromptTexts(f"p{i}", [sentences(1 + (i + j) % 3, 10 * i + j) for j in range(1 + i % 5)]) for i in range(count)
    ]


def test_equals_a_hand_written_adam_loop():
    texts = [sentences(1, i) for i in range(5)]
    trace = finetune(full(), [PromptTexts("a", texts)])["a"]
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


@pytest.mark.parametrize("slots", [2, 4, 16])
def test_slots_change_nothing(slots):
    """Prompts of 1 to 5 texts come and go; each has the losses and scores that it has alone."""
    jobs = jobs_of_other_lengths(11)
    options = {"score_at": (0, 2), "scorer": scorer}
    alone, together = finetune(lora(), jobs, **options), finetune(lora(slots), jobs, **options)
    assert together.keys() == alone.keys()
    for key, trace in together.items():
        assert trace.losses == pytest.approx(alone[key].losses, rel=1e-5)
        assert trace.scores.keys() == alone[key].scores.keys()
        assert list(trace.scores.values()) == pytest.approx(list(alone[key].scores.values()), rel=1e-5)


def test_one_slot_is_the_same_to_the_last_bit_whatever_came_before():
    jobs = jobs_of_other_lengths(5)
    learner, options = lora(), {"score_at": (0, 2), "scorer": scorer}
    together = finetune(learner, jobs, **options)
    for job in jobs:
        one = finetune(lora(), [job], **options)[job.key]
        assert (one.losses, one.scores) == (together[job.key].losses, together[job.key].scores)


def test_a_slot_goes_to_the_next_prompt_as_soon_as_it_is_free():
    """The queue is read no further than there are slots, and a short prompt makes room at once."""
    taken, ended = [], []

    def queue():
        for i, steps in enumerate([3, 1, 1, 1, 2]):
            taken.append((i, list(ended)))
            yield PromptTexts(str(i), [sentences(1, 10 * i + j) for j in range(steps)])

    for trace in finetune_prompts(lora(2), byte_tokenizer(), queue(), **OPTIONS):
        ended.append(trace.key)
    assert ended == ["1", "2", "0", "3", "4"]
    assert taken == [(0, []), (1, []), (2, ["1"]), (3, ["1", "2"]), (4, ["1", "2", "0", "3"])]


@pytest.mark.parametrize("make", [full, lora])
def test_scores_are_taken_at_the_asked_steps_and_at_the_last(make):
    seen = []
    job = PromptTexts("a", [sentences(1, i) for i in range(4)])
    options = {"score_at": (0, 2, 9), "scorer": lambda key, model: seen.append(key)}
    trace = finetune(make(), [job], **options)["a"]
    assert list(trace.scores) == [0, 2, 4] and seen == ["a"] * 3
    assert set(trace.seconds) == {"train", "evaluate"} and trace.seconds["train"] > 0
    empty = finetune(make(), [PromptTexts("b", [])], **options)["b"]
    assert list(empty.scores) == [0] and empty.losses == []


@pytest.mark.parametrize("make", [full, lora])
def test_the_order_of_texts_is_kept_and_matters(make):
    texts = [sentences(1, i) for i in range(3)]
    traces = finetune(make(), [PromptTexts("ab", texts), PromptTexts("ba", texts[::-1]), PromptTexts("a", texts[:1])])
    assert traces["ab"].losses[0] == traces["a"].losses[0]
    assert traces["ab"].losses != traces["ba"].losses[::-1]


@pytest.mark.parametrize("make", [full, lora])
def test_long_texts_are_one_step_over_all_their_windows(make):
    text = tokenise(byte_tokenizer(), "x" * 150, 64, 0)
    batch = make_batch({0: text})
    assert batch.inputs.shape == (3, 64) and (batch.targets != IGNORED).sum() == 150 and text.rows == 3
    assert batch.inputs[0, 0] == 0 and batch.inputs[1, 0] == batch.targets[0, -1]
    trace = finetune(make(), [PromptTexts("a", ["x" * 150])])["a"]
    assert trace.losses == pytest.approx([window_loss(tiny_gpt2(), "x" * 150).item()], rel=1e-5)


@pytest.mark.parametrize("make", [full, lora])
def test_the_engine_asks_whether_to_go_on(make):
    asked = []

    def go_on(key, losses):
        asked.append((key, len(losses)))
        return not (key == "p3" and len(losses) == 2)

    jobs = [PromptTexts(f"p{i}", [sentences(1, i + j) for j in range(4)]) for i in range(5)]
    traces = finetune(make(), jobs, go_on=go_on, scorer=scorer, score_at=(0,))
    assert {k: len(t.losses) for k, t in traces.items()} == {"p0": 4, "p1": 4, "p2": 4, "p3": 2, "p4": 4}
    assert list(traces["p3"].scores) == [0, 2] and len(asked) == 18


@pytest.mark.parametrize("make", [full, lora])
def test_warm_down_is_linear_from_the_first_step_to_the_last(make):
    learner, seen = make(), []
    inner = learner.step
    learner.step = lambda batch, factors=None: (seen.append(factors[0]), inner(batch, factors))[1]
    finetune(learner, [PromptTexts("a", ["some text"] * 5), PromptTexts("b", ["some text"])], warm_down=0.2)
    assert seen == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 1.0])


@pytest.mark.parametrize("make", [full, lora])
def test_empty_texts_teach_nothing(make):
    assert finetune(make(), [PromptTexts("a", [""])])["a"].losses == [0.0]


@pytest.mark.parametrize("make", [full, lambda **o: lora(3, **o)])
def test_a_prompt_that_blows_up_ends_and_the_others_do_not_notice(make):
    """A learning rate no model survives for one prompt, by way of its factor: its loss becomes NaN or infinite."""
    jobs = [PromptTexts(f"p{i}", [sentences(1, i + j) for j in range(6)]) for i in range(4)]
    well, sick = make(), make()
    blown, inner = set(), sick.step

    def step(batch, factors=None):
        losses = inner(batch, factors)
        for i, slot in enumerate(batch.order):
            if slot == sick.slots - 1 and not blown:  # the first prompt's slot or the only one
                blown.add(slot)
                losses[i] = math.nan
        return losses

    sick.step = step
    expected, traces = finetune(well, jobs, scorer=scorer), finetune(sick, jobs, scorer=scorer)
    failed = [k for k, t in traces.items() if t.failed]
    assert len(failed) == 1 and "loss of step 1 is nan" in traces[failed[0]].failed
    assert len(traces[failed[0]].losses) == 1 and list(traces[failed[0]].scores) in ([], [0])
    for key in expected.keys() - set(failed):
        assert traces[key].losses == pytest.approx(expected[key].losses, rel=1e-5)


@pytest.mark.parametrize("make", [full, lambda: lora(2)])
def test_an_error_in_the_scorer_still_resets_the_weights(make):
    learner = make()

    def failing(key, model):
        if learner.adapters.values.sub(learner.adapters.start).any() if hasattr(learner, "adapters") else any(
            not torch.equal(p, s) for p, s in zip(learner.parameters, learner.start, strict=True)
        ):  # fmt: skip
            raise RuntimeError("after the first step")

    with pytest.raises(RuntimeError, match="after the first step"):
        finetune(
            learner, [PromptTexts("a", ["some text"]), PromptTexts("b", ["more text"])], score_at=(0,), scorer=failing
        )
    if hasattr(learner, "adapters"):
        assert torch.equal(learner.adapters.values, learner.adapters.start.repeat(2, 1))
    else:
        assert all(torch.equal(p, s) for p, s in zip(learner.parameters, learner.start, strict=True))


def at_the_start(learner) -> bool:
    if hasattr(learner, "adapters"):
        return torch.equal(learner.adapters.values, learner.adapters.start.repeat(learner.slots, 1))
    return all(torch.equal(p, s) for p, s in zip(learner.parameters, learner.start, strict=True))


def model_score(learner, slot: int) -> float:
    with learner.scoring(slot) as model:
        return scorer("", model)


@pytest.mark.parametrize("make", [full, lora, lambda: lora(3)])
def test_a_trace_comes_with_its_model_still_in_the_slot(make):
    """Several prompts end in one round; each slot keeps what it learned until the next trace is asked for."""
    learner, jobs = make(), [PromptTexts(f"p{i}", [sentences(1, i)] * 2) for i in range(5)] + [PromptTexts("e", [])]
    held = []
    for trace in finetune_prompts(learner, byte_tokenizer(), jobs, scorer=scorer, **OPTIONS):
        assert model_score(learner, trace.slot) == trace.scores[len(trace.losses)]
        held.append((trace.key, trace.slot))
    assert sorted(key for key, _ in held) == ["e", *(f"p{i}" for i in range(5))]
    assert {slot for _, slot in held} == set(range(learner.slots))
    assert at_the_start(learner)


@pytest.mark.parametrize("make", [full, lambda: lora(3)])
def test_a_closed_iteration_leaves_every_slot_at_the_start(make):
    learner = make()
    jobs = [PromptTexts(f"p{i}", [sentences(1, i)] * (2 + i)) for i in range(5)]
    traces = finetune_prompts(learner, byte_tokenizer(), jobs, **OPTIONS)
    next(traces)
    assert not at_the_start(learner)
    traces.close()
    assert at_the_start(learner)


@pytest.mark.parametrize("make", [full, lambda: lora(3)])
def test_steps_are_told_one_by_one(make):
    """Also those with a gradient used again, and the one that fails."""
    told: list[str] = []
    learner = make()
    jobs = [PromptTexts(f"p{i}", [sentences(1, i)] * (1 + i)) for i in range(4)]
    finetune(learner, jobs, on_step=told.append, reuse=2)
    assert {key: told.count(key) for key in sorted(set(told))} == {"p0": 1, "p1": 2, "p2": 3, "p3": 4}
    learner.step = lambda batch, factors=None: [math.nan] * len(batch.order)
    finetune(learner, [PromptTexts("sick", ["some text"] * 3)], on_step=told.append)
    assert told.count("sick") == 1


def test_room_can_be_made_between_prompts_and_changes_nothing():
    jobs, options = jobs_of_other_lengths(5), {"score_at": (0,), "scorer": scorer}
    expected = {job.key: finetune(lora(), [job], **options)[job.key] for job in jobs}
    growing = lora(3, prompts=1)
    assert growing.slots == 1
    for prompts, slots in ((1, 1), (2, 2), (9, 3), (1, 3)):
        growing.room_for(prompts)
        assert growing.slots == slots
        for job in jobs[:2]:
            one = finetune(growing, [job], **options)[job.key]
            assert (one.losses, one.scores) == (expected[job.key].losses, expected[job.key].scores)
    growing = lora(3, prompts=1)
    growing.step(make_batch({0: tokenise(byte_tokenizer(), "some text", 64, 0)}))
    with pytest.raises(AssertionError, match="still holds"):
        growing.room_for(2)


def cost(texts: list[Text], overhead: int) -> int:
    return sum(t.rows for t in texts) * max(t.width for t in texts) + overhead


@pytest.mark.parametrize("overhead", [0, 20, 1000])
def test_passes_pad_as_little_as_any_cut_of_the_sorted_texts(overhead):
    import random

    rng = random.Random(overhead)
    for _ in range(30):
        texts = {slot: Text(list(range(rng.randrange(1, 200))), 64) for slot in range(rng.randrange(1, 9))}
        most = rng.choice([10_000, 256])
        groups = passes(texts, most, overhead)
        assert sorted(s for g in groups for s in g) == sorted(texts)
        in_order = [t for g in groups for t in g.values()]
        assert [t.width for t in in_order] == sorted(t.width for t in in_order)
        for group in groups:
            assert len(group) == 1 or cost(list(group.values()), 0) <= most
        best = math.inf
        for cuts in itertools.product([False, True], repeat=len(texts) - 1):
            ends = [*(i + 1 for i, cut in enumerate(cuts) if cut), len(texts)]
            parts = [in_order[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
            if all(len(p) == 1 or cost(p, 0) <= most for p in parts):
                best = min(best, sum(cost(p, overhead) for p in parts))
        assert sum(cost(list(g.values()), overhead) for g in groups) == best


def test_full_goes_back_bit_for_bit_and_can_be_scaled():
    learner = full()
    frozen = [p.clone() for p in learner.parameters]
    for _ in range(2):
        losses = [
            learner.step(make_batch({0: tokenise(byte_tokenizer(), sentences(2, 4), 64, 0)}))[0] for _ in range(5)
        ]
        assert losses[-1] < losses[0] - 0.01
        tuned = [p.clone() for p in learner.parameters]
        with learner.scoring(0, scale=0.5):
            for p, start, end in zip(learner.parameters, frozen, tuned, strict=True):
                assert torch.allclose(p, (start + end) / 2, atol=1e-7)
        assert all(torch.equal(p, t) for p, t in zip(learner.parameters, tuned, strict=True))
        learner.reset(0)
        assert all(torch.equal(p, f) and p.grad is None for p, f in zip(learner.parameters, frozen, strict=True))
