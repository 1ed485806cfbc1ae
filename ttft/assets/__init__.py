"""Files that ship with ttft: a small language model, so that everything runs offline."""

from __future__ import annotations

from pathlib import Path


def embedded_model_path() -> Path:
    """Folder of the small language model that ships with ttft (Hugging Face format, see its MODEL_CARD.md)."""
    return Path(__file__).parent / "embedded-lm"
