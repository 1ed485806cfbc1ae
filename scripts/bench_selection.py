"""Time selection, side by side in one run: against other code, and against the search that its pools come from.

    python scripts/bench_selection.py                                   every part
    python scripts/bench_selection.py one batch --json bench.json       some of them
    python scripts/bench_selection.py search whole --rows 100000
    OMP_NUM_THREADS=1 python scripts/bench_selection.py one             one thread: steadier, and rivals gain at K=200

one     one prompt: our SIFT, activeft 0.1.1's exact mode (optional: pip install activeft==0.1.1), our Hull
batch   many prompts: one after the other, and all in one call; on a GPU too, where there is one
search  a flat Faiss search for many prompts, the reading of the vectors found, SIFT of them
whole   SIFT with every row as a candidate, against one flat Faiss search for one prompt
alpha   a stopping rule that ends early: does the time fall with the picks?

Read the ratios: the times are this machine's. Every time is a median over --repeats rounds (search and whole: 3 at
most). All that is compared runs in turn within each round, in one process, after a round that is not counted (and, in
`one`, after one prompt that is not). Ours is timed as a user calls it, from float32 vectors (it widens them to float64)
to picks; of activeft, which searches first, only what it says its selection took. lambda is 0.01. Pools are
unit(query + 3 * noise / sqrt(d)), 3 of them where one prompt is timed; the vectors of `search` and `whole` are random
unit vectors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ttft.runtime import cores, processor_name
from ttft.selection.hull import hull
from ttft.selection.picks import Picks
from ttft.selection.posterior import posterior_variances
from ttft.selection.sift import select_sift
from ttft.selection.sift_batch import sift_batch
from ttft.selection.sift_whole import sift_whole
from ttft.selection.stopping import Stop, UncertaintyRule

LAMBDA = 0.01
K, N, D = 200, 50, 384
Row = dict[str, Any]
Case = tuple[np.ndarray, np.ndarray]  # pool (K,d), query (1,d)


class Timed(NamedTuple):  # the answer of a run that knows better than the clock around it what it took
    seconds: float
    answer: Any


def measure(
    runs: dict[str, Callable], cases: Sequence, repeats: int, *, afresh: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, list]]:
    """Seconds of each run over all rounds and cases, and its answers to the cases.

    Unless `afresh`, a run does one case untimed whenever its turn comes, as in a job that selects for prompt after
    prompt: the first call after another program's pays for that one's memory and threads.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    answers: dict[str, list] = {}
    for repeat in range(repeats + 1):
        answers = {name: [] for name in runs}
        for name, run in runs.items():  # all cases one after the other, as prompts come
            if not afresh:
                run(cases[0])
            for case in cases:
                started = time.perf_counter()
                answer = run(case)
                took = time.perf_counter() - started
                took, answer = answer if isinstance(answer, Timed) else (took, answer)
                answers[name].append(answer)
                seconds[name] += [took] if repeat else []  # the first round only warms up
    return {name: np.array(values) for name, values in seconds.items()}, answers


def median(seconds: np.ndarray) -> float:
    return float(np.median(seconds))


def milliseconds(seconds: np.ndarray) -> Row:
    low, middle, high = (float(x) * 1e3 for x in np.percentile(seconds, (25, 50, 75)))
    return {"ms": middle, "quartiles": f"{show(low)} to {show(high)}"}


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def make_pools(count: int, k: int, d: int) -> list[Case]:
    rng = np.random.default_rng(0)
    queries = [unit(rng.standard_normal((1, d))) for _ in range(count)]
    return [(unit(query + 3 * rng.standard_normal((k, d)) / np.sqrt(d)), query) for query in queries]


def make_rows(rows: int, dtype: type = np.float32, seed: int = 0) -> np.ndarray:
    """Random unit vectors (rows, D), made in blocks so that little more than they is ever in memory."""
    rng, vectors, block = np.random.default_rng(seed), np.empty((rows, D), dtype), 10_000
    for start in range(0, rows, block):
        part = vectors[start : start + block]
        part[:] = unit(rng.standard_normal(part.shape, dtype=np.float32))
    return vectors


def flat_index(vectors: np.ndarray) -> Any:
    import faiss

    faiss.omp_set_num_threads(cores())  # activeft sets it to 1 for the whole process
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def sift_one(case: Case, stop: Stop | None = None) -> Picks:
    return select_sift(*case, N, lambda_=LAMBDA, stop=stop)


def activeft_runs() -> dict[str, Callable[[Case], Timed]]:
    """activeft as it comes, and without the worker process that it starts for every prompt; none if not installed."""
    try:
        from activeft.acquisition_functions.vtl import VTL
        from activeft.sift import Retriever
    except ImportError:
        print("activeft is not installed and left out; to compare with it: pip install activeft==0.1.1")
        return {}
    import torch

    print("activeft: its times.sift, on the CPU. That holds the start of a worker process; 'no worker': without it")
    bare = VTL(torch.Tensor(), num_workers=0, subsample=False, force_nonsequential=False, noise_std=np.sqrt(LAMBDA))

    def run(case: Case, **settings: Any) -> Timed:
        settings |= {"also_query_opposite": False, "device": torch.device("cpu")}
        retriever = Retriever(flat_index(case[0]), llambda=LAMBDA, **settings)
        _, ids, _, times = retriever.search(case[1], N, len(case[0]))
        return Timed(times.sift, ids)

    return {"activeft": run, "activeft, no worker": lambda case: run(case, acquisition_function=bare)}


def compare(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], cases: Sequence[Case]) -> str:
    if all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
        return "same picks"
    total, in_place, in_both, apart = 0, 0, 0, 0.0
    for a, b, (pool, query) in zip(ours, theirs, cases, strict=True):
        total, in_place = total + len(a), in_place + int((a == b).sum())
        in_both += (Counter(a.tolist()) & Counter(b.tolist())).total()
        pool, query = pool.astype(np.float64), query.astype(np.float64)
        curves = [posterior_variances(pool[order], query, LAMBDA) for order in (a, b)]
        apart = max(apart, float(np.abs(curves[0] - curves[1]).max()))
    return f"of {total}, {in_place} equal in place, {in_both} in both; variances differ by at most {apart:.1e}"


def part_one(args: argparse.Namespace) -> list[Row]:
    rivals, rows = activeft_runs(), []
    ours = {"sift": lambda case: sift_one(case).order, "hull": lambda case: hull(*case, N).order}
    for k, d in ((K, D), (K, 1024), (1000, D)):
        cases = make_pools(3, k, d)
        seconds, picks = measure(ours | rivals, cases, args.repeats, afresh=False)
        for name, values in seconds.items():
            rows.append({"K,N,d": f"{k},{N},{d}", "what": name, **milliseconds(values)})
            rows[-1]["times sift"] = median(values) / median(seconds["sift"])
            rows[-1]["picks"] = compare(picks["sift"], picks[name], cases) if name in rivals else ""
    return rows


def part_batch(args: argparse.Namespace) -> list[Row]:
    import torch

    print(f"{args.prompts} prompts, K={K}, N={N}; same picks: prompts with those of the first line")
    rows = []
    for d in (D, 768, 1024):
        cases = make_pools(args.prompts, K, d)
        arrays = [np.stack(x) for x in zip(*cases, strict=True)]
        runs: dict[str, Callable] = {
            "one by one": lambda _, cases=cases: [sift_one(case) for case in cases],
            "batch": lambda _, arrays=arrays: sift_batch(*arrays, N, lambda_=LAMBDA),
        }
        if torch.cuda.is_available():
            there = [torch.as_tensor(x, device="cuda") for x in arrays]
            name = f"batch on {torch.cuda.get_device_name()}"  # it reads every pick back, and so ends when the GPU has
            runs[name] = lambda _, there=there: sift_batch(*there, N, lambda_=LAMBDA)
        seconds, picks = measure(runs, [None], args.repeats)
        for name, values in seconds.items():
            rows.append({"d": d, "what": name, "prompts/s": args.prompts / median(values), **milliseconds(values)})
            rows[-1]["times as fast"] = median(seconds["one by one"]) / median(values)
            pairs = zip(picks[name][0], picks["one by one"][0], strict=True)
            rows[-1]["same picks"] = sum(np.array_equal(a.order, b.order) for a, b in pairs)
    return rows


def part_search(args: argparse.Namespace) -> list[Row]:
    print(f"{args.queries:,} prompts in one call, {args.rows:,} rows of float32 in memory, d={D}, K={K}, N={N}")
    vectors, queries = make_rows(args.rows), make_rows(args.queries, seed=1)
    index, found = flat_index(vectors), {}
    runs: dict[str, Callable] = {
        "Faiss flat search": lambda _: found.update(ids=index.search(queries, K)[1]),
        "reading the vectors found": lambda _: found.update(pools=vectors[np.sort(found["ids"], axis=1)]),
        "sift_batch": lambda _: sift_batch(found.pop("pools"), queries, N, lambda_=LAMBDA),
    }
    rows: list[Row] = []
    for name, values in measure(runs, [None], min(args.repeats, 3))[0].items():
        rows.append({"what": name, "seconds": median(values), "ms a prompt": median(values) * 1e3 / args.queries})
        rows[-1]["% of search"] = rows[-1]["seconds"] / rows[0]["seconds"] * 100
    return rows


def peak(rows: int, dtype: str, n: int) -> float:
    """MiB by which the resident memory of this (fresh) process rises during sift_whole above what it was before."""
    vectors, query = make_rows(rows, np.dtype(dtype).type), make_rows(1, seed=1)
    sift_whole(vectors[:100], query, 2)  # libraries that are loaded once
    before = Path("/proc/self/status").read_text()
    sift_whole(vectors, query, n, lambda_=LAMBDA)
    after = Path("/proc/self/status").read_text()
    return (int(re.findall(r"VmHWM:\s+(\d+)", after)[0]) - int(re.findall(r"VmRSS:\s+(\d+)", before)[0])) / 1024


def part_whole(args: argparse.Namespace) -> list[Row]:
    n = 20
    print(f"one prompt, all {args.rows:,} rows in memory, d={D}, N={n}; more MiB: highest resident memory, less that")
    print("before the call (vectors loaded), in a process of its own, on Linux; computed: 8 * rows * (N + 2) bytes")
    vectors, query = make_rows(args.rows), make_rows(1, seed=1)
    index, half = flat_index(vectors), vectors.astype(np.float16)
    runs: dict[str, Callable] = {
        "Faiss flat search": lambda _: index.search(query, n),
        "sift_whole, float32": lambda _: sift_whole(vectors, query, n, lambda_=LAMBDA),
        "sift_whole, float16": lambda _: sift_whole(half, query, n, lambda_=LAMBDA),
    }
    rows: list[Row] = []
    for name, values in measure(runs, [None], min(args.repeats, 3))[0].items():
        rows.append({"what": name, "seconds": median(values)})
        rows[-1]["times one search"] = rows[-1]["seconds"] / rows[0]["seconds"]
        needs: list[Any] = ["", ""]
        if len(rows) > 1 and Path("/proc/self/status").exists():
            with multiprocessing.get_context("spawn").Pool(1) as child:
                needs = [child.apply(peak, (args.rows, name.split()[-1], n)), 8 * args.rows * (n + 2) / 2**20]
        rows[-1] |= zip(("more MiB", "computed"), needs, strict=True)
    return rows


def part_alpha(args: argparse.Namespace) -> list[Row]:
    print(f"K={K}, at most {N} picks, d={D}; alpha from the first of 3 pools, picks: mean over them; full: no rule")
    cases = make_pools(3, K, D)
    reached = np.arange(N + 1) * np.sqrt(sift_one(cases[0]).variances)  # stops at the first n * sigma_n > 1 / alpha
    alphas = [float(f"{2 / (reached[n - 1] + reached[n]):.4g}") for n in (50, 25, 10, 5)]
    runs: dict[str, Callable] = {"none": sift_one}
    runs |= {str(alpha): lambda case, alpha=alpha: sift_one(case, UncertaintyRule(alpha)) for alpha in alphas}
    seconds, picks = measure(runs, cases, args.repeats)
    rows: list[Row] = []
    for name, values in seconds.items():
        count = float(np.mean([len(p.order) for p in picks[name]]))
        rows.append({"alpha": name, "picks": count, **milliseconds(values), "ms a pick": median(values) * 1e3 / count})
        rows[-1]["times full's"] = rows[-1]["ms a pick"] / rows[0]["ms a pick"]
        rows[-1]["% of full's time"] = rows[-1]["ms"] / rows[0]["ms"] * 100
    return rows


PARTS = {"one": part_one, "batch": part_batch, "search": part_search, "whole": part_whole, "alpha": part_alpha}


def show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def print_table(rows: list[Row]) -> None:
    lines = [list(rows[0]), *([show(value) for value in row.values()] for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    aligned = [str.ljust if isinstance(value, str) else str.rjust for value in rows[-1].values()]
    for line in lines:
        cells = (align(cell, width) for align, cell, width in zip(aligned, line, widths, strict=True))
        print("  ".join(cells).rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default="all", choices=["all", *PARTS], metavar="PART")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--prompts", type=int, default=64, help="of batch")
    parser.add_argument("--queries", type=int, default=1000, help="prompts of search")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of search and whole")
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    args = parser.parse_args()
    omp = os.environ.get("OMP_NUM_THREADS", "unset")
    facts: Row = {"processor": processor_name(), "cores": cores(), "OMP_NUM_THREADS": omp}
    for package in ("numpy", "faiss-cpu", "faiss-gpu", "torch", "activeft"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            facts[package] = metadata.version(package)
    print(", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    done: dict[str, list[Row]] = {}
    for name in PARTS if "all" in args.parts else args.parts:
        print(f"\n{name}", flush=True)
        done[name] = PARTS[name](args)
        print_table(done[name])
    if args.json:
        args.json.write_text(json.dumps({"machine": facts, "parts": done}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
