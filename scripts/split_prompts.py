"""Split a file of held-out documents by subset into prompts to choose settings on and prompts to report.

    python scripts/split_prompts.py val.jsonl.zst --out runs/prompts --report 100 --choose 60

No document is in both. The reported part takes one of each subset in turn, so that small ones are covered; the part
that settings are chosen on takes its own from what is left. Drawn with a seed, before anything is scored.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path

from ttft.corpus.pieces import Text
from ttft.corpus.problems import Problems
from ttft.corpus.sources import read_texts


def take(groups: dict[str, list[Text]], total: int) -> list[Text]:
    """One of each subset in turn, as long as it has any, until there are `total`."""
    taken: list[Text] = []
    while len(taken) < total and any(groups.values()):
        taken += [group.pop() for group in groups.values() if group]
    return taken[:total]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="held-out documents, in any format of a corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.jsonl and choose.jsonl")
    parser.add_argument("--report", type=int, default=100)
    parser.add_argument("--choose", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--never-report", help="documents that settings were chosen on before: none of them is reported"
    )
    args = parser.parse_args()

    groups: dict[str, list[Text]] = defaultdict(list)
    for text in read_texts(args.source, problems=Problems(strict=True)):
        groups[text.subset].append(text)
    groups = dict(sorted(groups.items()))
    for group in groups.values():
        random.Random(args.seed).shuffle(group)
    seen = {t.text for t in read_texts(args.never_report, problems=Problems())} if args.never_report else set()
    kept = {name: [t for t in group if t.text in seen] for name, group in groups.items()}
    groups = {name: [t for t in group if t.text not in seen] for name, group in groups.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    for name, count in (("report", args.report), ("choose", args.choose)):
        if name == "choose":  # what was seen before first: the last of a group is taken first
            groups = {subset: group + kept[subset] for subset, group in groups.items()}
        chosen = take(groups, count)
        with open(args.out / f"{name}.jsonl", "w", encoding="utf-8") as out:
            for t in chosen:
                record = {"id": t.source, "text": t.text, "meta": {"pile_set_name": t.subset}}
                out.write(json.dumps(record, ensure_ascii=False) + "\n")
        print(f"{args.out / name}.jsonl: {len(chosen)} documents of {len({t.subset for t in chosen})} subsets")


if __name__ == "__main__":
    main()
