"""Embeddings: equal to sentence-transformers, unit length, in the order of the texts, independent of the batch size."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from small import sentences, spoilt

from ttft import embedding
from ttft.embedding import canonical_name, load_embedder, locate, pool
from ttft.errors import ConfigError, MissingArtifact, TtftError

TEXTS = [sentences(lines, i) for i, lines in enumerate([1, 7, 2, 5, 1, 3])] + ["river", "unknown-word " * 300]


def test_unit_vectors_in_the_order_of_the_texts(encoder_folder):
    embedder = load_embedder(str(encoder_folder))
    vectors = embedder.encode(TEXTS, batch_size=3)
    assert vectors.shape == (len(TEXTS), 24) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for i, text in enumerate(TEXTS):
        assert np.allclose(embedder.encode([text])[0], vectors[i], atol=1e-5)


def test_same_texts_same_bits(encoder_folder):
    one, two = (load_embedder(str(encoder_folder)).encode(TEXTS) for _ in range(2))
    assert np.array_equal(one, two)


def test_order_is_kept_across_blocks_of_tokenising(encoder_folder, monkeypatch):
    embedder = load_embedder(str(encoder_folder))
    texts = [sentences(1 + i % 3, i) for i in range(11)]
    whole = embedder.encode(texts, batch_size=4)
    monkeypatch.setattr(embedding, "TOKENISED_AT_ONCE", 3)
    assert np.array_equal(embedder.encode(texts, batch_size=4), whole)
    assert np.array_equal(embedder.encode(texts[::-1], batch_size=1)[::-1], embedder.encode(texts, batch_size=1))


def test_no_batch_is_larger_than_asked_for_and_little_of_it_is_padding(encoder_folder):
    embedder = load_embedder(str(encoder_folder), max_tokens=64)
    texts = [sentences(1 + 7 * (i % 2), i) for i in range(20)] + ["river " * 5000]
    shapes, padding = [], []

    def look(model, args, kwargs):
        shapes.append(tuple(kwargs["input_ids"].shape))
        padding.append(float((kwargs["attention_mask"] == 0).float().mean()))

    handle = embedder.model.register_forward_pre_hook(look, with_kwargs=True)
    embedder.encode(texts, batch_size=5)
    handle.remove()
    assert sum(rows for rows, _ in shapes) == len(texts)
    assert max(rows for rows, _ in shapes) <= 5 and max(length for _, length in shapes) == 64
    assert sum(p > 0 for p in padding) <= 1, "texts of one length share a batch"


def test_tokenising_is_in_blocks(encoder_folder):
    embedder = load_embedder(str(encoder_folder))
    blocks = []

    class Watched:
        def __call__(self, texts, **options):
            blocks.append(len(texts))
            assert "return_tensors" not in options and not options.get("padding")
            return embedder.tokenizer(texts, **options)

        def pad(self, *args, **options):
            return embedder.tokenizer.pad(*args, **options)

    texts = ["river"] * (embedding.TOKENISED_AT_ONCE + 1)
    dataclasses.replace(embedder, tokenizer=Watched()).encode(texts)
    assert blocks == [embedding.TOKENISED_AT_ONCE, 1]


def test_no_texts_give_no_vectors(encoder_folder):
    assert load_embedder(str(encoder_folder)).encode([]).shape == (0, 24)


def test_mean_pooling_ignores_padding():
    hidden, mask = torch.tensor([[[1.0], [3.0], [100.0]]]), torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, "mean").tolist() == [[2.0]] and pool(hidden, mask, "cls").tolist() == [[1.0]]


def test_progress_counts_every_text(encoder_folder):
    seen: list[int] = []
    load_embedder(str(encoder_folder)).encode(TEXTS, batch_size=3, on_batch=seen.append)
    assert sum(seen) == len(TEXTS)


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 0.9999), (torch.bfloat16, 0.999)], ids=str)
def test_minilm_equals_sentence_transformers(dtype, least):
    """Lengths from nothing to many times the longest that the model reads, in batches of mixed lengths; twice."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="comes with the [minilm] extra")
    texts = [*TEXTS, "", " ", "é漢字🙂 " * 40, "x = f(a, b)\n" * 3, "a" * 500, sentences(400, 9)]
    reference = sentence_transformers.SentenceTransformer(locate("minilm"), device="cpu").encode(
        texts, normalize_embeddings=True
    )
    ours = load_embedder("minilm", dtype=dtype)
    assert (ours.dimension, ours.pooling, ours.max_tokens) == (384, "mean", 256)
    vectors = ours.encode(texts, batch_size=5)
    assert (vectors * reference).sum(1).min() > least
    assert np.array_equal(ours.encode(texts, batch_size=5), vectors)


def test_minilm_has_one_name():
    assert {canonical_name(n) for n in ("minilm", "all-MiniLM-L6-v2")} == {"minilm"}
    assert canonical_name("other") == "other"


def test_minilm_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingArtifact) as error:
        load_embedder("minilm")
    assert "pip install" in error.value.hint


def test_an_unknown_encoder_is_one_clear_error():
    with pytest.raises(MissingArtifact, match="no/such-encoder"):
        load_embedder("no/such-encoder")


def test_sentence_transformers_folder_states_its_pooling(encoder_folder, tmp_path):
    folder = tmp_path / "st"
    shutil.copytree(encoder_folder, folder)
    kinds = [{"type": "sentence_transformers.models.Transformer", "path": ""},
             {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(kinds))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16}))
    embedder = load_embedder(str(folder))
    assert (embedder.pooling, embedder.max_tokens) == ("cls", 16)
    assert load_embedder(str(folder), pooling="mean", max_tokens=32).max_tokens == 32
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(ConfigError, match="pooling_mode_max_tokens"):
        load_embedder(str(folder))
    (folder / "modules.json").write_text(json.dumps([*kinds, {"type": "x.Dense", "path": "2_Dense"}]))
    with pytest.raises(ConfigError, match="Dense"):
        load_embedder(str(folder))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_texts_without_a_usable_vector_are_named(encoder_folder, value):
    embedder = load_embedder(str(encoder_folder))
    broken = spoilt(embedder, "copper", value)
    texts = ["river stone", "copper", "cloud", "stone copper"]
    with pytest.raises(TtftError, match=r"for 2 texts of 4: text 1, text 3$"):
        broken.encode(texts)
    with pytest.raises(TtftError, match=r"for 2 texts of 4: c:2, c:4$"):
        broken.encode(texts, names=["c:1", "c:2", "c:3", "c:4"], batch_size=1)
    assert broken.encode(texts[::2]).shape == (2, 24)
