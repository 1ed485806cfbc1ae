"""Time how soon ttft answers: `import ttft` and `ttft --help`, beside the interpreter and the libraries they need.

    python scripts/bench_startup.py
    python scripts/bench_startup.py --repeats 30 --json bench.json

interpreter  python -c pass: what no program can avoid
libraries    the interpreter importing typer, pydantic, yaml and rich, which the command line is made of
import ttft  the interpreter importing ttft
ttft --help  the whole command

Each is a process of its own, started in turn within each round, after a round that is not counted. "seconds" are
medians over the rounds, from the start of the process to its end; "more" is what comes on top of the interpreter's. The
aim is less than 0.4 s for `ttft --help`, and less than 0.15 s more for `import ttft`. Whether heavy libraries stay
unloaded, which is what the times depend on, is tested (tests/test_cli.py); the times themselves are not, as they are
this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ttft.runtime import cores, processor_name

REPO = Path(__file__).parents[1]
INTERPRETER = "interpreter"
COMMANDS = {
    INTERPRETER: ["-c", "pass"],
    "libraries": ["-c", "import typer, pydantic, yaml, rich.console"],
    "import ttft": ["-c", "import ttft"],
    "ttft --help": ["-m", "ttft", "--help"],
}


def measure(repeats: int) -> dict[str, list[float]]:
    """Seconds of each command by round."""
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for repeat in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="rounds that are counted")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    args = parser.parse_args()
    seconds = measure(args.repeats)
    bare = statistics.median(seconds[INTERPRETER])
    facts = {"processor": processor_name(), "cores": cores(), "python": sys.version.split()[0], "rounds": args.repeats}
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print(f"{'':12}{'seconds':>9}{'more':>9}{'times the interpreter':>23}")
    table = []
    for name, values in seconds.items():
        median = statistics.median(values)
        table.append({"what": name, "seconds": median, "more": median - bare, "times the interpreter": median / bare})
        print(f"{name:12}{median:9.3f}{median - bare:9.3f}{median / bare:23.1f}")
    if args.json:
        numbers = {"machine": facts, "table": table, "seconds": seconds}
        args.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
