"""Whether the parts of a manifest agree: names, numbers and sums.

A file of an index is found by the name that the manifest gives for it. Only the names that ttft itself makes are
accepted, each in its own place, so that no manifest can name a file outside its folder or two things by one name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ttft.jobs import Job
from ttft.run_dir import DOCUMENTS, FAISS, PROBLEMS, TRAINED, VECTORS, segment_name, shard_name

AUTO, FLAT = "auto", "Flat"


def contradictions(manifest: Any) -> Iterator[str]:
    """What is wrong with a manifest whose values are valid one by one, a sentence each."""
    yield from _shards(manifest)
    yield from _sources(manifest)
    yield from _faiss(manifest)
    if manifest.search.store == "milvus":
        yield from _milvus(manifest)


def _shards(manifest: Any) -> Iterator[str]:
    try:
        job = Job(1, 1) if manifest.part is None else Job.parse(manifest.part)
    except ValueError as error:
        yield f"part {manifest.part!r}: {error}"
        return
    for place, shard in enumerate(manifest.shards):
        expected = shard_name(job.number - 1 + place * job.total)
        if shard.name != expected:
            yield f"shards.{place}.name is {shard.name!r}, not {expected!r}"
        if set(shard.files) != {DOCUMENTS, VECTORS}:
            yield f"shards.{place}.files are {sorted(shard.files)}, not {DOCUMENTS} and {VECTORS}"
        before = manifest.shards[place - 1].source if place else 0
        if not before <= shard.source < len(manifest.sources):
            yield f"shards.{place}.source is {shard.source}, but there are {len(manifest.sources)} sources, in order"
    if manifest.rows != sum(shard.rows for shard in manifest.shards):
        yield f"rows is {manifest.rows}, but the shards have {sum(shard.rows for shard in manifest.shards)}"


def _sources(manifest: Any) -> Iterator[str]:
    rows = [0] * len(manifest.sources)
    for shard in manifest.shards:
        if shard.source < len(rows):
            rows[shard.source] += shard.rows
    for number, source in enumerate(manifest.sources):
        listed = source.problems_file
        if listed is not None and listed.file != PROBLEMS.format(number):
            yield f"sources.{number}.problems_file.file is {listed.file!r}, not {PROBLEMS.format(number)!r}"
        if source.complete and listed is None:
            yield f"sources.{number} is complete but has no problems_file"
        if rows[number] > source.rows or (manifest.complete and rows[number] < source.rows):
            yield f"sources.{number}.rows is {source.rows}, but its shards have {rows[number]}"
        if source.duplicates > source.read:
            yield f"sources.{number}.duplicates is {source.duplicates}, of {source.read} pieces read"
        if manifest.complete and not source.complete:
            yield f"sources.{number} is not complete, but the index is"


def _faiss(manifest: Any) -> Iterator[str]:
    search, covered = manifest.search, 0
    if search.kind is not None and search.factory != AUTO and search.kind != search.factory:
        yield f"search.kind is {search.kind!r}, but search.factory is {search.factory!r}"
    trained = search.trained
    if trained is not None and ((trained.file, trained.shards, trained.rows) != (TRAINED, 0, 0) or search.kind == FLAT):
        yield f"search.trained is not {TRAINED} without rows"
    for number, segment in enumerate(search.segments):
        shards = manifest.shards[covered : covered + segment.shards]
        if search.kind is None or not 1 <= segment.shards == len(shards):
            yield f"search.segments.{number} covers {segment.shards} shards, there are {len(shards)}"
            return
        expected = f"{shards[0].name}/{FAISS}" if search.kind == FLAT else segment_name(number)
        if segment.file != expected:
            yield f"search.segments.{number}.file is {segment.file!r}, not {expected!r}"
        if (search.kind == FLAT and segment.shards != 1) or segment.rows != sum(shard.rows for shard in shards):
            yield f"search.segments.{number} has {segment.rows} rows, not those of its shards"
        covered += segment.shards
    searchable = manifest.complete and manifest.part is None
    if searchable and search.store == "faiss" and covered < len(manifest.shards):
        yield f"search.segments cover {covered} of {len(manifest.shards)} shards of a complete index"


def _milvus(manifest: Any) -> Iterator[str]:
    search = manifest.search
    if search.uri is None or search.collection is None:
        yield "search.uri and search.collection are needed for Milvus"
    if search.segments or search.trained is not None:
        yield "search.segments are of Faiss, but the store is milvus"
    ends = [0]
    for shard in manifest.shards:
        ends.append(ends[-1] + shard.rows)
    if search.rows not in ends or (manifest.complete and search.rows < manifest.rows):
        yield f"search.rows is {search.rows}, which is not the rows of the first shards"
