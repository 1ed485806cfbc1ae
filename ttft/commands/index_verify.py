"""ttft index verify: read every file of an index and say what is damaged."""

from __future__ import annotations

from pathlib import Path

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.index import VerifyConfig
from ttft.errors import MissingArtifact


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
    files, found = manifest.files(), []
    with progress() as display:
        task = display.add_task("reading", total=len(files))
        for line in damage(folder, manifest, open_shards(folder, manifest), lambda name: display.advance(task)):
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
