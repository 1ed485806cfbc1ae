"""Fixtures shared by all tests: a tiny model, a tiny encoder, forty documents, an index over them. No network."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("PYTHONUNBUFFERED", None)  # commands are tested with the buffers that they have for users

if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    # a core of its own: two processes that both compute on all cores wait for each other most of the time
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

from small import SUBSETS, WORDS, byte_tokenizer, sentences, tiny_gpt2, ttft, write_corpus


@pytest.fixture(scope="session")
def lm_folder(tmp_path_factory) -> Path:
    """A tiny GPT-2 with a byte tokenizer, as a model folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    tiny_gpt2().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory) -> Path:
    """A tiny BERT encoder with a word tokenizer, as a model folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    words = {w: i for i, w in enumerate(["[PAD]", "[UNK]", ".", *dict.fromkeys(WORDS)])}
    raw = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(words), hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=128,
    )  # fmt: skip
    BertModel(config).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.jsonl")


@pytest.fixture(scope="session")
def prompts_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    with open(path, "w", encoding="utf-8") as out:
        for i in range(4):
            record = {"id": f"p{i}", "text": sentences(3, 1000 + i), "meta": {"pile_set_name": SUBSETS[i % 2]}}
            out.write(json.dumps(record) + "\n")
    return path


@pytest.fixture
def run_ttft():
    return ttft


@pytest.fixture(scope="session")
def index_folder(tmp_path_factory, corpus_file, encoder_folder) -> Path:
    """An index of forty documents in three shards, made by the command with the tiny encoder in float32."""
    folder = tmp_path_factory.mktemp("index") / "index"
    code = ttft(
        "index", corpus_file, "--out", folder, "--embedder", encoder_folder, "--piece-chars", 200, "--shard-rows", 32,
        "--dtype", "float32",
    )  # fmt: skip
    assert code == 0
    return folder
