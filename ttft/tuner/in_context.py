"""The in-context baseline: the selected texts are placed before the prompt, and nothing is trained.

TTT-NN (arXiv 2305.18466) and SIFT (arXiv 2410.08020) compare test-time fine-tuning with it. These rules make it as
strong as it can be on the same selection:

- The nearest text comes last, right before the prompt (by cosine; of two equal ones, the one selected first).
- Texts are kept whole. The one farthest from the prompt is dropped first, until the rest fits; if not even the nearest
  text fits alone, its end is used. (TTT-NN's code truncates such a row on the left, where the nearest text is.)
- A text selected several times is used once, since a copy would only take room from another text.
- A blank line ends each text, so that texts do not run into each other.

evaluation.py decides how much room there is, and where the context goes if a text spans several windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SEPARATOR = "\n\n"


def fitting(texts: Sequence[Sequence[int]], cosines: Sequence[float], room: int) -> list[int]:
    """Positions in `texts` (tokens of each, in the order of selection), ascending, of the nearest texts that together
    fit into `room` tokens; at least one."""
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
    """Contexts by the number of texts in them: 0, all that fit, and each number in `counts` below that.

    texts, cosines  of each pick, in the order of selection;  room: in tokens, at least 1
    A context with fewer texts holds those selected first. Values are token ids, at most `room` of them.
    """
    assert room > 0
    kept = fitting(texts, cosines, room)
    made = {}
    for count in sorted({0, len(kept), *(c for c in counts if 0 <= c < len(kept))}):
        order = sorted(kept[:count], key=lambda place: (cosines[place], -place))
        made[count] = [token for place in order for token in texts[place]][-room:]
    return made
