"""The similarity of queries that an option names, for the commands of q2d."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttft.q2d.similarity import Similarity


def similarity_named(name: str, embedder: str, device: str, seed: int) -> Similarity:
    """ "rouge", or "sbert" with an encoder in float32, so that thresholds mean the same on every machine."""
    from ttft.q2d import similarity

    if name == "rouge":
        return similarity.rouge
    from ttft import runtime
    from ttft.embedding import load_embedder

    runtime.quiet_libraries()
    runtime.setup(seed)
    return similarity.by_embedding(load_embedder(embedder, device=runtime.pick_device(device)).encode)
