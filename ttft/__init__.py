"""ttft: test-time fine-tuning of language models.

corpus -> embedding -> vector index -> selection -> fine-tuning -> evaluation -> report
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttft.retriever import Retriever as Retriever

__version__ = "0.1.0"


def embedded_model_path() -> Path:
    """Folder of the small language model that ships with ttft (Hugging Face format, see its MODEL_CARD.md)."""
    return Path(__file__).parent / "assets" / "embedded-lm"


def __getattr__(name: str) -> Any:
    # importing ttft must stay light: the retriever brings numpy and faiss
    if name == "Retriever":
        from ttft.retriever import Retriever

        return Retriever
    raise AttributeError(f"module 'ttft' has no attribute {name!r}")
