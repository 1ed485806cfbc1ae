"""ttft: test-time fine-tuning of language models.

corpus -> embedding -> vector index -> selection -> fine-tuning -> evaluation -> report
"""

from __future__ import annotations

TYPE_CHECKING = False  # not from typing, whose import takes longer than all else before the first line of a command

if TYPE_CHECKING:
    from typing import Any

    from ttft.assets import embedded_model_path
    from ttft.evaluation import bits_per_byte
    from ttft.indexing.build import build_index
    from ttft.retriever import Retriever
    from ttft.tuner.session import Tuner

__version__ = "0.1.0"
__all__ = ["Retriever", "Tuner", "__version__", "bits_per_byte", "build_index", "embedded_model_path"]

# loaded when first used: importing ttft brings neither torch nor numpy
_PLACES = {
    "Tuner": "ttft.tuner.session",
    "build_index": "ttft.indexing.build",
    "Retriever": "ttft.retriever",
    "bits_per_byte": "ttft.evaluation",
    "embedded_model_path": "ttft.assets",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        import importlib

        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'ttft' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
