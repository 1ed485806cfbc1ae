"""Time kinds of index on random unit vectors: build, size, search, recall, and search with selection after it.

    python scripts/bench_index.py                                        a million vectors of 384 numbers
    python scripts/bench_index.py --rows 100000 --kinds 'Flat;HNSW32'    fewer, and kinds of your choice

The index is one of ttft's, in shards as `ttft index` writes them, with vectors in float16 and a few bytes of text each.
Random vectors are the worst case for every approximate kind: nothing is near anything, so that there are no lists or
neighbours worth following. Real texts do better: ttft index info INDEX --recall 200.

build    making the shards searchable, training included; nothing is embedded here
search   --queries queries at once, and one query at a time (median)
recall   share of the true --k nearest that are found, for --sample queries
and SIFT the same search, then reading the pool's vectors and SIFT of N=50 for every query, against the search alone
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from ttft import runtime
from ttft.records import Document
from ttft.retriever import Retriever
from ttft.vector_index.manifest import EmbedderFacts, Manifest, Search, Segment, write_manifest
from ttft.vector_index.recall import exact, recall
from ttft.vector_index.segments import FaissSearch, add_segments
from ttft.vector_index.shards import Shard, VectorIndex, open_shards, write_shard

SHARD_ROWS = 65_536


def unit(rows: int, dimension: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_shards(folder: Path, rows: int, dimension: int) -> Manifest:
    made_by = EmbedderFacts("random", "none", dimension, "none", 0, None, "float32", "cpu")
    manifest = Manifest(made_by, precision="float16", dedup="off")
    for number, start in enumerate(range(0, rows, SHARD_ROWS)):
        some = unit(min(SHARD_ROWS, rows - start), dimension, seed=number)
        documents = [Document(str(start + i), "", "") for i in range(len(some))]
        manifest.shards.append(write_shard(folder, number, documents, some, precision="float16"))
        manifest.rows += len(some)
    return manifest


def median_seconds(run, rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def parts_of(search: Search) -> list[Segment]:
    """All Faiss files of an index."""
    return [*search.segments, *([search.trained] if search.trained else [])]


def measure(kind: str, folder: Path, manifest: Manifest, shards: tuple[Shard, ...], args: argparse.Namespace) -> dict:
    """One kind, built in the folder and removed again."""
    search = Search(factory=kind)
    started = time.perf_counter()
    add_segments(folder, shards, search, lambda: None, seed=0)
    built = time.perf_counter() - started
    parts = parts_of(search)
    size = sum(part.bytes for part in parts)
    facts = {"kind": kind, "build s": built, "MiB": size / 2**20}
    queries = unit(args.queries, args.dimension, seed=10**6)
    truth, _ = exact(shards, queries[: args.sample], args.k)
    for effort in args.nprobe if kind.startswith("IVF") else args.ef_search if kind.startswith("HNSW") else [None]:
        ivf = kind.startswith("IVF")
        searcher = FaissSearch(shards, search, effort if ivf else None, None if ivf else effort)
        index = VectorIndex(folder, manifest, shards, searcher)
        together = median_seconds(lambda index=index: index.search(queries, args.k), args.rounds)
        single = median_seconds(lambda index=index: index.search(queries[:1], args.k), 20)
        _, ids = index.search(queries[: args.sample], args.k)
        own = [index.vectors(np.maximum(row, 0)) @ query for row, query in zip(ids, queries, strict=False)]
        retriever = Retriever(index)
        both = median_seconds(
            lambda retriever=retriever: retriever.choose_batch(list(queries), n=50, k=args.k), args.rounds
        )
        found = {
            "effort": effort, "search s": together, "one query ms": 1000 * single,
            "recall": recall(ids, np.stack(own), truth), "search and SIFT": both / together,
        }  # fmt: skip
        shown = {name: value for name, value in (facts | found).items() if name != "efforts"}
        print(json.dumps({name: round(v, 4) if isinstance(v, float) else v for name, v in shown.items()}), flush=True)
        facts["efforts"] = [*facts.get("efforts", []), found]
    for part in parts:
        (folder / part.file).unlink()
    return facts


def show(results: list[dict], args: argparse.Namespace) -> None:
    print(f"\n{args.rows:,} x {args.dimension}, {args.queries:,} queries, K={args.k}, {runtime.host_facts('cpu')}")
    print(
        f"{'kind':16} {'effort':>6} {'build s':>8} {'MiB':>7} {'search s':>9} {'1 query ms':>10} {'recall':>7} "
        f"{'+SIFT':>6}"
    )
    for facts in results:
        for found in facts["efforts"]:
            print(
                f"{facts['kind']:16} {found['effort'] or '':>6} {facts['build s']:8.1f} {facts['MiB']:7.0f} "
                f"{found['search s']:9.2f} {found['one query ms']:10.2f} {found['recall']:7.3f} "
                f"{found['search and SIFT']:6.2f}"
            )


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument(
        "--kinds", default="Flat;SQ8;IVF4096,Flat;IVF4096,SQ8;IVF4096,PQ48;HNSW32", help="with ; between"
    )
    parser.add_argument("--nprobe", type=numbers, default=[16, 64, 256])
    parser.add_argument("--ef-search", type=numbers, default=[128, 512])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--k", type=int, default=200)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the index is written; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    args = parser.parse_args()
    runtime.setup(0)
    place = args.folder or Path(tempfile.mkdtemp())
    place.mkdir(parents=True, exist_ok=True)
    try:
        started = time.perf_counter()
        manifest = write_shards(place, args.rows, args.dimension)
        write_manifest(place, manifest)
        print(f"shards written in {time.perf_counter() - started:.1f} s", flush=True)
        shards = open_shards(place, manifest)
        results = [measure(kind, place, manifest, shards, args) for kind in args.kinds.split(";")]
    finally:
        if args.folder is None:
            shutil.rmtree(place)
    show(results, args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
