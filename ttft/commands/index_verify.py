"""ttft index verify: read every file of an index and say what is damaged."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.index import VerifyConfig
from ttft.errors import MissingArtifact
from ttft.progress import Progress


def run(config: VerifyConfig, *, dry_run: bool = False) -> None:
    """Print what is wrong, a line each. Raises MissingArtifact when something is."""
    if dry_run:
        show_plan(config, [])
        return
    from ttft.vector_index.manifest import read_manifest
    from ttft.vector_index.shards import open_shards
    from ttft.vector_index.verify import damage

    folder = Path(config.folder)
    manifest = read_manifest(folder)
    files, found, read = manifest.files(), [], count(1)
    with progress() as display:

        def on_file(name: str) -> None:
            display(Progress("reading", next(read), len(files), "files", name))

        for line in damage(folder, manifest, open_shards(folder, manifest), on_file):
            with display.paused():
                say(line)
            found.append(line)
    if not manifest.complete:
        note(f"{folder} is not finished: what is there was read")
    if found:
        raise MissingArtifact(
            f"{folder}: {len(found)} fault(s)",
            "restore those files from a copy, or build the index again",
        )
    say(f"{folder} is sound: {manifest.rows:,} pieces, {len(files)} files")
