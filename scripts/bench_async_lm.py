"""Asynchronous methods on LoRA of a language model in a simulated cluster: held-out BPB against updates and time.

    python scripts/bench_async_lm.py corpus.jsonl held-out.jsonl --out bench.jsonl              every cell of the grid
    python scripts/bench_async_lm.py ... --methods dana adamw --workers 16 --kinds unequal --seeds 0
    python scripts/bench_async_lm.py corpus.jsonl - --out rates.jsonl --workers 1 --lr 1e-3     to choose a rate
    python scripts/bench_async_lm.py --table bench.jsonl                                        the table of README.md

A gradient is that of one text of `--chars` characters. Every run has `--gradients` of them in all, however many workers
there are, with the options of one worker; masters are those of `ttft adapt`. The held-out documents are those of the
second file, or with "-" the last documents of the corpus, which are trained on in neither case. A run is one line of
--out; what is there already is not run again. One model is loaded for all runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
from functools import partial
from pathlib import Path
from typing import Any

from ttft import defaults, runtime
from ttft.async_training import AsyncTrainer, Simulated
from ttft.async_training.language_model import LoraGradient
from ttft.async_training.trainer import Arrival
from ttft.commands.adapt import master_of
from ttft.config.adapt import METHODS, AdaptConfig
from ttft.corpus.problems import Problems
from ttft.corpus.sources import read_prompts
from ttft.errors import TtftError
from ttft.evaluation import encode, score
from ttft.tuner.adapt import load_model

CHECKS = 4  # times that the held-out documents are scored in a run
SYNCHRONOUS = ("ssgd", "adamw", "diloco")
LOCAL = ("diloco", "async-diloco")
OF_GRADIENTS = ("dana-slim", "dana-dc", "dc-asgd", "dc-asgd-a", "ssgd")  # these have no Adam: a rate of plain gradients
Row = dict[str, Any]


def settings(args: argparse.Namespace, method: str, workers: int) -> AdaptConfig:
    """The options of `ttft adapt` for one cell, with as many updates as make the given number of gradients."""
    of_update = (args.inner_steps if method in LOCAL else 1) * (workers if method in SYNCHRONOUS else 1)
    rate = None if method in (*LOCAL, "delay-adaptive") else args.sgd_lr if method in OF_GRADIENTS else args.lr
    local = {"inner_lr": args.lr, "inner_steps": args.inner_steps} if method in LOCAL else {}
    return AdaptConfig(
        index="-", out="-", method=method, cluster="simulated", workers=workers, lr=rate,
        updates=max(1, round(args.gradients / of_update)), model=args.model, rank=args.rank, **local,
    )  # fmt: skip


class Bench:
    """The corpus, the model and the held-out documents, for all runs."""

    def __init__(self, args: argparse.Namespace) -> None:
        problems = Problems()
        documents = [one.text for one in read_prompts(args.corpus, max_prompts=None, problems=problems)]
        documents, last = documents[: -args.held_out], documents[-args.held_out :]
        held_out = last
        if args.validation != "-":
            given = read_prompts(args.validation, max_prompts=args.held_out, problems=problems)
            held_out = [one.text for one in given]
        texts = [text[at : at + args.chars] for text in documents for at in range(0, len(text), args.chars)]
        model = defaults.named_model(args.model)
        training = defaults.training_for(model, "lora", rank=args.rank, vocabulary=None)
        load = partial(
            load_model, args.model, training, revision=None, max_length=None, device="auto", dtype="auto",
            lora_alpha=None, start_from=None, seed=0, trust_remote_code=False,
        )  # fmt: skip
        self.gradient = LoraGradient(load, texts, batch=args.batch)
        self.loaded = self.gradient.loaded
        self.documents = [encode(self.loaded.tokenizer, text[: args.chars]) for text in held_out]
        self.base = self.nats(self.gradient.start)

    def nats(self, theta: Any) -> float:
        """Of all held-out documents under these parameters."""
        self.loaded.learner.adapters.values[0] = theta
        with self.loaded.learner.scoring(0) as model:
            return sum(score(model, one, max_length=self.loaded.window).nats for one in self.documents)

    def row(self, config: AdaptConfig, heterogeneous: bool, seed: int) -> Row:
        """One run: % of base at some points of it, with the seconds and gradients so far; lag and gap in the mean."""
        self.gradient.seed = seed
        master = master_of(config, self.gradient.start)
        cluster = Simulated(config.workers, heterogeneous=heterogeneous, seed=seed)
        trainer = AsyncTrainer(self.gradient, master, cluster)
        arrivals: list[Arrival] = []
        curve = []
        try:
            for part in range(1, min(CHECKS, config.updates) + 1):
                trainer.run(config.updates * part // min(CHECKS, config.updates), on_arrival=arrivals.append)
                percent = 100 * self.nats(master.theta) / self.base
                curve.append([master.updates, trainer.gradients, cluster.clock, percent])
        except TtftError:  # the loss is not finite
            curve.append([master.updates, trainer.gradients, cluster.clock, None])
        gaps = [one.raw_gap for one in arrivals if one.raw_gap is not None]
        return {
            "curve": curve, "lag": statistics.fmean(one.lag for one in arrivals) if arrivals else None,
            "gap": statistics.fmean(gaps) if gaps else None,
        }  # fmt: skip


def main() -> None:
    args = options()
    if args.table:
        print(table(rows_of(Path(args.table))))
        return
    runtime.quiet_libraries()
    runtime.setup(0)
    runtime.keep_freed_memory()
    out = Path(args.out)
    known = {key_of(row) for row in rows_of(out)} if out.exists() else set()
    bench = None
    for seed in args.seeds:
        for method in args.methods:
            for workers in args.workers:
                for kind in args.kinds if workers > 1 else args.kinds[:1]:
                    config = settings(args, method, workers)
                    about = {"method": method, "workers": workers, "kind": kind if workers > 1 else "one", "seed": seed}
                    about["lr"] = config.inner_lr if method in LOCAL else config.lr
                    if key_of(about) in known:
                        continue
                    bench = bench or Bench(args)
                    row = about | bench.row(config, kind == "unequal" and workers > 1, seed)
                    with out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    print(json.dumps(about), row["curve"][-1], flush=True)


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def key_of(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("method", "workers", "kind", "seed", "lr"))


def cell(rows: list[Row]) -> str:
    """Mean and standard deviation over seeds of the last % of base, and how many runs diverged."""
    ends = [row["curve"][-1][3] for row in rows]
    fine = [end for end in ends if end is not None and end < 1000]
    if len(fine) < len(ends):
        return f"diverges ({len(ends) - len(fine)} of {len(ends)})"
    spread = f" +- {statistics.stdev(fine):.1f}" if len(fine) > 1 else ""
    return f"{statistics.fmean(fine):.1f}{spread}" if fine else ""


def table(rows: list[Row]) -> str:
    """Methods down, workers and kinds of cluster across, as Markdown."""
    columns = sorted({(row["kind"] == "unequal", row["workers"]) for row in rows if row["workers"] > 1})
    heads = ["1", *(f"{workers}{' unequal' if unequal else ''}" for unequal, workers in columns)]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        cells = [cell([row for row in mine if row["workers"] == 1])]
        for unequal, workers in columns:
            cells.append(cell([r for r in mine if r["workers"] == workers and (r["kind"] == "unequal") == unequal]))
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?")
    parser.add_argument("validation", nargs="?", default="-")
    parser.add_argument("--out", default="bench.jsonl")
    parser.add_argument("--table", metavar="FILE")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 4, 8, 16, 32])
    parser.add_argument("--kinds", nargs="+", choices=["equal", "unequal"], default=["equal", "unequal"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--gradients", type=int, default=240)
    parser.add_argument("--lr", type=float, default=1e-3, help="of methods with Adam, and of DiLoCo's inner steps")
    parser.add_argument("--sgd-lr", type=float, default=0.5, help="of methods with plain gradients")
    parser.add_argument("--inner-steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1, help="texts of a gradient")
    parser.add_argument("--chars", type=int, default=700, help="of a text, and of a held-out document")
    parser.add_argument("--held-out", type=int, default=24, help="documents")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--rank", type=int, default=None)
    args = parser.parse_args()
    if not args.table and not args.corpus:
        parser.error("give a corpus to train on")
    return args


if __name__ == "__main__":
    main()
