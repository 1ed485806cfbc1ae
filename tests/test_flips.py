"""One bit flipped anywhere in an index or a run: `verify` names the file, or the flip is harmless by construction; a
command that reads the file refuses it, or does what it does with the intact folder.

The flips are seeded. Every file gets its share of them, and always some in its first and its last bytes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small import ttft, write_corpus

from ttft import state
from ttft.errors import TtftError
from ttft.reporting.verify import damage as damage_of_run
from ttft.vector_index.manifest import read_manifest
from ttft.vector_index.shards import open_shards
from ttft.vector_index.verify import damage as damage_of_index

UNREAD = {
    ".lock": "empty: it is only locked, and its content is never read",
    ".checked.json": "a cache: a file whose state is not exactly the one noted there is hashed again",
    "report.html": "written by `ttft report`, and read by no command",
    "report.json": "written by `ttft report`, and read by no command",
}
"""What `verify` does not read. The commands are tested with flips in these files, too: none depends on them."""
SEALED: dict[str, Callable[[bytes, str], Any]] = {
    "manifest.json": state.parse_json,
    "provenance.json": state.parse_json,
    "config.yaml": state.parse_yaml,
}
"""Their hash is that of the value: a flip that leaves the value the same (null, Null) changes nothing."""
EDGE = 2  # bytes at both ends of each file that always get a flip
INDEXES = ("flat", "ivf")


@dataclass(frozen=True)
class Flip:
    path: Path
    byte: int
    bit: int

    @property
    def name(self) -> str:
        return self.path.name

    def damaged(self) -> bytes:
        data = bytearray(self.path.read_bytes())
        data[self.byte] ^= 1 << self.bit
        return bytes(data)

    def is_harmless(self) -> bool:
        """Whether nothing reads the file, or the value in it stays the same."""
        if self.name not in SEALED:
            return self.name in UNREAD
        parse = SEALED[self.name]
        try:
            return parse(self.damaged(), "") == parse(self.path.read_bytes(), "")
        except TtftError:
            return False


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flips(folder: Path, count: int, seed: int) -> Iterator[Flip]:
    """As many flips, within one, in each file that is not empty: `count` in all."""
    rng = random.Random(seed)
    full = [path for path in files_in(folder) if path.stat().st_size]
    for number, path in enumerate(full):
        size, share = path.stat().st_size, count * (number + 1) // len(full) - count * number // len(full)
        ends = [size - 1, 0, *range(1, EDGE), *range(size - EDGE, size - 1)]
        for byte in ends[:share] + [rng.randrange(size) for _ in range(share - len(ends))]:
            yield Flip(path, byte, rng.randrange(8))


@contextmanager
def flipped(flip: Flip) -> Iterator[None]:
    """While in the block the bit is flipped, in a new file: one that is mapped already stays as it is."""
    whole = flip.path.read_bytes()
    replace(flip.path, flip.damaged())
    try:
        yield
    finally:
        replace(flip.path, whole)


def replace(path: Path, data: bytes) -> None:
    new = path.with_name("new")
    new.write_bytes(data)
    os.replace(new, path)


@pytest.fixture(scope="module")
def resume(lm_folder: Path, prompts_file: Path) -> Callable[[Path], list[Any]]:
    """The command that makes or resumes a run."""
    given = ["--prompts", prompts_file, "--model", lm_folder, "-n", 3, "-k", 8, "--dtype", "float32"]
    return lambda run: ["finetune-eval", run.with_name("flat"), "--out", run, *given]


@pytest.fixture(scope="module")
def home(tmp_path_factory, encoder_folder: Path, resume: Callable[[Path], list[Any]]) -> Path:
    """Two indexes of three shards and a list of problems: "flat", and "ivf", which has a segment over all shards; and
    a run with its report."""
    home = tmp_path_factory.mktemp("flips")
    corpus = write_corpus(home / "corpus.jsonl", documents=12, lines=2)
    with open(corpus, "a") as lines:
        lines.write("no record\n")
    for name, factory in zip(INDEXES, ("Flat", "IVF2,Flat"), strict=True):
        made = ["--embedder", encoder_folder, "--shard-rows", 5, "--dtype", "float32", "--factory", factory]
        assert ttft("index", corpus, "--out", home / name, *made) == 0
        assert ttft(*select(home / name)) == 0  # leaves .checked.json
    assert ttft(*resume(home / "run")) == 0
    assert ttft("report", home / "run") == 0
    return home


def select(index: Path) -> list[Any]:
    return ["select", index, "--prompt", "river stone cloud", "-n", 4, "-k", 12, "--dtype", "float32"]


def test_these_are_all_files(home: Path) -> None:
    """A file that is new to an index or a run must be thought of here."""
    shards = [f"shard-{number:05d}/{name}" for number in range(3) for name in ("documents.arrow", "vectors.npy")]
    index = {"manifest.json", "provenance.json", "problems-00.jsonl", ".lock", ".checked.json", *shards}
    expected = {
        "flat": index | {f"shard-{number:05d}/index.faiss" for number in range(3)},
        "ivf": index | {"trained.faiss", "segment-00000.faiss"},
        "run": {"results.jsonl", "selections.jsonl", "config.yaml", "provenance.json", *UNREAD} - {".checked.json"},
    }
    for name, files in expected.items():
        found = files_in(home / name)
        assert {path.relative_to(home / name).as_posix() for path in found} == files
        assert [path.name for path in found if not path.stat().st_size] == [".lock"]


# ---- verify --------------------------------------------------------------------------------------------------------


def problems(folder: Path) -> list[str]:
    """What `verify` says of an index or a run; [] if it is intact."""
    if (folder / "results.jsonl").exists():
        return list(damage_of_run(folder))
    try:
        manifest = read_manifest(folder)
        return list(damage_of_index(folder, manifest, open_shards(folder, manifest), lambda name: None))
    except TtftError as error:
        return [error.message]


def unnoticed(folder: Path, count: int, seed: int) -> list[str]:
    """The flips, neither found by `verify` nor harmless, or found somewhere else."""
    assert problems(folder) == []
    missed = []
    for flip in flips(folder, count, seed):
        name, harmless = flip.path.relative_to(folder).as_posix(), flip.is_harmless()
        with flipped(flip):
            found = problems(folder)
        if not (found == [] if harmless else any(name in problem for problem in found)):
            missed.append(f"{flip}: {found}")
    assert problems(folder) == []
    return missed


@pytest.mark.parametrize("name", [*INDEXES, "run"])
def test_verify_finds_three_hundred_flips(home: Path, name: str) -> None:
    assert unnoticed(home / name, 300, seed=0) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*INDEXES, "run"])
def test_verify_finds_ten_thousand_flips(home: Path, name: str) -> None:
    assert unnoticed(home / name, 10_000, seed=1) == []


@pytest.mark.parametrize("name", ["manifest.json", "results.jsonl", "selections.jsonl", "config.yaml"])
def test_verify_finds_every_bit_of_the_last_byte(home: Path, name: str) -> None:
    """Of a newline, too: without it, the last record could pass for one that was never finished."""
    folder = home / ("flat" if name == "manifest.json" else "run")
    for bit in range(8):
        with flipped(Flip(folder / name, (folder / name).stat().st_size - 1, bit)):
            assert any(name in problem for problem in problems(folder)), bit


def test_only_what_is_the_same_value_is_harmless(home: Path) -> None:
    """Such flips exist, or this test would prove nothing: null and Null are one value of YAML."""
    config, manifest = home / "run" / "config.yaml", home / "flat" / "manifest.json"
    null = config.read_bytes().index(b"null")
    for path, byte, harmless in ((config, null, True), (config, null + 1, False), (manifest, 0, False)):
        flip = Flip(path, byte, 5)
        assert flip.is_harmless() is harmless
        with flipped(flip):
            assert (problems(path.parent) == []) is harmless


# ---- the commands --------------------------------------------------------------------------------------------------


def wrong(flip: Flip, command: list[Any], capsys: Any, outcome: Callable[[str], Any], expected: Any) -> str:
    """What a command that meets a flip did, if it neither refused the file by its name nor had the expected outcome;
    `outcome` is made of what it printed."""
    capsys.readouterr()
    with flipped(flip):
        code, said = ttft(*command), capsys.readouterr()
        same = code == 0 and outcome(said.out) == expected
    refused = code == 2 and flip.name in (said.out + said.err).replace("\n", "") and "Traceback" not in said.err
    return "" if same or (refused and not flip.is_harmless()) else f"{flip}: exit code {code}: {said}"


@pytest.mark.parametrize(
    ("command", "name"),
    [(("index", "verify"), "flat"), (("index", "verify"), "ivf"), (("index", "verify"), "run"),
     (("report", "--verify"), "run")],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_the_commands_that_verify(home: Path, capsys: Any, command: tuple[str, ...], name: str) -> None:
    """Unlike the others they read everything: where a flip is not harmless, they must not say that all is well."""
    for flip in flips(home / name, 30, seed=2):
        is_intact = flip.is_harmless()
        assert (
            wrong(flip, [*command, home / name], capsys, lambda out, i=is_intact: i and "is intact" in out, True) == ""
        )


@pytest.mark.parametrize("name", INDEXES)
def test_select(home: Path, capsys: Any, name: str) -> None:
    def chosen(out: str) -> dict[str, Any]:
        return {key: value for key, value in json.loads(out).items() if key != "seconds"}

    capsys.readouterr()
    assert ttft(*select(home / name)) == 0
    expected = chosen(capsys.readouterr().out)
    for flip in flips(home / name, 40, seed=3):
        assert wrong(flip, select(home / name), capsys, chosen, expected) == ""


def test_report(home: Path, tmp_path: Path, capsys: Any) -> None:
    command = ["report", home / "run", "--out", tmp_path]

    def numbers(out: str) -> tuple[str, bytes]:
        return out, (tmp_path / "report.json").read_bytes()

    capsys.readouterr()
    assert ttft(*command) == 0
    expected = numbers(capsys.readouterr().out)
    for flip in flips(home / "run", 40, seed=4):
        (tmp_path / "report.json").unlink(missing_ok=True)
        assert wrong(flip, command, capsys, numbers, expected) == ""


def test_resuming_a_run(home: Path, capsys: Any, resume: Callable[[Path], list[Any]]) -> None:
    """One that lacks its last result: that prompt is done again, from the selection that is recorded."""
    cut, names = home / "cut", ("results.jsonl", "selections.jsonl", "config.yaml", "provenance.json")

    def lay_out() -> None:
        shutil.rmtree(cut, ignore_errors=True)
        cut.mkdir()
        for name in names:
            shutil.copy(home / "run" / name, cut)
        whole = (cut / "results.jsonl").read_bytes().splitlines(True)
        (cut / "results.jsonl").write_bytes(b"".join(whole[:-1]))

    def content(out: str) -> list[Any]:
        results = [{**r, "seconds": 0, "nats": 0, "losses": 0} for r in state.read_lines(cut / "results.jsonl")]
        return [results, [r["ids"] for r in state.read_lines(cut / "selections.jsonl")]]

    lay_out()
    assert ttft(*resume(cut)) == 0
    expected = content("")
    lay_out()
    for flip in list(flips(cut, 16, seed=5)):
        assert wrong(flip, resume(cut), capsys, content, expected) == ""
        lay_out()
