"""Make the demo's corpus and prompts from the Python standard library of this machine.

    python scripts/demo_corpus.py runs/demo

Writes corpus.jsonl and prompts.jsonl in the Pile's format. The split is by file and made before anything else: a
held-out file gives one prompt (a piece from a random place in it) and nothing to the corpus.
"""

from __future__ import annotations

import argparse
import json
import random
import sysconfig
from pathlib import Path

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__", "ensurepip"}
LEFT_OUT |= {"encodings", "pydoc_data"}  # generated tables, near copies of each other


def sources(root: Path, max_chars: int) -> list[tuple[str, str]]:
    """(relative path, text) of the library's modules: readable ones of a size worth cutting."""
    found = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if LEFT_OUT & set(relative.parts):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a few modules are kept in other encodings on purpose
        if 2_000 <= len(text) <= max_chars:
            found.append((relative.as_posix(), text))
    return found


def record(name: str, text: str, **more: str) -> str:
    package = name.split("/")[0].removesuffix(".py")
    return json.dumps({**more, "text": text, "meta": {"pile_set_name": package, "file": name}}) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where corpus.jsonl and prompts.jsonl go")
    parser.add_argument("--prompts", type=int, default=24, help="files held out, one prompt each")
    parser.add_argument("--corpus-chars", type=int, default=5_000_000, help="size of the corpus")
    parser.add_argument("--prompt-chars", type=int, default=1200, help="size of a prompt")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rng = random.Random(args.seed)
    files = sources(Path(sysconfig.get_paths()["stdlib"]), max_chars=200_000)
    rng.shuffle(files)
    held_out, rest = files[: args.prompts], files[args.prompts :]
    args.folder.mkdir(parents=True, exist_ok=True)
    with open(args.folder / "prompts.jsonl", "w", encoding="utf-8") as out:
        for name, text in held_out:
            start = rng.randrange(max(1, len(text) - args.prompt_chars))
            start = text.rfind("\n", 0, start) + 1
            out.write(record(name, text[start : start + args.prompt_chars], id=f"{name}@{start}"))
    size = count = 0
    with open(args.folder / "corpus.jsonl", "w", encoding="utf-8") as out:
        for name, text in rest:
            if size >= args.corpus_chars:
                break
            out.write(record(name, text))
            size, count = size + len(text), count + 1
    print(f"{args.folder}: {count} files, {size:,} characters of corpus; {len(held_out)} held-out files as prompts")


if __name__ == "__main__":
    main()
