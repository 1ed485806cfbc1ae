"""The independent readers of the fuzzer: with the standard library, numpy, PyYAML's BaseLoader, zstandard and pyarrow's
plain readers, never with ttft."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import yaml

# ---- texts ---------------------------------------------------------------------------------------------------------


def texts(path: Path) -> tuple[list[tuple[str, str]], bool]:
    """(id, text) of every usable record that can be reached, and whether there is damage behind them."""
    data, damaged = path.read_bytes(), False
    if path.suffix == ".parquet":
        return _rows(path.name, data)
    if path.suffix == ".gz":
        data, damaged = gunzip(data)
    elif path.suffix == ".zst":
        data, damaged = unzstd(data)
    found = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            found += _usable(f"{path.name}:{number}", json.loads(line.decode("utf-8-sig")))
        except (ValueError, RecursionError):
            continue
    return found, damaged


def _rows(name: str, data: bytes) -> tuple[list[tuple[str, str]], bool]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        rows = parquet.read_table(pa.BufferReader(data)).to_pylist()
    except (pa.ArrowException, OSError, ValueError):
        return [], True
    return [one for number, row in enumerate(rows) for one in _usable(f"{name}:{number}", row)], False


def _usable(place: str, record: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(record, dict):
        return
    text, name, meta = record.get("text"), record.get("id"), record.get("meta")
    subset = meta.get("pile_set_name") if isinstance(meta, dict) else None
    subset = record.get("meta.pile_set_name", subset)
    own = isinstance(name, (str, int)) and not isinstance(name, bool) and name != ""
    try:
        "".join(str(part) for part in (text, name if own else "", subset)).encode()
    except UnicodeEncodeError:
        return
    if isinstance(text, str) and text.strip():
        yield (str(name) if own else place), text


def gunzip(data: bytes) -> tuple[bytes, bool]:
    """What can be decompressed of a gzip file (RFC 1952), and whether there is damage behind it."""
    out = b""
    while data.strip(b"\0"):
        data = data.lstrip(b"\0") if out else data
        if data[:3] != b"\x1f\x8b\x08" or len(data) < 10:
            return out, True
        flags, rest = data[3], data[10:]
        if flags & 4:
            rest = rest[2 + int.from_bytes(rest[:2], "little") :]
        for flag in (8, 16):
            rest = rest[rest.find(b"\0") + 1 :] if flags & flag else rest
        rest = rest[2:] if flags & 2 else rest
        inflate, member = zlib.decompressobj(-15), b""
        try:
            for at in range(len(rest)):
                member += inflate.decompress(rest[at : at + 1])
                if inflate.eof:
                    break
        except zlib.error:
            return out + member, True
        out, data = out + member, rest[at + 1 :] if rest else b""
        if not inflate.eof or data[:8] != zlib.crc32(member).to_bytes(4, "little") + len(member).to_bytes(4, "little"):
            return out, True
        data = data[8:]
    return out, False


def unzstd(data: bytes) -> tuple[bytes, bool]:
    import zstandard

    out = b""
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            for at in range(len(data)):
                out += frame.decompress(data[at : at + 1])
                if frame.eof:
                    break
        except zstandard.ZstdError:
            return out, True
        if not frame.eof:
            return out, True
        data = data[at + 1 :]
    return out, False


# ---- options -------------------------------------------------------------------------------------------------------


def yaml_file(path: Path) -> dict[str, Any]:
    root = yaml.compose(path.read_bytes(), yaml.BaseLoader)
    return {} if root is None or root.value == "" else {key.value: value for key, value in root.value}


def given(text: str) -> dict[str, Any]:
    key, _, value = text.partition("=")
    return {key.strip(): yaml.compose(value, yaml.BaseLoader)}


# ---- indexes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shards:
    """The content of an index: vectors and codes of Faiss (rows,d), and documents. What cannot be read is nan, or {}:
    a command may leave alone what it does not need."""

    manifest: dict
    vectors: np.ndarray
    codes: np.ndarray
    rows: list[dict]


def shards(folder: Path) -> Shards:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    vectors, codes, rows = [], [], []
    for shard in manifest["shards"]:
        place, shape = folder / shard["name"], (shard["rows"], manifest["embedder"]["dimension"])
        vectors.append(_read(_vectors, place / "vectors.npy", np.full(shape, np.nan)))
        rows += _read(_documents, place / "documents.arrow", [{}] * shard["rows"])
        codes.append(_read(partial(_codes, shape=shape), place / "index.faiss", np.full(shape, np.nan)))
    return Shards(manifest, np.concatenate(vectors).astype(np.float32), np.concatenate(codes), rows)


def _read(how: Callable[[Path], Any], path: Path, otherwise: Any) -> Any:
    try:
        return how(path) if path.is_file() else otherwise
    except (ValueError, OSError, SyntaxError, TokenError):
        return otherwise


def _vectors(path: Path) -> np.ndarray:
    return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)


def _documents(path: Path) -> list[dict]:
    import pyarrow as pa

    table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
    table.validate(full=True)
    return table.to_pylist()


def _codes(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The vectors of a Faiss file of kind Flat, which stand behind 45 bytes on their form."""
    return np.frombuffer(path.read_bytes(), np.float32, count=shape[0] * shape[1], offset=45).reshape(shape)


def whole_texts(folder: Path) -> list[str]:
    found: list[str] = []
    for row in shards(folder).rows:
        if row["piece"] == 0:
            found.append("")
        found[-1] += row["text"]
    return found


# ---- runs ----------------------------------------------------------------------------------------------------------


def is_sealed(value: dict) -> bool:
    rest = {key: part for key, part in value.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest() == value["sha256"]


def records(path: Path) -> list[dict]:
    """The records of whole lines that have their checksums."""
    found = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        text, _, check = line.rpartition(b', "check": "')
        assert check == hashlib.sha256(text + b"}").hexdigest()[:16].encode() + b'"}', f"{path} has a damaged line"
        found.append(json.loads(text + b"}"))
    return found


def run_config(run: Path) -> dict:
    """The configuration of a run, in YAML or (resealed) JSON, in which 1e30 is a number."""
    text = (run / "config.yaml").read_bytes()
    try:
        return json.loads(text)
    except ValueError:
        return yaml.safe_load(text)
