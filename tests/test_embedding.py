"""Embeddings: equal to sentence-transformers, unit length, in the order of the texts, independent of the batch size."""

from __future__ import annotations

import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from small import sentences

from ttft.embedding import canonical_name, load_embedder, locate, pool
from ttft.errors import ConfigError, MissingArtifact

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


def test_mean_pooling_ignores_padding():
    hidden, mask = torch.tensor([[[1.0], [3.0], [100.0]]]), torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, "mean").tolist() == [[2.0]] and pool(hidden, mask, "cls").tolist() == [[1.0]]


def test_progress_counts_every_text(encoder_folder):
    seen: list[int] = []
    load_embedder(str(encoder_folder)).encode(TEXTS, batch_size=3, on_batch=seen.append)
    assert sum(seen) == len(TEXTS)


def test_minilm_equals_sentence_transformers():
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="comes with the [minilm] extra")
    reference = sentence_transformers.SentenceTransformer(locate("minilm"), device="cpu").encode(
        TEXTS, normalize_embeddings=True
    )
    ours = load_embedder("minilm")
    assert (ours.dimension, ours.pooling, ours.max_tokens) == (384, "mean", 256)
    assert (ours.encode(TEXTS) * reference).sum(1).min() > 0.9999
    half = load_embedder("minilm", dtype=torch.bfloat16).encode(TEXTS)
    assert (half * reference).sum(1).min() > 0.999


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
