"""Merges the parts of one build, or complete indexes, into one index; shards are linked or copied as they are."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ttft import defaults, runtime
from ttft.corpus.duplicates import Seen
from ttft.errors import ConfigError
from ttft.files import open_regular, read_bytes, replacing, replacing_folder, write_whole
from ttft.indexing.claim import check_new, check_no_links, key_differences, search_differences, search_for
from ttft.indexing.options import SearchOptions
from ttft.indexing.searchable import make_searchable
from ttft.jobs import Job
from ttft.progress import OnNote, OnProgress, Progress, ignore
from ttft.run_dir import (
    MANIFEST,
    PROBLEMS,
    differences,
    finish_provenance,
    locked,
    provenance,
    record_provenance,
    shard_name,
)
from ttft.vector_index.checks import present
from ttft.vector_index.facts import remarks
from ttft.vector_index.manifest import Manifest, ShardEntry, Source, read_manifest, write_manifest
from ttft.vector_index.segments import choose_again
from ttft.vector_index.shards import Shard, VectorIndex, open_shards, opened


def merge_indexes(
    parts: Sequence[str | Path], out: str | Path, *, factory: str = defaults.FACTORY, store: str = defaults.STORE,
    uri: str | None = None, collection: str = defaults.COLLECTION, seed: int = defaults.SEED,
    on_progress: OnProgress = ignore, on_note: OnNote = ignore,
) -> VectorIndex:  # fmt: skip
    """Merge several indexes into one in the folder `out`. Returns the opened index.

    parts  folders of the parts of one build (job="i/n"), in any order, or of complete indexes, in the order of their
           rows. A single index gets another search index
    The other arguments are those of build_index. The same call resumes an interrupted merge, and returns at once if the
    index is complete. Raises ConfigError for parts that do not belong together, or if `out` holds something else.
    """
    options, folder = SearchOptions(factory, store, uri, collection), Path(out)
    if not parts:
        raise ConfigError("there are no parts to merge", "give the folders of the parts or indexes")
    paths = [Path(part) for part in parts]
    manifests = [read_manifest(path) for path in paths]
    _fit_together(paths, manifests)
    with locked(folder):
        started = time.perf_counter()
        plan = _plan(paths, manifests)
        first = manifests[0]
        search = search_for(options, folder, first.embedder.dimension)
        asked = Manifest(first.embedder, first.precision, first.dedup, None, search, plan.sources)
        manifest = _claim(folder, asked, plan)
        if manifest.complete:
            return opened(folder, manifest, uri=manifest.search.uri)
        record_provenance(folder, provenance(seed, runtime.host_facts("cpu")))
        _take_shards(folder, manifest, plan, on_progress)
        if first.part is None and manifest.dedup != "off" and len(paths) > 1:
            _count_repeats(folder, manifest)
        write_manifest(folder, manifest)
        make_searchable(folder, manifest, seed, on_progress)
        finish_provenance(folder, time.perf_counter() - started, manifest.rows)
    for line in remarks(manifest):
        on_note(line)
    return opened(folder, manifest, uri=manifest.search.uri)


# ---- checks --------------------------------------------------------------------------------------------------------


def _fit_together(parts: list[Path], manifests: list[Manifest]) -> None:
    """Raises ConfigError naming the folder that cannot be merged with the first, and why."""
    for part, manifest in zip(parts, manifests, strict=True):
        changed = key_differences(manifests[0], manifest, ("precision", "dedup"))
        if changed:
            raise ConfigError(f"{parts[0]} and {part} cannot be merged: " + "; ".join(changed))
        if not manifest.complete:
            raise ConfigError(f"{part} is not finished", "run its ttft index command again first")
    if len({part.resolve() for part in parts}) < len(parts):
        raise ConfigError("a folder is given twice", "give each part once")
    jobs = [manifest.part for manifest in manifests]
    if any(job is not None for job in jobs):
        _one_build(parts, manifests, jobs)


def _one_build(parts: list[Path], manifests: list[Manifest], jobs: list[str | None]) -> None:
    """Check that the parts of --job belong to one build and that each is given exactly once."""
    if None in jobs:
        raise ConfigError(
            f"{parts[jobs.index(None)]} is a complete index, the others are parts (--job)", "merge the parts first"
        )
    numbers = [Job.parse(job) for job in jobs if job is not None]
    total = numbers[0].total
    missing = sorted(set(range(1, total + 1)) - {n.number for n in numbers if n.total == total})
    if missing or len(numbers) != total:
        wanted = ", ".join(f"{number}/{total}" for number in missing) or "each part once"
        raise ConfigError(f"parts {', '.join(map(str, numbers))} are not a complete build", f"missing: {wanted}")
    for part, manifest in zip(parts, manifests, strict=True):
        changed = differences(asdict(manifests[0].sources[0].corpus), asdict(manifest.sources[0].corpus))
        if changed:
            raise ConfigError(f"{parts[0]} and {part} are not parts of one build: " + "; ".join(changed))


# ---- the merge -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """The new index: every shard as it is now, and its new entry; its sources, and their current files of problems."""

    shards: list[tuple[Shard, ShardEntry]]
    sources: list[Source]
    problems: list[Path]


def _plan(parts: list[Path], manifests: list[Manifest]) -> _Plan:
    taken: list[tuple[Shard, ShardEntry]] = []
    sources: list[Source] = []
    problems: list[Path] = []
    for part, manifest in zip(parts, manifests, strict=True):
        before = 0 if manifest.part is not None else len(sources)
        opened_shards = open_shards(part, manifest)
        taken += [(shard, replace(shard.entry, source=shard.entry.source + before)) for shard in opened_shards]
        if manifest.part is None or not sources:
            sources += [replace(source) for source in manifest.sources]
            problems += [part / s.problems_file.file for s in manifest.sources if s.problems_file is not None]
    if manifests[0].part is not None:
        taken.sort(key=lambda shard: shard[1].name)
        sources[0].rows = sum(entry.rows for _, entry in taken)
    for number, source in enumerate(sources):
        assert source.problems_file is not None, "a complete source has one"
        source.problems_file = replace(source.problems_file, file=PROBLEMS.format(number))
    shards = [(shard, replace(entry, name=shard_name(number))) for number, (shard, entry) in enumerate(taken)]
    return _Plan(shards, sources, problems)


def _claim(folder: Path, asked: Manifest, plan: _Plan) -> Manifest:
    """The manifest of the merge, new or existing. Raises ConfigError if the folder holds something else."""
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        check_no_links(folder, manifest)
        choose_again(manifest.search, asked.search.factory)
        _same_merge(folder, manifest, asked, plan)
        return manifest
    check_new(folder, asked.search)
    for source, path in zip(asked.sources, plan.problems, strict=True):
        assert source.problems_file is not None
        present(path, source.problems_file)
        write_whole(folder / source.problems_file.file, read_bytes(path))
    write_manifest(folder, asked)
    return asked


def _same_merge(folder: Path, there: Manifest, asked: Manifest, plan: _Plan) -> None:
    """Check that an existing folder holds this very merge."""
    changed = key_differences(there, asked, ("precision", "part", "dedup"))
    changed += search_differences(there.search, asked.search)
    if changed or there.shards != [entry for _, entry in plan.shards][: len(there.shards)]:
        raise ConfigError(
            f"{folder} holds another index" + ": " * bool(changed) + "; ".join(changed), "choose another --out"
        )


def _take_shards(folder: Path, manifest: Manifest, plan: _Plan, on_progress: OnProgress) -> None:
    """Link or copy every shard into the folder, after checking that its files hold what their manifest states."""
    for shard, entry in plan.shards[len(manifest.shards) :]:
        with replacing_folder(folder / entry.name) as part:
            for path in shard.checked_files():
                _link_or_copy(path, part / path.name)
        manifest.shards.append(entry)
        manifest.rows += entry.rows
        write_manifest(folder, manifest)
        on_progress(Progress("copying shards", len(manifest.shards), len(plan.shards), "shards"))


def _link_or_copy(there: Path, here: Path) -> None:
    """Hard-link a file, since the files of an index never change; copy it if the file system does not allow that, or it
    is a link itself."""
    if not there.is_symlink():
        with contextlib.suppress(OSError):
            os.link(there, here)
            return
    with open_regular(there) as source, replacing(here) as copy:
        shutil.copyfileobj(source, copy, 1 << 20)


def _count_repeats(folder: Path, manifest: Manifest) -> None:
    """Count duplicates again, now also across indexes; those that dedup "exact" left out stay counted."""
    for source in manifest.sources:
        source.duplicates = source.read - source.rows
    with closing(Seen(folder / ".seen")) as seen:
        for shard in open_shards(folder, manifest):
            for digest in shard.digests():
                manifest.sources[shard.entry.source].duplicates += not seen.add(digest)
