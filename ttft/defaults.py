"""Settings vetted for what ships with ttft, and what holds for everything else.

SIFT's lambda belongs to an embedder's geometry, learning rate and method to a model: the papers' values fit theirs
(RoBERTa-large fine-tuned on the Pile; GPT-2). The evidence for the values here, measured on validation prompts that are
never reported, stands in ttft/assets/embedded-lm/MODEL_CARD.md.
"""

from __future__ import annotations

PAPER_LAMBDA = 0.01
VETTED_LAMBDA = {"minilm": 1.0}

LONGEST_WINDOW = 2048  # tokens; see window_for

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


def window_for(longest: int, asked: int | None = None) -> int:
    """Tokens of a window in training and scoring: what is asked for, else LONGEST_WINDOW; never more than the model's
    longest input.

    Newer models read many thousands of tokens, but memory for activations is set aside for a whole window, and the
    pieces of an index and most prompts have some hundred tokens. Longer texts lose nothing: they take several windows.
    """
    return min(asked or LONGEST_WINDOW, longest)
