"""A very small T5 from scratch, with a tokenizer made from the texts at hand: training without any weights to load.

It is for trials and tests. It learns pairs by heart and says nothing of use about others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

SCRATCH = "scratch"
WORDS = 8_000


def tiny_seq2seq(texts: Sequence[str], seed: int = 0) -> tuple[Any, Any]:
    """(model, tokenizer): two layers, 128 wide; byte-pair encoding of these texts with all bytes, so that any text can
    be read."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    raw.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=["<pad>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>")
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=raw.get_vocab_size(), d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4, dropout_rate=0.0,
        pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    config.decoder_start_token_id = config.pad_token_id
    return T5ForConditionalGeneration(config), tokenizer
