"""The questions that human annotators wrote in place of a conversation's turns, as a file of questions.

    python scripts/q2d_questions.py DATA > questions.jsonl

DATA holds QReCC and CAsT in the forms of `ttft q2d train`. Left out are repeated questions, and those of the turns that
scripts/q2d_evidence.sh evaluates on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ttft.q2d.conversations import load_examples, without_overlap

HUMAN = "qrecc/adaqr_4k_sft_data_with_human_rewrite.jsonl"
TESTS = (
    "qrecc/infocqr_dev-sampled2k-modified.json",
    "cast/llm4cs_cast19_test.json",
    "cast/llm4cs_cast20_test.json",
)


def main() -> None:
    data = Path(sys.argv[1])
    examples = load_examples(data / HUMAN)
    for test in TESTS:
        examples = without_overlap(examples, load_examples(data / test))
    first = {one.target.strip().lower(): one for one in reversed(examples)}
    for one in examples:
        if first[one.target.strip().lower()] is one:
            print(json.dumps({"id": one.id, "question": one.target, "source": one.source}, ensure_ascii=False))


if __name__ == "__main__":
    main()
