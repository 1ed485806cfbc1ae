"""The embedded language model: of the size it says, lossless in its tokenizer, described, and no noise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from ttft import embedded_model_path
from ttft.evaluation import bits_per_byte
from ttft.finetuning.model import load_causal_lm

FOLDER = embedded_model_path()
VAL = Path(__file__).parents[2] / "shared" / "corpora" / "pile-real" / "val.jsonl.zst"


@pytest.fixture(scope="module")
def loaded():
    return load_causal_lm("embedded")


def test_size_and_form(loaded):
    model, tokenizer = loaded
    assert 8e6 <= sum(p.numel() for p in model.parameters()) <= 15e6
    assert model.config.model_type == "gpt2" and model.config.n_positions >= 512
    assert 8_000 <= len(tokenizer) <= 16_500
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 30e6
    with safe_open(FOLDER / "model.safetensors", "pt") as weights:
        assert {str(weights.get_tensor(k).dtype) for k in weights.keys()} == {"torch.bfloat16"}  # noqa: SIM118


def test_the_tokenizer_loses_no_byte(loaded):
    _, tokenizer = loaded
    for text in ("naïve — 漢字 🙂", " \t\r\n\x00\x7f", "def f(x):\n\treturn x  # tab", "\u2028 Ünïcode"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_it_predicts_text_better_than_noise(loaded):
    model, tokenizer = loaded
    english = "The committee met on Tuesday to discuss the results of the study and the report that was published."
    noise = "xq zv9 kk#w ptt0 1vj& zzx qwv 8h7g bbn rr2 mvx qpz w9w kjh g5f dsa lkj hgf qwx cvb nmq wer tyu zzz aqp"
    one, two = bits_per_byte(model, tokenizer, [english, noise])
    assert one.bpb < 2.2 < 3.5 < two.bpb


def test_the_card_says_what_it_must():
    card = (FOLDER / "MODEL_CARD.md").read_text()
    for word in ("demonstrator", "Licence", "tokens seen", "BPB", "Wikipedia (en)", "lambda", "train_embedded_lm.py"):
        assert word in card, word


@pytest.mark.slow
@pytest.mark.skipif(not VAL.exists(), reason="the shared corpus pile-real is not beside this checkout")
def test_the_card_states_the_validation_bpb_of_these_weights(loaded):
    import zstandard

    model, tokenizer = loaded
    with zstandard.open(VAL, "rt", encoding="utf-8", newline="\n") as lines:
        records = [json.loads(line) for line in lines]
    texts = [r["text"] for r in records if r["meta"]["pile_set_name"] == "NIH ExPorter"]
    scores = bits_per_byte(model, tokenizer, texts)
    bpb = sum(s.nats for s in scores) / 0.6931471805599453 / sum(s.bytes for s in scores)
    row = next(x for x in (FOLDER / "MODEL_CARD.md").read_text().split("\n") if x.startswith("| NIH ExPorter"))
    assert f"{bpb:.3f}" in row
