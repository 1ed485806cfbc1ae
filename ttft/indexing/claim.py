"""Claims a folder for a build, which starts a new index, resumes its own, adds a source to it, or is refused."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ttft.errors import ConfigError
from ttft.indexing.options import SearchOptions
from ttft.run_dir import MANIFEST, RESULTS, differences
from ttft.vector_index import faiss, milvus
from ttft.vector_index.manifest import CorpusFacts, Manifest, Search, Source, read_manifest, write_manifest
from ttft.vector_index.segments import AUTO, choose_again

ASKED = ("store", "factory", "uri", "collection")
"""The keys of the manifest's entry for the search index that the user chooses."""


def claim(folder: Path, asked: Manifest, corpus: CorpusFacts, *, append: bool, in_memory: bool) -> Manifest:
    """The manifest of the index in the folder, new or existing. Its last source is this corpus, and incomplete unless
    the whole index is complete.

    asked      the requested index: a manifest without sources
    in_memory  the corpus is in memory, so that its name does not identify it
    Raises ConfigError if the folder holds another index or a run.
    """
    if not (folder / MANIFEST).exists():
        check_new(folder, asked.search)
        manifest = asked
    else:
        manifest = read_manifest(folder)
        check_no_links(folder, manifest)
        choose_again(manifest.search, asked.search.factory)
        _same_index(folder, manifest, asked)
        if any(source.corpus == corpus for source in manifest.sources):
            _last_is_finished(folder, manifest, corpus)
            return manifest
        _may_append(folder, manifest, corpus, append, in_memory)
    manifest.sources.append(Source(corpus))
    manifest.complete = False
    write_manifest(folder, manifest)
    return manifest


def search_for(options: SearchOptions, folder: Path, dimension: int) -> Search:
    """The manifest's entry for a search index that is not built yet.

    Raises ConfigError, before any other work, for a kind of index that Faiss or Milvus does not support.
    """
    if options.store == "milvus":
        return milvus.place(folder, options.uri, options.collection, options.factory)
    if options.factory != AUTO:
        faiss.empty(dimension, options.factory)
    return Search(factory=options.factory)


def check_no_links(folder: Path, manifest: Manifest) -> None:
    """Raises ConfigError if the manifest or a shard of a folder that is written to is a symbolic link."""
    for path in (folder / MANIFEST, *(folder / shard.name for shard in manifest.shards)):
        if path.is_symlink():
            raise ConfigError(
                f"{path} is a symbolic link, and nothing is written through links", "choose another --out"
            )


def check_new(folder: Path, search: Search) -> None:
    """Before a new index is begun, check that the folder is free and that Milvus, if used, is available.

    Raises TtftError.
    """
    if (folder / RESULTS).exists():
        raise ConfigError(f"{folder} holds a run, not an index", "choose another --out")
    if search.store == "milvus":
        milvus.check_free(folder, search)


def search_differences(there: Search, asked: Search) -> list[str]:
    return differences(*({key: getattr(search, key) for key in ASKED} for search in (there, asked)))


def key_differences(there: Manifest, asked: Manifest, keys: tuple[str, ...]) -> list[str]:
    """The differences in the named keys and in the embedder."""
    changed = differences(*({key: getattr(manifest, key) for key in keys} for manifest in (there, asked)))
    return changed + differences(asdict(there.embedder), asdict(asked.embedder))


def _same_index(folder: Path, there: Manifest, asked: Manifest) -> None:
    """Check what all sources of an index have in common: embedder, precision, part, dedup and search index."""
    changed = key_differences(there, asked, ("precision", "part", "dedup"))
    changed += search_differences(there.search, asked.search)
    if changed:
        raise ConfigError(
            f"{folder} holds another index: " + "; ".join(changed),
            "choose another --out, or delete that folder first",
        )


def _last_is_finished(folder: Path, manifest: Manifest, corpus: CorpusFacts) -> None:
    """Only the last of several sources can be incomplete."""
    unfinished = [s.corpus.source for s in manifest.sources if not s.complete and s.corpus != corpus]
    if unfinished:
        raise ConfigError(f"{folder}: adding {unfinished[0]} was interrupted", "run that command again first")


def _may_append(folder: Path, manifest: Manifest, corpus: CorpusFacts, append: bool, in_memory: bool) -> None:
    last = manifest.sources[-1]
    changed = "; ".join(_corpus_differences(last.corpus, corpus))
    known = not in_memory and any(source.corpus.source == corpus.source for source in manifest.sources)
    twice = known and manifest.dedup != "exact"
    if not append:
        new = last.complete and not twice
        raise ConfigError(
            f"{folder} holds another index: {changed}",
            "choose another --out" + ", or add this source to it: --append" * new,
        )
    if twice:
        raise ConfigError(
            f"{folder} already holds {corpus.source}; adding it again would duplicate its pieces: {changed}",
            "add a file with only the new texts; a source can be added again only to an index with --dedup exact",
        )
    if manifest.part is not None:
        raise ConfigError(f"{folder} is part {manifest.part} of an index", "merge the parts first, then add the source")
    if not manifest.complete:
        raise ConfigError(
            f"{folder} is not finished and was begun with other options: {changed}",
            "finish it first: run the original command again",
        )


def _corpus_differences(there: CorpusFacts, asked: CorpusFacts) -> list[str]:
    """The differences in the options, or if there are none in these, that the content is another one."""
    changed = differences(asdict(there) | {"fingerprint": ""}, asdict(asked) | {"fingerprint": ""})
    return changed or [f"the content of {there.source} has changed since"]
