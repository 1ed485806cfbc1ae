"""manifest.json: what is in an index folder, and the facts of each file, by which damage is found.

    schema, sha256   the version of this format; the hash of all the rest
    embedder         name, revision, dimension, pooling, max_tokens, tokenizer, dtype, device
    metric           inner_product: vectors have length 1, so that it is the cosine
    precision        of the stored vectors
    part             null, or "i/n": this folder holds the shards whose number is i - 1 modulo n
    dedup            off, count, or exact (repeated pieces are left out)
    sources          one for every corpus, in the order they were added: its options and fingerprint, pieces read,
                     duplicates among them, rows kept, problems, complete
    shards           name, source, rows, and for each file its bytes and sha256
    search           store and factory asked for, the kind built; of Faiss its segments (segments.py), of Milvus uri,
                     collection and the rows in it (milvus.py), which are no files of the index
    rows, complete   of all

The manifest names a file only when it is whole on disk, and is itself replaced as a whole.
"""

from __future__ import annotations

import json
from pathlib import Path

from ttft.errors import ConfigError, MissingArtifact
from ttft.run_dir import MANIFEST, sealed, write_json

SCHEMA = 2


def new_manifest(
    embedder: dict, *, precision: str, dedup: str, part: str | None, factory: str, milvus: dict | None = None
) -> dict:
    """The manifest of an index with nothing in it. milvus: where that is the store, what milvus.place says."""
    search: dict = {"store": "faiss", "factory": factory, "kind": None, "trained": None, "segments": []}
    return {
        "schema": SCHEMA, "embedder": embedder, "metric": "inner_product", "precision": precision, "part": part,
        "dedup": dedup, "sources": [], "shards": [], "search": search | (milvus or {}), "rows": 0, "complete": False,
    }  # fmt: skip


def write_manifest(folder: Path, manifest: dict) -> None:
    write_json(folder / MANIFEST, sealed(manifest))


def read_manifest(folder: Path) -> dict:
    """The manifest of an index folder.

    Raises MissingArtifact when there is none or it is damaged, ConfigError when it is of another schema version.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise MissingArtifact(f"{folder} is not an index (no {MANIFEST} there)", _what_there_is(folder))
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError as error:
        raise MissingArtifact(f"{path} is not JSON: {error}", "build the index again") from None
    if not isinstance(manifest, dict):
        raise MissingArtifact(f"{path} is damaged: the root is no mapping", "build the index again")
    if manifest.get("schema") != SCHEMA:
        raise ConfigError(f"{path} has schema {manifest.get('schema')!r}, this ttft reads {SCHEMA}", "build it again")
    if manifest != sealed(manifest):
        raise MissingArtifact(f"{path} is damaged: its content has not the hash that it states", "build it again")
    return manifest


def _what_there_is(folder: Path) -> str:
    beside = sorted(p.parent.name for p in folder.parent.glob(f"*/{MANIFEST}"))[:5] if folder.parent.exists() else []
    if not beside:
        return f"make one: ttft index SOURCE --out {folder}"
    return f"indexes beside it: {', '.join(beside)}"


def file_facts(size: int, sha256: str) -> dict:
    return {"bytes": size, "sha256": sha256}


def files_of(manifest: dict) -> dict[str, dict]:
    """Every file that the manifest vouches for: its path in the folder -> bytes and sha256."""
    search = manifest["search"]
    files = {f"{shard['name']}/{name}": facts for shard in manifest["shards"] for name, facts in shard["files"].items()}
    others = [*search["segments"], search["trained"], *(source["problems_file"] for source in manifest["sources"])]
    return files | {other["file"]: other for other in others if other is not None}
