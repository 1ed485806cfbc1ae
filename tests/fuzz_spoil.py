"""How the fuzzer spoils bytes, lines, JSON values and files, as a function of a random generator."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x",
    "../x", "/etc/passwd", "a" * 5000, "\u202e\x1b[31m", "é", "\ud800", [], {}, [[]], {"a": 1}, [1, "2", None], "1",
    "true", "auto", "sift", "shard-00000", "0" * 64, "float16", "float32", "cls", "inner_product", "Flat", "HNSW32",
    "IVF1073741824,Flat", "IVF2,PQ4", "PCA9999,Flat", "http://127.0.0.1:1", "milvus", "milvus.db", "1/1", "2/3", 2, 12,
]  # fmt: skip
WORDS = [
    b"{", b"}", b"[", b"]", b'"', b"\\", b":", b",", b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"&a ", b"*a",
    b"!!python/object:os.system ", b"!!int ", b"2001-99-99", b"NaN", b"1e999", b"- ", b"? ", b"%YAML 9", b"\x1b[2J",
    b"null", b"true", b"\\ud800", b"9" * 400, b"[" * 200, b"{" * 200, b"../../x", b"\t", b"---\n", b"'", b"0", b"0x1f",
    b"1_0", b"# ", b"| ", b"\xe2\x80\xa8", b"\n\n", b".inf", b"~", b"\x85",
]  # fmt: skip


# ---- how things are spoilt -----------------------------------------------------------------------------------------


def spoil(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, left out, put in or repeated."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(made) + 1)
        kind = rng.randrange(6)
        if kind == 0 and made:
            made[at % len(made)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            made[at : at + rng.choice((1, 4, 64, 4096))] = b""
        elif kind == 2:
            made[at:at] = rng.choice(WORDS)
        elif kind == 3:
            del made[at:]
        elif kind == 4:
            made[at:at] = made[at : at + rng.choice((1, 16, 256))]
        else:
            made[at : at + 8] = rng.randbytes(8)
    return bytes(made)


def spoil_line(data: bytes, rng: random.Random) -> bytes:
    """Lines left out, repeated, exchanged, or the last one torn."""
    lines = data.splitlines(keepends=True)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[one]
    elif kind == 1:
        lines.insert(other, lines[one])
    elif kind == 2:
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == 3:
        lines.insert(one, rng.choice(WORDS) + b"\n")
    else:
        lines[-1] = lines[-1][: rng.randrange(len(lines[-1]))]
    return b"".join(lines)


def spoil_json(value: Any, rng: random.Random) -> Any:
    """One to three values of a JSON document replaced, removed or added."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            break
        parent, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0 and isinstance(parent, dict):
            parent.pop(key)
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(("x", "../x", "é", "sha256", "files"))] = rng.choice(VALUES)
        elif kind == 2 and isinstance(parent, list):
            parent.append(parent[0])
        elif kind == 3 and type(parent[key]) in (int, float):
            parent[key] = parent[key] * rng.choice((-1, 2, 10**9)) + rng.choice((-1, 0, 1))
        else:
            parent[key] = rng.choice(VALUES)
    return value


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from _places(node[key])


def sealed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    rest = {key: part for key, part in value.items() if key != "sha256"}
    return rest | {"sha256": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def checked(value: dict) -> bytes:
    """A record as a line with its checksum."""
    text = json.dumps(value).encode()
    return text[:-1] + b', "check": "' + hashlib.sha256(text).hexdigest()[:16].encode() + b'"}\n'


def replaced(path: Path, rng: random.Random) -> None:
    """Something else than the file in its place."""
    path.unlink()
    kind = rng.randrange(5)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.symlink_to(rng.choice(("/etc/hostname", "nowhere", "/dev/zero", str(path))))
    elif kind == 3:
        path.write_bytes(rng.choice((b"", b"1", b'"x"', b"[]", b"{}", b"\0" * 100)))
