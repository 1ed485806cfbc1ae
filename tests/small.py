"""Small things to test with, as plain functions: text of a seed, a byte tokenizer, tiny random models, a command."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

WORDS = """
river stone cloud engine market garden letter window silver paper music forest signal harbour bridge lantern
copper winter summer teacher doctor planet orbit protein vector matrix kernel adapter gradient corpus prompt
""".split()  # noqa: SIM905 - a list of words is read more easily this way
SUBSETS = ("Github", "Wikipedia (en)", "StackExchange")


def sentences(count: int, seed: int) -> str:
    """Some text of random words in lines; a function of its seed."""
    rng = random.Random(seed)
    return "".join(" ".join(rng.choices(WORDS, k=9)) + ".\n" for _ in range(count))


def write_corpus(path: Path, documents: int = 40, lines: int = 6) -> Path:
    with open(path, "w", encoding="utf-8") as out:
        for i in range(documents):
            record = {"text": sentences(lines, i), "meta": {"pile_set_name": SUBSETS[i % len(SUBSETS)]}}
            out.write(json.dumps(record) + "\n")
    return path


def write_lines(path: Path, records: list[dict]) -> None:
    """A JSON-lines file of a run, with a valid checksum in every line, whatever the records are."""
    from ttft.state import checked_line

    path.write_bytes(b"".join(map(checked_line, records)))


def write_config(folder: Path, config: dict) -> None:
    """The configuration of a run, with its hash."""
    from ttft.run_dir import CONFIG, sealed
    from ttft.state import dump_yaml

    (folder / CONFIG).write_text(dump_yaml(sealed({key: v for key, v in config.items() if key != "sha256"})))


def byte_tokenizer():
    """A byte-level tokenizer of 256 bytes and one end token, in the form transformers loads."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0} | {c: i + 1 for i, c in enumerate(alphabet)}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=end, bos_token=end, pad_token=end)


def tiny_gpt2(context: int = 64, seed: int = 0):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=257, n_positions=context, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return GPT2LMHeadModel(config).eval()


def embedder_facts(dimension: int):
    """What a manifest says of an encoder that there never was."""
    from ttft.vector_index.manifest import EmbedderFacts

    return EmbedderFacts("random", "none", dimension, "mean", 512, None, "float32", "cpu")


def spoilt(embedder, word: str, value: float):
    """An encoder that gives this value everywhere for texts with this word, else what `embedder` does."""
    import dataclasses
    from types import SimpleNamespace

    (token,) = embedder.tokenizer(word)["input_ids"]

    def model(input_ids, **more):
        made = embedder.model(input_ids=input_ids, **more)
        hit = (input_ids == token).any(1)[:, None, None]
        hidden = made.last_hidden_state
        return SimpleNamespace(last_hidden_state=hidden.masked_fill(hit, value))

    return dataclasses.replace(embedder, model=model)


def source_of(rows: int):
    """What a manifest says of a corpus from which so many pieces have been kept so far."""
    from ttft.vector_index.manifest import CorpusFacts, Source

    corpus = CorpusFacts(
        "**/*", None, 2**20, None, 1200, 0, 8192, "c.jsonl", "train", True, "meta.pile_set_name", ["Ä"], "text", "f" * 8
    )
    return Source(corpus, rows=rows)


def ttft(*arguments: object) -> int:
    """Run a command in this process, as the shell would; returns the exit code."""
    from ttft.cli import main

    before, sys.argv = sys.argv, ["ttft", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0
