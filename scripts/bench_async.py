"""Asynchronous methods on a small classifier in a simulated cluster; and what their masters cost.

    python scripts/bench_async.py                                         every method, 8, 16 and 32 equal machines
    python scripts/bench_async.py --heterogeneous --workers 16            machines of unequal speed
    python scripts/bench_async.py --methods dana nag-asgd --seeds 1 --json bench.json
    python scripts/bench_async.py --cost                                  an arrival, in plain SGD steps

The task: 20,000 points of 20 normal numbers, their class one of 10 by a random network; a ReLU network 20-64-64-10 is
trained on 6,250 batches of 64 in all, however many workers there are. Rate 0.05 with warm-up over 625 updates and
falls to a tenth at 60% and 85%, momentum 0.9, weight decay 1e-4; nothing is tuned again for more workers. "asgd10" is
asgd with ten times the rate, which is as far as momentum moves. A run that diverges counts as 10% correct. The methods
are reconstructions of the papers' (ttft/async_training/README.md), and so are these figures.

--cost: receive and view of the master with 64 workers and 5 M parameters, against one step of torch.optim.SGD without
momentum on as many. Read the ratios: the times are this machine's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ttft.async_training import MASTERS, AsyncTrainer, Inner, Schedule, Simulated, make_master
from ttft.errors import TtftError
from ttft.runtime import keep_freed_memory

CLASSES, BATCH, ARRIVALS = 10, 64, 6250
SHAPES = [(20, 64), (64,), (64, 64), (64,), (64, CLASSES), (CLASSES,)]
ENDS = np.cumsum([np.prod(shape) for shape in SHAPES])[:-1]
EACH = np.arange(BATCH)
METHODS = ["asgd", "asgd10", "nag-asgd", "multi-asgd", "dc-asgd", "sa", "ga", "dana", "dana-dc", "dana-ga"]
RATE = 0.05
Row = dict[str, Any]


class Task:
    """The data, and the gradient of the network by hand, which is faster than autograd."""

    def __init__(self, seed: int, data_seed: int = 0) -> None:
        rng = np.random.default_rng(data_seed)
        x = rng.normal(size=(25_000, 20))
        first, second = rng.normal(size=(20, 40)) * 1.5 / np.sqrt(20), rng.normal(size=(40, CLASSES))
        y = np.argmax(np.tanh(x @ first) @ second, axis=1)
        self.x, self.y = x.astype(np.float32), y
        self.seed = seed

    def start(self) -> torch.Tensor:
        rng = np.random.default_rng((self.seed, 1))
        parts = [
            rng.normal(size=shape) * np.sqrt(2 / shape[0]) if len(shape) == 2 else np.zeros(shape) for shape in SHAPES
        ]
        return torch.from_numpy(np.concatenate([part.reshape(-1) for part in parts])).float()

    def gradient(self, theta: torch.Tensor, worker: int, number: int) -> tuple[torch.Tensor, float]:
        rows = np.random.default_rng((self.seed, 2, worker, number)).integers(20_000, size=BATCH)
        x, y = self.x[rows], self.y[rows]
        w1, b1, w2, b2, w3, b3 = layers(theta)
        h1 = np.maximum(x @ w1 + b1, 0)
        h2 = np.maximum(h1 @ w2 + b2, 0)
        d3 = h2 @ w3 + b3
        d3 -= d3.max(1, keepdims=True)
        d3 -= np.log(np.exp(d3).sum(1, keepdims=True))
        loss = -float(d3[EACH, y].mean())
        np.exp(d3, out=d3)
        d3[EACH, y] -= 1
        d3 /= BATCH
        d2 = (d3 @ w3.T) * (h2 > 0)
        d1 = (d2 @ w2.T) * (h1 > 0)
        g = torch.empty_like(theta)
        g1, c1, g2, c2, g3, c3 = layers(g)
        for d, before, of_weight, of_bias in ((d3, h2, g3, c3), (d2, h1, g2, c2), (d1, x, g1, c1)):
            np.matmul(before.T, d, out=of_weight)
            d.sum(0, out=of_bias)
        return g, loss

    def accuracy(self, theta: torch.Tensor) -> float:
        """Percent correct of the 5,000 points that are not trained on."""
        w1, b1, w2, b2, w3, b3 = layers(theta)
        x, y = self.x[20_000:], self.y[20_000:]
        logits = np.maximum(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 0) @ w3 + b3
        return 100 * float((logits.argmax(1) == y).mean())


def layers(vector: torch.Tensor) -> list[np.ndarray]:
    """Views of a flat vector as the network's weights and biases."""
    parts = np.split(vector.numpy(), ENDS)
    return [part.reshape(shape) for part, shape in zip(parts, SHAPES, strict=True)]


def train(method: str, workers: int, seed: int, heterogeneous: bool) -> Row:
    task = Task(seed)
    name, rate = ("asgd", 10 * RATE) if method == "asgd10" else (method, RATE)
    updates = ARRIVALS // workers if MASTERS[name].synchronous else ARRIVALS
    schedule = Schedule(rate, updates // 10, workers, (int(0.6 * updates), int(0.85 * updates)))
    master = make_master(name, task.start(), lr=schedule, weight_decay=1e-4, gaps=True)
    gaps: list[float] = []
    begin = time.perf_counter()
    trainer = AsyncTrainer(task.gradient, master, Simulated(workers, heterogeneous=heterogeneous, seed=seed))
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            trainer.run(updates, on_arrival=lambda arrival: gaps.append(arrival.raw_gap or 0.0))
            accuracy = task.accuracy(master.theta)
    except TtftError:  # diverged
        accuracy = 100 / CLASSES
    seconds = time.perf_counter() - begin
    gap = float(np.mean([gap for gap in gaps if np.isfinite(gap)]))
    return {"method": method, "workers": workers, "seed": seed, "accuracy": accuracy, "gap": gap, "seconds": seconds}


def classify(options: argparse.Namespace) -> list[Row]:
    rows = []
    machines = "unequal" if options.heterogeneous else "equal"
    for workers in options.workers:
        print(
            f"\n{workers} {machines} machines: % correct (mean +- sd of {options.seeds} seeds), raw gap, seconds a run"
        )
        for method in options.methods:
            runs = [train(method, workers, seed, options.heterogeneous) for seed in range(options.seeds)]
            rows += runs
            right = [run["accuracy"] for run in runs]
            gap, seconds = (statistics.mean(run[key] for run in runs) for key in ("gap", "seconds"))
            print(
                f"  {method:12} {np.mean(right):5.1f} +- {np.std(right):4.1f}   {gap:8.1e}   {seconds:4.1f}", flush=True
            )
    return rows


# ---- what an arrival costs -----------------------------------------------------------------------------------------


def cost(options: argparse.Namespace) -> list[Row]:
    """Medians of one thread's CPU time, so that other load on the machine counts for little; the plain step and the
    method take turns."""
    keep_freed_memory()
    torch.set_num_threads(1)
    k, workers = options.parameters, options.cost_workers
    g = torch.randn(k, generator=torch.Generator().manual_seed(0))
    plain = torch.nn.Parameter(torch.zeros(k))
    plain.grad = g
    sgd = torch.optim.SGD([plain], lr=1e-3)
    print(f"\nreceive and view, {workers} workers, {k:,} parameters, as multiples of a plain torch.optim.SGD step")
    rows = []
    for method in options.methods:
        if method not in MASTERS:
            continue
        needed: Row = {"lr": 1e-3}
        if method == "delay-adaptive":
            needed = {"within": 1.0}
        elif "diloco" in method:
            needed["inner"] = Inner(1e-3)
        master = make_master(method, torch.zeros(k), **needed)
        for worker in range(workers):
            master.join(worker)
            master.view(worker)
        of_sgd, of_master = [], []
        for n in range(workers + options.repeats):
            begin = time.process_time()
            sgd.step()
            middle = time.process_time()
            master.receive(n % workers, g)
            for worker in master.idle():
                master.view(worker)
            of_sgd.append(middle - begin)
            of_master.append(time.process_time() - middle)
        if MASTERS[method].synchronous:
            of_master = [sum(of_master[:workers]) / workers]  # one round, for each of its arrivals
        base, median = statistics.median(of_sgd[workers:]), statistics.median(of_master[-options.repeats :])
        rows.append({"method": method, "times": median / base, "ms": 1000 * median, "sgd_ms": 1000 * base})
        print(f"  {method:14} {median / base:5.1f} times   {1000 * median:6.1f} ms", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", help="default: those of the table; with --cost: all")
    parser.add_argument("--workers", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--heterogeneous", action="store_true")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--parameters", type=int, default=5_000_000, help="with --cost")
    parser.add_argument("--cost-workers", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=64, help="with --cost: arrivals that are timed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.methods = options.methods or (list(MASTERS) if options.cost else METHODS)
    rows = cost(options) if options.cost else classify(options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
