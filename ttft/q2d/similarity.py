"""How alike two queries are, 0 to 1, by their words or by sentence embeddings.

A similarity takes pairs of texts and returns a number for each, so that embeddings are made in batches.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ttft.q2d.text import norm, rouge1

Similarity = Callable[[Sequence[tuple[str, str]]], list[float]]
Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts -> unit vectors (n, d)."""
_READ_BY_ROUGE = re.compile(r"[a-z0-9]", re.IGNORECASE)


def rouge_f(target: str, prediction: str) -> float:
    """F of ROUGE-1 with stemming. If either text has no ASCII letter or digit, of which alone ROUGE's tokens are made,
    F of the overlap of the words of text.norm instead."""
    if _READ_BY_ROUGE.search(target) and _READ_BY_ROUGE.search(prediction):
        return rouge1(target, prediction)[0]
    one, other = norm(target).split(), norm(prediction).split()
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * shared / (len(one) + len(other)) if shared else 0.0


def rouge(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """`rouge_f` of each pair: needs no model, but takes other words for another meaning."""
    return [rouge_f(target, prediction) for target, prediction in pairs]


def by_embedding(embed: Embed) -> Similarity:
    """Cosine of the embeddings, the mean over a sentence encoder ("SBERT"). A text is embedded once per call; negative
    cosines count as they are."""

    def similarity(pairs: Sequence[tuple[str, str]]) -> list[float]:
        places = {text: number for number, text in enumerate(dict.fromkeys(text for pair in pairs for text in pair))}
        if not places:
            return []
        vectors = embed(list(places))
        return [float(vectors[places[one]] @ vectors[places[other]]) for one, other in pairs]

    return similarity
