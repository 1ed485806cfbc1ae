"""The in-context baseline: the chosen texts stand in front of the prompt, and nothing is trained.

What test-time fine-tuning is compared with in TTT-NN (arXiv 2305.18466) and SIFT (arXiv 2410.08020). The rules, made so
that the baseline is as strong as it can be on the same selection:

- The nearest text stands last, right before the prompt (by cosine; of two equal ones that chosen first).
- Texts stand whole. The least near is left out first, until the rest fits; where not even the nearest fits alone, its
  end stands there. (TTT-NN's code cuts such a row on its left, where the nearest text stands.)
- A text chosen several times stands once: a copy would only take room from another.
- A blank line ends each text, so that no word of one runs into a word of the next.

How much room there is, and where in a text of several windows the context stands, is evaluation.py's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SEPARATOR = "\n\n"


def fitting(texts: Sequence[Sequence[int]], cosines: Sequence[float], room: int) -> list[int]:
    """Places in `texts` (tokens of each, in the order of selection) of those that stand in a context of `room` tokens,
    ascending: the nearest ones that fit together, one at least."""
    distinct = {tuple(text): place for place, text in reversed(list(enumerate(texts)))}
    kept: list[int] = []
    used = 0
    for place in sorted(distinct.values(), key=lambda place: (-cosines[place], place)):
        used += len(texts[place])
        if kept and used > room:
            break
        kept.append(place)
    return sorted(kept)


def contexts(
    texts: Sequence[Sequence[int]], cosines: Sequence[float], room: int, counts: Iterable[int]
) -> dict[int, list[int]]:
    """The contexts by the number of texts in them: of none, of all that fit, and of each number in `counts` below that.

    texts, cosines  of each pick, in the order of selection;  room  in tokens, at least 1
    A context of fewer than all holds those of them that were chosen first. Values are ids, at most `room`.
    """
    assert room > 0
    kept = fitting(texts, cosines, room)
    made = {}
    for count in sorted({0, len(kept), *(c for c in counts if 0 <= c < len(kept))}):
        order = sorted(kept[:count], key=lambda place: (cosines[place], -place))
        made[count] = [token for place in order for token in texts[place]][-room:]
    return made
