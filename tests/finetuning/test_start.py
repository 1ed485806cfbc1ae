"""A PEFT adapter as the start of every prompt: step 0 is PEFT's model, and what is saved is start and update in one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from finetuning.models import FAMILIES, gpt2, llama, phi, qwen
from finetuning.test_export import load
from finetuning.test_lora import logits, text
from safetensors.torch import load_file, save_file
from small import byte_tokenizer, sentences

from ttft.errors import ConfigError, MissingArtifact
from ttft.finetuning import export
from ttft.finetuning.engine import PromptTexts, finetune_prompts
from ttft.finetuning.full import FullLearner
from ttft.finetuning.lora import LoraLearner, tied
from ttft.finetuning.start import CONFIG, WEIGHTS, with_adapter
from ttft.finetuning.texts import make_batch

IDS = torch.arange(20)[None]
ATTENTION = {
    "gpt2": ["c_attn"], "llama": ["q_proj", "v_proj"], "qwen": ["q_proj"], "pythia": ["query_key_value"],
    "phi": ["q_proj"],
}  # fmt: skip
EVERYTHING = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def by_peft(folder: Path, make, **options) -> Path:
    """An adapter that PEFT made, its B random."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(5)
    settings = {"r": 4, "lora_alpha": 4, "target_modules": ATTENTION[make.__name__], "task_type": "CAUSAL_LM"} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(make(), peft.LoraConfig(**settings))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name or "lora_embedding_A" in name:  # the one that begins as zero
                    weight.normal_(std=0.2)
        model.save_pretrained(folder)
    return folder


def by_us(folder: Path, make, seed: int = 50, **options) -> Path:
    one = LoraLearner(make(), **{"rank": 4, "lr": 3e-2} | options)
    for i in range(4):
        one.step(make_batch({0: text(seed + i)}))
    export.save_adapter(one, 0, folder, base="tiny")
    return folder


def peft_logits(make, folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return load(make, folder)(input_ids=IDS).logits


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-5, atol=2e-5 * b.abs().max().item())


STARTS = {
    "same": {}, "smaller": {"r": 2}, "larger": {"r": 9}, "alpha": {"lora_alpha": 11}, "rslora": {"use_rslora": True},
    "patterns": {"rank_pattern": {"layers.0.self_attn.q_proj": 3}, "alpha_pattern": {"layers.1.self_attn.q_proj": 9}},
}  # fmt: skip


@pytest.mark.parametrize("options", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("make", [gpt2, llama])
def test_any_rank_and_scale(tmp_path, make, options):
    folder = by_peft(tmp_path / "start", make, **options)
    check_start_and_export(tmp_path, make, folder)


@pytest.mark.parametrize("vocabulary", ["off", "lora"])
@pytest.mark.parametrize("own", ["off", "lora"])
@pytest.mark.parametrize("make", FAMILIES)
def test_adapters_of_ours_with_and_without_vocabulary(tmp_path, make, own, vocabulary):
    folder = by_us(tmp_path / "start", make, vocabulary=own, alpha=6)
    check_start_and_export(tmp_path, make, folder, vocabulary=vocabulary)


@pytest.mark.parametrize("targets", ["attention", "everything"])
@pytest.mark.parametrize("make", [llama, qwen, phi])
def test_adapters_on_some_layers_only(tmp_path, make, targets):
    names = {"everything": EVERYTHING if make is not phi else ["fc1", "fc2", "q_proj"]}.get(targets)
    folder = by_peft(tmp_path / "start", make, **{"target_modules": names} if names else {})
    check_start_and_export(tmp_path, make, folder, rslora=True)


def check_start_and_export(tmp_path: Path, make, folder: Path, **options) -> None:
    expected = peft_logits(make, folder)
    with torch.no_grad():
        base = make()(input_ids=IDS).logits
    one = LoraLearner(make(), **{"rank": 4, "alpha": 6, "lr": 1e-2, "slots": 2, "start_from": folder} | options)
    assert not close(base, expected) and close(logits(one, 1), expected)
    losses = [one.step(make_batch({slot: text(4) for slot in range(2)}))[1] for _ in range(5)]
    assert losses[-1] < losses[0] - 0.01
    trained = logits(one, 1)
    export.save_adapter(one, 1, tmp_path / "both", base="tiny")
    assert close(peft_logits(make, tmp_path / "both"), trained) and not close(trained, expected)
    again = LoraLearner(make(), rank=2, start_from=tmp_path / "both")  # and on from there
    assert close(logits(again), trained) and tied(again.model) == tied(one.model)
    one.reset(1)
    assert close(logits(one, 1), expected)


def test_the_steps_are_those_of_peft_on_the_merged_model(tmp_path):
    """Training goes on from the start as it would from a model with the adapter merged into it."""
    folder = by_peft(tmp_path / "start", llama)
    merged = load(llama, folder).merge_and_unload()
    texts = [text(i) for i in range(6)]
    ours, theirs = (LoraLearner(m, rank=4, lr=1e-2, **o) for m, o in ((llama(), {"start_from": folder}), (merged, {})))
    losses = [[one.step(make_batch({0: t}))[0] for t in texts] for one in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("make", [gpt2, qwen])
def test_one_side_of_a_tied_vocabulary(tmp_path, make):
    """PEFT leaves the head as it is; so does the fold, whose two sides are then two matrices."""
    names = {"gpt2": "wte", "qwen": "embed_tokens"}
    folder = by_peft(tmp_path / "start", make, target_modules=[names[make.__name__]])
    model = make()
    folded, layers = with_adapter(model, folder)
    assert tied(model) and not tied(folded) and len(layers) == 1
    assert model.config.tie_word_embeddings and not folded.config.tie_word_embeddings
    for vocabulary in ("off", "lora"):
        check_start_and_export(tmp_path / vocabulary, make, folder, vocabulary=vocabulary)


def test_full_fine_tuning_starts_there_too_and_goes_back(tmp_path):
    folder, model = by_peft(tmp_path / "start", gpt2), gpt2()
    learner = FullLearner(model, lr=1e-3, start_from=folder)
    assert close(logits(learner), peft_logits(gpt2, folder))
    start = logits(learner)
    jobs = [PromptTexts("a", [sentences(1, 3)] * 3)]
    (trace,) = finetune_prompts(learner, byte_tokenizer(), jobs, max_length=64, prefix_token=0)
    assert trace.losses[-1] < trace.losses[0] and torch.equal(logits(learner), start)
    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS).logits, gpt2()(input_ids=IDS).logits)


def test_only_the_folded_weights_take_memory(tmp_path):
    model = llama()
    folded, layers = with_adapter(model, by_peft(tmp_path / "start", llama))
    own = {name for name, p in folded.named_parameters() if p.data_ptr() != model.get_parameter(name).data_ptr()}
    assert own == {f"{path}.weight" for path in layers} and len(own) == 4


def test_half_precision_weights_are_rounded_once(tmp_path):
    folder = by_peft(tmp_path / "start", llama)
    folded, layers = with_adapter(llama().to(torch.bfloat16), folder)
    exact, _ = with_adapter(llama().to(torch.bfloat16).float(), folder)
    for path in layers:
        assert torch.equal(folded.get_submodule(path).weight, exact.get_submodule(path).weight.to(torch.bfloat16))


def edited(folder: Path, **changes) -> Path:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias=all"),
        ({"task_type": "SEQ_CLS"}, "task_type=SEQ_CLS"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa"),
        ({"target_modules": ["no_such_layer"]}, "no_such_layer"),
        ({"target_modules": ["q_proj"]}, "has no place for base_model.*v_proj"),
        ({"target_modules": ["q_proj", "v_proj", "o_proj"]}, "also asks for base_model.*o_proj"),
        ({"r": 5}, "size mismatch"),
    ],
)
def test_what_cannot_be_a_start_is_named(tmp_path, changes, named):
    folder = edited(by_peft(tmp_path / "a", llama), **changes)
    model = llama()
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(ConfigError, match=named):
        LoraLearner(model, start_from=folder)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_other_kinds_of_adapters_and_models_are_refused(tmp_path):
    peft = pytest.importorskip("peft")
    peft.get_peft_model(llama(), peft.IA3Config(task_type="CAUSAL_LM")).save_pretrained(tmp_path / "ia3")
    with pytest.raises(ConfigError, match="peft_type=IA3"):
        with_adapter(llama(), tmp_path / "ia3")
    with pytest.raises(ConfigError, match="does not fit GPT2LMHeadModel"):
        with_adapter(gpt2(), by_peft(tmp_path / "a", llama))


def test_the_embedding_that_peft_stores_must_be_the_models(tmp_path):
    folder = by_peft(tmp_path / "a", llama, target_modules=["embed_tokens", "q_proj"])
    stored = load_file(folder / WEIGHTS)
    name = "base_model.model.model.embed_tokens.base_layer.weight"
    stored[name] = llama().model.embed_tokens.weight.detach().clone()
    save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})
    check_start_and_export(tmp_path, llama, folder)
    save_file(stored | {name: stored[name] + 1}, folder / WEIGHTS, metadata={"format": "pt"})
    model = llama()
    with pytest.raises(ConfigError, match=r"brings weights of its own.*embed_tokens"):
        with_adapter(model, folder)
    assert torch.equal(model.model.embed_tokens.weight, llama().model.embed_tokens.weight)


def test_no_adapter_there(tmp_path):
    with pytest.raises(MissingArtifact, match="there is no adapter"):
        with_adapter(llama(), tmp_path / "none")
    with pytest.raises(MissingArtifact, match="there is no adapter 'some/where'"):
        with_adapter(llama(), "some/where")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingArtifact, match=r"has no adapter_config\.json"):
        with_adapter(llama(), tmp_path / "empty")
    folder = by_peft(tmp_path / "a", llama)
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(MissingArtifact, match=r"has no adapter_model\.safetensors"):
        with_adapter(llama(), folder)
