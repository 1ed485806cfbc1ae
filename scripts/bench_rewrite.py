"""Time one rewrite of a dialog, beside the embedding, search and selection that its query goes through.

    python scripts/bench_rewrite.py runs/index dialogs.jsonl --model runs/q2d/model
    python scripts/bench_rewrite.py runs/index dialogs.jsonl --model runs/q2d/model --count 50 --json bench.json
    taskset -c 0 env OMP_NUM_THREADS=1 python scripts/bench_rewrite.py ...                  one core

Dialogs are rewritten one at a time, as in a conversation, and each query is then embedded, searched for and selected
for; a dialog that is not counted comes first. Only dialogs with history count: the others pass without a model.
"total" is from the dialog to the selected texts. Medians and 95th percentiles over the dialogs, in milliseconds, of
this machine; "tokens" are those of the query, on which the time of a rewrite depends most.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import islice
from pathlib import Path

import numpy as np

from ttft import Tuner, runtime
from ttft.q2d.dialog_input import read_dialogs
from ttft.q2d.rewriter import Rewriter, load_rewriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index")
    parser.add_argument("dialogs", type=Path, help="JSON lines with turns or messages")
    parser.add_argument("--model", required=True, help="as of ttft q2d rewrite")
    parser.add_argument("--count", type=int, default=100, help="dialogs to time (default: %(default)s)")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("-n", type=int, default=20, help="texts to select (default: %(default)s)")
    parser.add_argument("-k", type=int, default=200, help="size of the pool (default: %(default)s)")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    runtime.quiet_libraries()
    runtime.setup(0)
    rewriter = load_rewriter(given.model, dtype=given.dtype)
    tuner = Tuner(given.index, n=given.n, k=given.k, dtype=given.dtype)
    with open(given.dialogs, "rb") as handle:
        read = (d for d in read_dialogs(handle, str(given.dialogs), lenient=True) if len(d.turns) > 1)
        dialogs = list(islice(read, given.count + 1))
    if len(dialogs) < 2:
        raise SystemExit(f"{given.dialogs} has fewer than two dialogs with history")
    times: dict[str, list[float]] = {}
    tokens, failed = [], 0
    for number, dialog in enumerate(dialogs):
        started = time.perf_counter()
        (made,) = rewriter.rewrite([dialog.turns])
        seconds = {"rewrite": time.perf_counter() - started}
        seconds |= tuner.selector.select(dialog.id, made.queries).seconds
        seconds["total"] = time.perf_counter() - started
        if number == 0:
            continue
        failed += made.how == "last turn"
        if isinstance(rewriter, Rewriter) and made.query:
            tokens.append(len(rewriter.tokenizer(made.query)["input_ids"]))
        for stage, value in seconds.items():
            times.setdefault(stage, []).append(1000 * value)
    figures = {
        stage: {"median": round(float(np.median(v)), 2), "p95": round(float(np.percentile(v, 95)), 2)}
        for stage, v in times.items()
    }
    print(f"{len(dialogs) - 1} dialogs, {failed} with the last turn for a query; {runtime.processor_name()}, ", end="")
    print(f"{runtime.cores()} cores; an index of {tuner.index.rows:,} rows; milliseconds:")
    for stage, found in figures.items():
        print(f"{stage:>10}  median {found['median']:9.2f}   p95 {found['p95']:9.2f}")
    if tokens:
        print(f"tokens of a query: median {np.median(tokens):.0f}")
    if given.json:
        facts = {"processor": runtime.processor_name(), "cores": runtime.cores(), "rows": tuner.index.rows}
        rest = {"dialogs": len(dialogs) - 1, "last_turn": failed, "milliseconds": figures}
        given.json.write_text(json.dumps(facts | rest, indent=2) + "\n")


if __name__ == "__main__":
    main()
