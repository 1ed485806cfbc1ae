"""Dependencies point one way: reads the imports of all files of ttft/ and fails with a sentence. Also: budgets."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]

BASE = {
    "errors",
    "records",
    "progress",
    "jobs",
    "visible",
    "files",
    "state",
    "runtime",
    "json_lines",
    "run_dir",
    "defaults",
    "assets",
}
LIBRARIES = {
    "corpus", "embedding", "vector_index", "selection", "finetuning", "evaluation", "reporting", "async_training",
    "q2d",
}  # fmt: skip
JOINERS: dict[str, set[str]] = {
    "retriever": {"vector_index", "selection"},
    "indexing": {"corpus", "embedding", "vector_index"},
    "tuner": {
        "retriever",
        "corpus",
        "embedding",
        "vector_index",
        "selection",
        "finetuning",
        "evaluation",
        "async_training",
        "q2d",
    },
    "distributed": {"tuner", "indexing", "vector_index", "async_training"},
    "serving": {"tuner", "indexing"},
}
"""Parts that put libraries together: the parts each of them may import, besides BASE."""
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "records": {"state"},
    "progress": set(),
    "jobs": set(),
    "assets": set(),
    "visible": set(),
    "files": {"errors"},
    "state": {"errors", "files"},
    "runtime": {"errors"},
    "json_lines": {"errors", "files", "state"},
    "run_dir": {"errors", "records", "runtime", "files", "state"},
    "defaults": {"errors", "assets"},
    "config": {"errors", "jobs", "defaults", "files", "state", "visible"},
    **dict.fromkeys(LIBRARIES, BASE),
    **{part: BASE | joined for part, joined in JOINERS.items()},
    "commands": BASE | LIBRARIES | set(JOINERS) | {"config", "ttft"},
    "cli": {"commands", "config", "errors", "files", "visible", "ttft"},
    "__main__": {"cli"},
    "ttft": {"assets", "retriever", "indexing", "tuner", "evaluation"},  # ttft/__init__.py
}
"""Part of ttft -> the parts it may import, besides itself. A part is a module or a package right below ttft/."""
MAY_USE_FINETUNING = {"async_training", "q2d"}

OF_ROOT = {
    "__version__": "ttft",
    "embedded_model_path": "ttft.assets",
    "Retriever": "ttft.retriever",
    "Tuner": "ttft.tuner.session",
    "build_index": "ttft.indexing.build",
    "bits_per_byte": "ttft.evaluation",
}
"""What `from ttft import NAME` gives when NAME is no module."""

HEAVY = {
    "torch", "transformers", "peft", "faiss", "datasets", "pyarrow", "safetensors", "sentence_transformers",
    "lm_eval", "ray", "pymilvus",
}  # fmt: skip
LIGHT_PARTS = BASE | {"config", "commands", "cli", "__main__", "ttft"}
MAY_PRINT = {"cli", "commands"}

LONGEST_FILE, LONGEST_FUNCTION = 300, 80  # wanted are functions of 40 lines
LONGEST_COMMANDS = 2000  # lines of ttft/commands in all: services belong in the library


@dataclass(frozen=True)
class Module:
    """One file: its place, its dotted name and its syntax tree."""

    path: str
    name: str
    tree: ast.Module
    lines: int

    @property
    def part(self) -> str:
        return part_of(self.name)


@dataclass(frozen=True)
class Import:
    """An imported module. `runs`: executed when the importing module is imported (not in a function, not for types)."""

    target: str
    line: int
    runs: bool


def module(path: str, source: str) -> Module:
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return Module(path, name, ast.parse(source), source.count("\n"))


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else name


def all_modules() -> list[Module]:
    paths = sorted((REPO / "ttft").rglob("*.py"))
    return [module(path.relative_to(REPO).as_posix(), path.read_text()) for path in paths]


def walk(node: ast.AST, runs: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below `node`, and whether it is executed on import."""
    for child in ast.iter_child_nodes(node):
        here = runs and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            here = False
        yield child, here
        yield from walk(child, here)


def imports(importer: Module, known: set[str]) -> list[Import]:
    """All imports of a module, absolute and resolved: `from ttft import corpus` is ttft.corpus."""
    found = []
    for node, runs in walk(importer.tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, runs) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                package = importer.name.split(".") + (["__init__"] if importer.path.endswith("__init__.py") else [])
                origin = ".".join([*package[: -node.level], *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                if origin == "ttft" and inner not in known:
                    inner = OF_ROOT.get(alias.name, inner)
                found.append(Import(inner if inner in known or origin == "ttft" else origin, node.lineno, runs))
    return found


def wrong_arrows(modules: list[Module]) -> list[str]:
    known = {m.name for m in modules}
    sentences = []
    for m in modules:
        if m.part not in ARROWS:
            sentences.append(f"{m.path} has no place in the layers of the design: give it one in {Path(__file__).name}")
            continue
        for found in imports(m, known):
            target = part_of(found.target)
            if found.target.split(".")[0] != "ttft" or target == m.part:
                continue
            if target == "finetuning" and m.part in MAY_USE_FINETUNING:
                continue
            if target not in ARROWS[m.part]:
                kind = " (library)" if m.part in LIBRARIES else ""
                sentences.append(f"{m.path}:{found.line}{kind} imports {found.target}: {reason(m.part, target)}")
    return sentences


def reason(part: str, target: str) -> str:
    if target in ("commands", "cli"):
        return "commands call the library, never the other way"
    if target in JOINERS and part in LIBRARIES:
        return "what joins libraries calls them, never the other way"
    if target == "config":
        return "configs stop at the command" if part != "ttft" else "importing ttft stays light"
    if part in LIBRARIES and target in LIBRARIES:
        return "libraries do not import each other; a command hands on what one of them made"
    allowed = ", ".join(sorted(ARROWS[part])) or "nothing"
    return f"of ttft, {part} may import {allowed}"


def cycles(modules: list[Module]) -> list[str]:
    """Cycles among all imports, those inside functions and for types only included, as 'a -> b -> a'."""
    known = {m.name for m in modules}
    edges = {m.name: sorted({i.target for i in imports(m, known) if i.target in known}) for m in modules}
    found: list[str] = []
    finished: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            found.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in finished:
            for target in edges[name]:
                visit(target, [*trail, name])
            finished.add(name)

    for name in edges:
        visit(name, [])
    return found


def prints(modules: list[Module]) -> list[str]:
    """Calls of print and of a console's print in the library."""
    return [
        f"{m.path}:{node.lineno} prints: only cli/ and commands/ may"
        for m in modules
        if m.part not in MAY_PRINT
        for node in ast.walk(m.tree)
        if isinstance(node, ast.Call) and "print" in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))
    ]


def heavy_imports(modules: list[Module]) -> list[str]:
    """Heavy libraries that a light module imports when it is imported, of itself or through a module of the library."""
    known = {m.name for m in modules}
    sentences = []
    for m in modules:
        if m.part not in LIGHT_PARTS:
            continue
        for found in imports(m, known):
            library = found.target in known and part_of(found.target) in LIBRARIES
            if found.runs and (library or found.target.split(".")[0] in HEAVY):
                sentences.append(f"{m.path}:{found.line} imports {found.target} at its top: do it where it is used")
    return sentences


def too_long(modules: list[Module]) -> list[str]:
    sentences = [f"{m.path} has {m.lines} lines: split it" for m in modules if m.lines > LONGEST_FILE]
    for m in modules:
        for node in ast.walk(m.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    sentences.append(f"{m.path}:{node.lineno} {node.name} has {length} lines: split it")
    return sentences


@pytest.mark.parametrize("check", [wrong_arrows, cycles, prints, heavy_imports, too_long], ids=lambda f: f.__name__)
def test_the_source_tree(check) -> None:
    modules = all_modules()
    assert len(modules) > 20
    sentences = check(modules)
    assert not sentences, "\n" + "\n".join(sentences)


def test_every_file_name_says_what_is_in_it() -> None:
    empty_names = {"utils", "util", "common", "helpers", "misc"}
    wrong = [m.path for m in all_modules() if empty_names & set(m.name.split("."))]
    assert not wrong, f"{wrong}: name the file after what it holds"


@pytest.mark.parametrize(
    ("path", "source", "sentence"),
    [
        (
            "ttft/selection/sift.py",
            "from ttft.config.select import SelectConfig\n",
            "ttft/selection/sift.py:1 (library) imports ttft.config.select: configs stop at the command",
        ),
        ("ttft/selection/sift.py", "def f():\n    from ttft import corpus\n", "libraries do not import each other"),
        ("ttft/selection/sift.py", "from ..vector_index import shards\n", "libraries do not import each other"),
        ("ttft/selection/__init__.py", "from ..vector_index import shards\n", "libraries do not import each other"),
        ("ttft/evaluation.py", "from ttft.retriever import Retriever\n", "what joins libraries calls them"),
        ("ttft/evaluation.py", "from ttft import Retriever\n", "what joins libraries calls them"),
        (
            "ttft/indexing/build.py",
            "def f():\n    from ttft.tuner.session import Tuner\n",
            "of ttft, indexing may import",
        ),
        ("ttft/tuner/session.py", "from ttft.distributed import cluster\n", "of ttft, tuner may import"),
        ("ttft/tuner/session.py", "from ttft.config.select import SelectConfig\n", "configs stop at the command"),
        ("ttft/corpus.py", "import ttft.commands.index as index\n", "commands call the library"),
        ("ttft/commands/index.py", "from ttft.cli import app\n", "commands call the library"),
        ("ttft/config/base.py", "from ttft.run_dir import CONFIG\n", "of ttft, config may import defaults, errors"),
        ("ttft/errors.py", "from ttft import records\n", "of ttft, errors may import nothing"),
        ("ttft/cli.py", "from ttft import corpus\n", "of ttft, cli may import commands"),
        ("ttft/__init__.py", "from ttft.config import base\n", "importing ttft stays light"),
        ("ttft/novelty.py", "", "ttft/novelty.py has no place in the layers"),
    ],
)
def test_a_wrong_arrow_is_caught(path: str, source: str, sentence: str) -> None:
    others = ("ttft/corpus.py", "ttft/vector_index/shards.py", "ttft/config/base.py", "ttft/records.py")
    modules = [module(path, source), *(module(other, "") for other in others if other != path)]
    (found,) = wrong_arrows(modules)
    assert sentence in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("ttft/finetuning/model.py", "from ttft import embedded_model_path\nfrom ttft.errors import TtftError\n"),
        ("ttft/selection/sift.py", "from ttft.selection.picks import Picks\nfrom .stopping import Stop\n"),
        ("ttft/retriever.py", "from ttft.vector_index.shards import VectorIndex\nfrom ttft.selection import sift\n"),
        ("ttft/q2d/query_model.py", "from ttft.finetuning.engine import finetune_prompts\n"),
        ("ttft/commands/index.py", "import torch\nfrom ttft import corpus, run_dir\nfrom ttft.retriever import R\n"),
    ],
)
def test_a_right_arrow_is_let_pass(path: str, source: str) -> None:
    assert wrong_arrows([module(path, source), module("ttft/corpus.py", ""), module("ttft/run_dir.py", "")]) == []


@pytest.mark.parametrize(
    "back",
    [
        "from ttft.a import x\n",
        "def f():\n    from ttft.a import x\n",
        "if TYPE_CHECKING:\n    from ttft.a import x\n",
    ],
)
def test_cycles_are_found_whenever_the_import_runs(back: str) -> None:
    pair = [module("ttft/a.py", "from ttft import b\n"), module("ttft/b.py", back)]
    assert cycles(pair) == ["ttft.a -> ttft.b -> ttft.a"]


def test_other_faults_are_caught() -> None:
    for source in ("print(1)\n", "console.print(1)\n"):
        assert len(prints([module("ttft/corpus.py", source), module("ttft/cli.py", source)])) == 1
    top = module("ttft/commands/index.py", "import torch.nn\nfrom ttft import corpus\n\ndef f():\n    import faiss\n")
    assert len(heavy_imports([top, module("ttft/corpus.py", "import datasets\n")])) == 2
    assert len(too_long([module("ttft/corpus.py", "def f():\n" + "    x = 1\n" * 400)])) == 2
