"""The collection that retrieval is scored on: MTRAG-UN's reference passages among pieces of other texts.

    python scripts/q2d_collection.py MTRAG_FOLDER --distractors pile-real/train.jsonl.zst --out collection.jsonl
    ttft index collection.jsonl --out runs/mtrag-index --embedder minilm

Writes JSON lines {"_id", "text"}: all passages of the folder, then --pieces pieces of the distractors' texts: those of
Wikipedia, then of Pile-CC, then of all other subsets together. Drawn with a seed.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ttft.corpus.pieces import pieces
from ttft.corpus.problems import Problems
from ttft.corpus.sources import read_texts
from ttft.files import write_whole
from ttft.q2d.mtrag import collection_lines, mtrag

FIRST = ("Wikipedia (en)", "Pile-CC")
"""Subsets like the passages: articles and web pages."""


def distractors(source: str, size: int, total: int, seed: int) -> Iterator[tuple[str, str]]:
    """(id, text) of `total` pieces: those of FIRST, then of all other subsets together, each group shuffled."""
    groups: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for piece in pieces(read_texts(source, problems=Problems(strict=True)), size):
        place = FIRST.index(piece.subset) if piece.subset in FIRST else len(FIRST)
        groups[place].append((f"{piece.subset}/{piece.source}/{piece.piece}", piece.text))
    left = total
    for place in sorted(groups):
        random.Random(seed).shuffle(groups[place])
        yield from groups[place][:left]
        left -= min(left, len(groups[place]))
    if left:
        raise SystemExit(f"{source} has only {total - left} pieces of {size} characters")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mtrag", type=Path, help="folder with MTRAG-UN's reference file and judgements")
    parser.add_argument("--distractors", required=True, help="texts in any format of a corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pieces", type=int, default=10_000)
    parser.add_argument("--piece-chars", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    passages = mtrag(args.mtrag).passages
    others = list(distractors(args.distractors, args.piece_chars, args.pieces, args.seed))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, collection_lines(passages, others).encode())
    print(f"{args.out}: {len(passages)} passages, {len(others)} distractors")


if __name__ == "__main__":
    main()
