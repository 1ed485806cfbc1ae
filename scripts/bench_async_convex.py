"""The delay-adaptive method on a convex problem with real features, against SGD and AdaGrad-norm, tuned and not.

    python scripts/bench_async_convex.py corpus/train.jsonl.zst --cache embeddings.npz
    python scripts/bench_async_convex.py corpus/train.jsonl.zst --cache embeddings.npz --radius 10 --json b.json

Multinomial logistic regression in a ball around 0: the features are MiniLM embeddings of a corpus's documents (their
first 64 tokens), the class is a document's subset. The figure is the excess loss f(x_T) - f* over all of them, f* from
a long accelerated projected gradient method. All methods get the same batches under the same delays:

constant  32 equal workers that take turns: every lag is 31
heavy     32 workers whose batches take Pareto(1.2) times: a few gradients come thousands of updates late
changing  4 workers, then 64, then 4 again, of unequal speed

SGD and AdaGrad-norm are projected onto the ball. SGD's rate is chosen for each kind of delay, on the very runs that are
reported (which favours SGD): of 13 rates, constant or falling with 1/sqrt(t), with the last iterate or the mean of all.
"untuned" is the one setting that is best without delays. The delay-adaptive method and AdaGrad-norm have no rate;
--scale gives factors of its D (the default and the theory's 1).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ttft.async_training import AsyncTrainer, Ball, Join, Leave, Master, Simulated, make_master
from ttft.async_training.delay_adaptive import SCALE
from ttft.async_training.master import State
from ttft.async_training.times import ConstantTimes, GammaTimes, ParetoTimes
from ttft.corpus.problems import Problems
from ttft.corpus.sources import read_texts
from ttft.embedding import load_embedder

BATCH = 16
RATES = [10 ** (e / 3) for e in range(-4, 9)]  # 0.05 to 464
Row = dict[str, Any]


class Problem:
    """Mean cross-entropy of theta (d * C,) over features x (n, d) and classes y (n,), in a ball around 0."""

    def __init__(self, x: np.ndarray, y: np.ndarray, radius: float) -> None:
        self.x, self.y, self.radius = x, y, radius
        self.classes = int(y.max()) + 1
        self.k = x.shape[1] * self.classes

    def loss_and_gradient(self, theta: np.ndarray, rows: Any = slice(None)) -> tuple[float, np.ndarray]:
        x, y = self.x[rows], self.y[rows]
        logits = x @ theta.reshape(-1, self.classes)
        logits -= logits.max(1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(1, keepdims=True))
        each = np.arange(len(y))
        loss = -float(logits[each, y].mean())
        errors = np.exp(logits)
        errors[each, y] -= 1
        return loss, (x.T @ errors).reshape(-1) / len(y)

    def sampled(self, seed: int) -> Callable[[torch.Tensor, int, int], tuple[torch.Tensor, float]]:
        def gradient(theta: torch.Tensor, worker: int, number: int) -> tuple[torch.Tensor, float]:
            rows = np.random.default_rng((seed, worker, number)).integers(len(self.y), size=BATCH)
            loss, g = self.loss_and_gradient(theta.numpy(), rows)
            return torch.from_numpy(g), loss

        return gradient

    def optimum(self, steps: int = 1500) -> float:
        """The least loss in the ball: accelerated projected gradient with restarts; features are unit vectors, so that
        the loss is 1/2-smooth."""
        theta = ahead = np.zeros(self.k, np.float32)
        momentum = 1.0
        for _ in range(steps):
            _, g = self.loss_and_gradient(ahead)
            moved = ahead - 2.0 * g
            moved *= min(1.0, self.radius / max(float(np.linalg.norm(moved)), 1e-12))
            after = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            if float((ahead - moved) @ (moved - theta)) > 0:
                after, momentum = 1.0, 1.0
            ahead = moved + (momentum - 1) / after * (moved - theta)
            theta, momentum = moved, after
        return self.loss_and_gradient(theta)[0]


# ---- the rivals ----------------------------------------------------------------------------------------------------


@dataclass
class ProjectedState(State):
    """center: the start; mean: of all iterates; squares: sum of the squared gradient norms."""

    center: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    mean: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    squares: float = 0.0


class Projected(Master):
    """Projected SGD with a rate for each update, or (rate None) AdaGrad-norm, D / sqrt(2 sum |g|^2)."""

    def __init__(self, start: torch.Tensor, ball: Ball, rate: Callable[[int], float] | None) -> None:
        super().__init__(start, 1.0)
        self.ball, self.step = ball, rate

    def _start(self, theta: torch.Tensor) -> ProjectedState:
        return ProjectedState(theta, center=theta.clone(), mean=theta.clone())

    def _apply(self, worker: int, payload: torch.Tensor, lr: float, lag: int) -> None:
        state = self.state
        state.squares += float(payload @ payload)
        rate = self.step(state.updates) if self.step else self.ball.diameter(0) / math.sqrt(2 * state.squares)
        state.theta.sub_(payload, alpha=rate)
        self.ball.project(state.theta, state.center)
        state.mean.lerp_(state.theta, 1 / (state.updates + 1))


# ---- delays --------------------------------------------------------------------------------------------------------


def cluster(delays: str, updates: int, seed: int) -> Simulated:
    if delays == "none":
        return Simulated(1, times=ConstantTimes())
    if delays == "constant":
        return Simulated(32, times=ConstantTimes())
    if delays == "heavy":
        return Simulated(32, times=ParetoTimes(seed))
    times = GammaTimes(seed, heterogeneous=True)
    begin, end = (
        updates / 12,
        updates / 12 + updates / 96,
    )  # a third of the updates each, at about one a second a worker
    extra = range(4, 64)
    events = [Join(begin, worker) for worker in extra] + [Leave(end, worker) for worker in extra]
    return Simulated(4, times=times, events=events)


def excess(problem: Problem, least: float, theta: torch.Tensor) -> float:
    return problem.loss_and_gradient(theta.numpy())[0] - least


def run(problem: Problem, least: float, delays: str, updates: int, seed: int, make: Callable[[], Master]) -> Row:
    """Excess losses of the method's result ("last") and, for the rivals, of the mean of all iterates."""
    master, lags = make(), []
    trainer = AsyncTrainer(problem.sampled(seed), master, cluster(delays, updates, seed))
    trainer.run(updates, on_arrival=lambda arrival: lags.append(arrival.lag))
    found = {"last": excess(problem, least, master.theta), "mean lag": float(np.mean(lags)), "longest lag": max(lags)}
    if isinstance(master, Projected):
        found["mean"] = excess(problem, least, master.state.mean)
    return found


def contenders(problem: Problem, scales: list[float]) -> dict[str, Callable[[], Master]]:
    zero, ball = torch.zeros(problem.k), Ball(problem.radius)
    made: dict[str, Callable[[], Master]] = {}
    for scale in scales:
        name = "delay-adaptive" + (f", scale {scale:g}" if scale != SCALE else "")
        made[name] = lambda scale=scale: make_master("delay-adaptive", zero, within=ball, scale=scale)
    made["adagrad-norm"] = lambda: Projected(zero, ball, None)
    for rate in RATES:
        made[f"sgd {rate:.3g}"] = lambda rate=rate: Projected(zero, ball, lambda t: rate)
        made[f"sgd {rate:.3g}/sqrt"] = lambda rate=rate: Projected(zero, ball, lambda t: rate / math.sqrt(t + 1))
    return made


def compare(problem: Problem, options: argparse.Namespace) -> list[Row]:
    least = problem.optimum()
    print(
        f"{len(problem.y):,} documents, {problem.classes} classes, {problem.k:,} parameters, radius {problem.radius:g}"
    )
    print(
        f"f* = {least:.4f}; f(0) - f* = {math.log(problem.classes) - least:.3f}; excess loss after {options.updates:,}"
    )
    rows, untuned = [], ""
    for delays in ("none", *options.delays):
        found: dict[str, list[float]] = {}
        lags: Row = {}
        for name, make in contenders(problem, options.scale).items():
            runs = [run(problem, least, delays, options.updates, seed, make) for seed in range(options.seeds)]
            lags = runs[0]
            for which in ("last", "mean"):
                if which in runs[0]:
                    found[name + (" mean" if which == "mean" else "")] = [r[which] for r in runs]
        of_sgd = {name: float(np.mean(v)) for name, v in found.items() if name.startswith("sgd")}
        best = min(of_sgd, key=lambda name: of_sgd[name])
        untuned = untuned or best
        print(f"\n{delays}: mean lag {lags['mean lag']:.1f}, longest {lags['longest lag']}; tuned SGD is {best}")
        for name, values in found.items():
            shown = name if not name.startswith("sgd") else {best: "sgd tuned", untuned: "sgd untuned"}.get(name)
            rows.append({"delays": delays, "method": name, "shown": shown, "excess": values})
            if shown:
                ratio = np.mean(values) / of_sgd[best]
                print(
                    f"  {shown:22} {np.mean(values):.4f} +- {np.std(values):.4f}   {ratio:5.2f} of tuned SGD",
                    flush=True,
                )
    return rows


def embedded(source: str, cache: Path | None, documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, 384) and class numbers (n,) of the first documents of a corpus, kept in `cache`."""
    if cache is not None and cache.exists():
        with np.load(cache) as kept:
            return kept["x"], kept["y"]
    texts = []
    for text in read_texts(source, problems=Problems()):
        texts.append((text.text[:2000], text.subset))
        if len(texts) == documents:
            break
    names = sorted({subset for _, subset in texts})
    x = load_embedder("minilm", max_tokens=64).encode([text for text, _ in texts])
    y = np.array([names.index(subset) for _, subset in texts])
    if cache is not None:
        np.savez(cache, x=x, y=y)
    return x, y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="documents with subsets, in any format of a corpus")
    parser.add_argument("--cache", type=Path, help="keep the embeddings in this .npz file")
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--radius", type=float, default=20.0)
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument(
        "--scale", nargs="+", type=float, default=[SCALE, 1.0], help="factors of D for the delay-adaptive method"
    )
    parser.add_argument("--delays", nargs="+", default=["constant", "heavy", "changing"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = compare(Problem(*embedded(options.source, options.cache, options.documents), options.radius), options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
