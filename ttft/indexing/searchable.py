"""The last step of a build or a merge: cover the finished shards by what searches them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ttft.progress import OnProgress, Progress
from ttft.vector_index.manifest import Manifest, write_manifest
from ttft.vector_index.milvus import add_rows
from ttft.vector_index.segments import add_segments
from ttft.vector_index.shards import open_shards


def make_searchable(folder: Path, manifest: Manifest, seed: int, on_progress: OnProgress) -> None:
    """Cover the finished shards by what searches them; then the index is complete.

    seed  of the sample that a kind other than Flat is trained on
    Raises ConfigError when the kind cannot be built, DiskFull, MissingArtifact where Milvus does not answer.
    """
    search = manifest.search
    covered = search.rows if search.store == "milvus" else sum(segment.rows for segment in search.segments)

    def on_rows(rows: int) -> None:
        nonlocal covered
        covered += rows
        # a collection that was emptied since is filled from the start
        on_progress(Progress("making the shards searchable", min(covered, manifest.rows), manifest.rows, "pieces"))

    add = add_rows if search.store == "milvus" else partial(add_segments, seed=seed)
    add(
        folder, open_shards(folder, manifest), search, lambda: write_manifest(folder, manifest), on_rows=on_rows
    )  # fmt: skip
    manifest.complete = True
    write_manifest(folder, manifest)
