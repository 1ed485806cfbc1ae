"""The last step of a build or a merge: build the search index over the finished shards."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ttft.progress import OnProgress, Progress
from ttft.vector_index.manifest import Manifest, write_manifest
from ttft.vector_index.milvus import add_rows
from ttft.vector_index.segments import add_segments
from ttft.vector_index.shards import open_shards


def make_searchable(folder: Path, manifest: Manifest, seed: int, on_progress: OnProgress) -> None:
    """Build the search index over the finished shards, and mark the index as complete.

    seed  of the sample of vectors that a kind other than Flat is trained on
    Raises ConfigError if the kind cannot be built, DiskFull, MissingArtifact if Milvus does not answer.
    """
    search = manifest.search
    covered = search.rows if search.store == "milvus" else sum(segment.rows for segment in search.segments)

    def on_rows(rows: int) -> None:
        nonlocal covered
        covered += rows
        # min: a collection that was emptied in the meantime is filled from the start
        on_progress(Progress("building the search index", min(covered, manifest.rows), manifest.rows, "pieces"))

    add = add_rows if search.store == "milvus" else partial(add_segments, seed=seed)
    add(
        folder, open_shards(folder, manifest), search, lambda: write_manifest(folder, manifest), on_rows=on_rows
    )  # fmt: skip
    manifest.complete = True
    write_manifest(folder, manifest)
