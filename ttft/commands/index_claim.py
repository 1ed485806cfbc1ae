"""Whose folder is it: `ttft index` begins an index, goes on with its own, adds a source to it, or refuses."""

from __future__ import annotations

from pathlib import Path

from ttft.config.index import IndexConfig, SearchFields
from ttft.errors import ConfigError
from ttft.run_dir import MANIFEST, RESULTS, differences

CORPUS = {
    "source", "text_field", "subset_field", "subsets", "glob", "name", "split", "streaming", "max_documents",
    "piece_chars", "max_line_bytes", "shard_rows", "seed",
}  # fmt: skip
"""Options that say which pieces a source gives, and in which shards."""


SEARCH = ("store", "factory", "uri", "collection")
"""What was asked for of the search, in its entry of the manifest."""


def claim(config: IndexConfig, folder: Path, embedder: dict) -> dict:
    """The manifest of this very index, begun or found, with an entry for this source that is not complete, unless all
    is. ConfigError when the folder holds another index or a run."""
    from ttft.corpus.sources import fingerprint
    from ttft.vector_index.manifest import new_manifest, read_manifest, write_manifest
    from ttft.vector_index.segments import choose_again

    resolved = config.resolved()
    corpus = {key: resolved[key] for key in sorted(CORPUS)} | {"fingerprint": fingerprint(config.source, config.glob)}
    asked = new_manifest(
        embedder, precision=config.precision, dedup=config.dedup, part=config.job, factory=config.factory,
        milvus=milvus_place(config, folder, embedder["dimension"]),
    )  # fmt: skip
    if not (folder / MANIFEST).exists():
        if (folder / RESULTS).exists():
            raise ConfigError(f"{folder} holds a run, not an index", "choose another --out")
        manifest = asked
        check_store(folder, manifest)
    else:
        manifest = read_manifest(folder)
        choose_again(manifest["search"], config.factory)
        _same_index(folder, manifest, asked)
        if any(source["corpus"] == corpus for source in manifest["sources"]):
            _not_behind(folder, manifest, corpus)
            return manifest
        _may_append(folder, manifest, corpus, config.append)
    manifest["sources"].append(_new_source(corpus))
    manifest["complete"] = False
    write_manifest(folder, manifest)
    return manifest


def milvus_place(config: SearchFields, folder: Path, dimension: int) -> dict | None:
    """Where Milvus is to hold the vectors; None where they are searched by Faiss. ConfigError for a kind of index that
    the one of them does not know: that is said before all the work."""
    from ttft.vector_index.faiss import empty
    from ttft.vector_index.milvus import place
    from ttft.vector_index.segments import AUTO

    if config.store == "milvus":
        return place(folder, config.uri, config.collection, config.factory)
    if config.factory != AUTO:
        empty(dimension, config.factory)
    return None


def check_store(folder: Path, manifest: dict) -> None:
    """Before the work of a new index begins: can what is to search it be used? Raises TtftError."""
    from ttft.vector_index.milvus import check_free

    if manifest["search"]["store"] == "milvus":
        check_free(folder, manifest["search"])


def search_differences(there: dict, asked: dict) -> list[str]:
    return differences(*({k: manifest["search"].get(k) for k in SEARCH} for manifest in (there, asked)))


def _new_source(corpus: dict) -> dict:
    return {
        "corpus": corpus, "read": 0, "duplicates": 0, "rows": 0, "problems": {}, "problems_file": None,
        "complete": False,
    }  # fmt: skip


def _same_index(folder: Path, there: dict, asked: dict) -> None:
    """What one index has one of: embedder, precision, part, dedup, and the kind of search that was asked for."""
    keys = ("precision", "part", "dedup")
    changed = differences({k: there[k] for k in keys}, {k: asked[k] for k in keys})
    changed += differences(there["embedder"], asked["embedder"])
    changed += search_differences(there, asked)
    if changed:
        raise ConfigError(
            f"{folder} holds another index: " + "; ".join(changed),
            "choose another --out, or remove that folder first",
        )


def _not_behind(folder: Path, manifest: dict, corpus: dict) -> None:
    """Of several sources only the last can be under way."""
    unfinished = [s["corpus"]["source"] for s in manifest["sources"] if not s["complete"] and s["corpus"] != corpus]
    if unfinished:
        raise ConfigError(f"{folder}: adding {unfinished[0]} was interrupted", "run that command again first")


def _may_append(folder: Path, manifest: dict, corpus: dict, append: bool) -> None:
    last = manifest["sources"][-1]
    changed = "; ".join(differences(last["corpus"], corpus))
    known = any(source["corpus"]["source"] == corpus["source"] for source in manifest["sources"])
    twice = known and manifest["dedup"] != "exact"
    if not append:
        new = last["complete"] and not twice
        raise ConfigError(
            f"{folder} holds another index: {changed}",
            "choose another --out" + ", or add this source to it: --append" * new,
        )
    if twice:
        raise ConfigError(
            f"{folder} holds {corpus['source']} already; adding it would double its pieces: {changed}",
            "add a file with what is new; only an index made with --dedup exact takes a source again",
        )
    if manifest["part"] is not None:
        raise ConfigError(f"{folder} is part {manifest['part']} of an index", "merge the parts, then add to the index")
    if not manifest["complete"]:
        raise ConfigError(
            f"{folder} is not finished; it was begun otherwise: {changed}", "run the command that began it again first"
        )
