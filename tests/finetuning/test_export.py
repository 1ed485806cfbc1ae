"""Adapters in PEFT's format: PEFT loads them and computes what the slot computed."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from finetuning.models import FAMILIES, gpt2, llama
from finetuning.test_lora import BOTH, learner, logits, text
from safetensors.torch import load_file
from small import byte_tokenizer, sentences

from ttft.errors import ConfigError
from ttft.evaluation import bits_per_byte, encode, score
from ttft.finetuning import export
from ttft.finetuning.texts import make_batch


def trained(make=gpt2, **options):
    """Two slots with some steps each; what is exported is the second, which is not the first."""
    one = learner(make, slots=2, **{"alpha": 6} | options)
    for i in range(5):
        one.step(make_batch({slot: text(10 * slot + i) for slot in range(2)}))
    return one


def load(make, folder):
    peft = pytest.importorskip("peft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a model with Conv1D and a linear head has fan_in_fan_out only half
        return peft.PeftModel.from_pretrained(make(), folder).eval()


@pytest.mark.parametrize("vocabulary", BOTH)
@pytest.mark.parametrize("make", FAMILIES)
def test_peft_computes_what_the_slot_computes(tmp_path, make, vocabulary):
    one = trained(make, vocabulary=vocabulary)
    export.save_adapter(one, 1, tmp_path, base="tiny")
    theirs, ids = load(make, tmp_path), torch.arange(20)[None]
    with torch.no_grad():
        ours, base = logits(one, 1), make()(input_ids=ids).logits
        assert torch.allclose(theirs(input_ids=ids).logits, ours, rtol=1e-5, atol=1e-5 * ours.abs().max().item())
        assert (ours - base).abs().max() > 0.01
    words, tokenizer = sentences(3, 5), byte_tokenizer()
    with one.scoring(1) as model:
        expected = score(model, encode(tokenizer, words, ""), max_length=64)
    assert bits_per_byte(theirs, tokenizer, [words], 64)[0].bpb == pytest.approx(expected.bpb, rel=1e-6)


@pytest.mark.parametrize("vocabulary", BOTH)
@pytest.mark.parametrize("make", FAMILIES)
def test_peft_generates_the_same_tokens(tmp_path, make, vocabulary):
    """With the cache of keys, where a query is shorter than its keys; and the base's tokens with none of the update."""
    one = trained(make, vocabulary=vocabulary, lr=0.03)
    export.save_adapter(one, 1, tmp_path, base="tiny")
    ids = torch.tensor([text(7).ids[:24]])
    greedy = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 32, "do_sample": False, "eos_token_id": None}
    for theirs, scale in ((load(make, tmp_path), 1.0), (make(), 0.0)):
        with one.scoring(1, scale) as model:
            assert torch.equal(model.generate(ids, use_cache=True, **greedy), theirs.generate(ids, **greedy))


@pytest.mark.parametrize("make", FAMILIES)
def test_every_number_is_taken(tmp_path, make):
    """No tensor of the file is left aside by PEFT, and none of PEFT's keeps its random start."""
    one = trained(make, vocabulary="lora")
    export.save_adapter(one, 1, tmp_path, base="tiny")
    stored = load_file(tmp_path / export.WEIGHTS)
    theirs = {k.replace(".default", ""): v for k, v in load(make, tmp_path).state_dict().items() if "lora_" in k}
    assert set(stored) == set(theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in stored.items())
    assert set(json.loads((tmp_path / export.CONFIG).read_text())["target_modules"]) == set(export.layers(one))


def test_the_folder_is_complete_when_its_configuration_is_there(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    one = trained()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(export, "write_json", killed)
        export.save_adapter(one, 0, tmp_path / "a", base="tiny")
    assert not export.is_saved(tmp_path / "a")
    export.save_adapter(one, 0, tmp_path / "a", base="tiny", revision="main")
    assert export.is_saved(tmp_path / "a")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted([export.CONFIG, export.WEIGHTS])
    written = json.loads((tmp_path / "a" / export.CONFIG).read_text())
    assert (written["r"], written["lora_alpha"], written["revision"]) == (4, 6, "main")


def test_peft_reads_the_scale_of_rslora(tmp_path):
    one = trained(vocabulary="lora", rslora=True)
    export.save_adapter(one, 1, tmp_path / "a", base="tiny")
    theirs = load(gpt2, tmp_path / "a")
    inputs = make_batch({1: text(3)}).inputs
    with torch.no_grad(), one.scoring(1) as model:
        assert torch.allclose(model(input_ids=inputs).logits, theirs(input_ids=inputs).logits, atol=1e-5)


def test_an_embedding_that_peft_would_scale_is_refused(tmp_path):
    one = trained(llama, vocabulary="lora")
    one.model.get_input_embeddings().base.embed_scale = torch.tensor(2.0)
    with pytest.raises(ConfigError, match="multiply"):
        export.save_adapter(one, 0, tmp_path / "a", base="tiny")
    assert not (tmp_path / "a").exists()
