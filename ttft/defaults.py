"""Settings vetted for what ships with ttft, and what holds for everything else.

SIFT's lambda belongs to an embedder's geometry, learning rate and method to a model: the papers' values fit theirs
(RoBERTa-large fine-tuned on the Pile; GPT-2). The evidence for the values here, measured on validation prompts that are
never reported, stands in ttft/assets/embedded-lm/MODEL_CARD.md.
"""

from __future__ import annotations

from typing import Final

PAPER_LAMBDA = 0.01
VETTED_LAMBDA = {"minilm": 1.0}

# by model, the best way first, then the other
VETTED_TRAINING = {
    "embedded": (
        {"method": "lora", "rank": 32, "rslora": False, "vocabulary": "lora", "lr": 2.5e-3, "warm_down": 0.1},
        {"method": "full", "vocabulary": "off", "lr": 1e-4, "warm_down": 1.0},
    )
}

# 5e-5 is the papers' rate for full fine-tuning; ten times that for LoRA is a common choice and ours, not a paper's
LEARNING_RATE = {"full": 5e-5, "lora": 5e-4}
RANK = 16


def lambda_for(embedder: str | None) -> float:
    """SIFT's lambda where the user names none: vetted for this embedder, else the papers' value."""
    return VETTED_LAMBDA.get(embedder or "", PAPER_LAMBDA)


def training_for(model: str, method: str | None) -> dict:
    """method, rank, rslora, vocabulary, lr and warm_down for a model, where the user names none of them or only the
    method; in-context trains nothing."""
    for vetted in VETTED_TRAINING.get(model, ()):
        if method in (None, vetted["method"]):
            return dict(vetted)
    chosen = method or "lora"
    if chosen == "in-context":
        return {"method": chosen}
    rank = {"rank": RANK, "rslora": False} if chosen == "lora" else {}
    return {"method": chosen, **rank, "vocabulary": "off", "lr": LEARNING_RATE[chosen], "warm_down": 1.0}


# ---- indexing ------------------------------------------------------------------------------------------------------

EMBEDDER: Final = "minilm"
TEXT_FIELD: Final = "text"
SUBSET_FIELD: Final = "meta.pile_set_name"
GLOB: Final = "**/*"
SPLIT: Final = "train"
PIECE_CHARS: Final = 1200
MAX_LINE_BYTES: Final = 32 * 2**20
BATCH_SIZE: Final = 32
SHARD_ROWS: Final = 8192
PRECISION: Final = "float16"
DEDUP: Final = "count"
FACTORY: Final = "auto"
STORE: Final = "faiss"
COLLECTION: Final = "ttft"
DEVICE: Final = "auto"
DTYPE: Final = "auto"
SEED: Final = 0

LEAST = {
    "piece_chars": 16, "max_line_bytes": 1024, "max_documents": 1, "batch_size": 1, "shard_rows": 1, "max_tokens": 8
}  # fmt: skip
"""The smallest values that make sense."""
