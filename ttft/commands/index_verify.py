"""ttft index verify: check every file of an index, or of a run, and report damage."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from ttft.commands.console import note, progress, say, show_plan
from ttft.commands.verify_runs import verify_runs
from ttft.config.index import VerifyConfig
from ttft.errors import MissingArtifact
from ttft.progress import Progress, counted


def run(config: VerifyConfig, *, dry_run: bool = False) -> None:
    """Print the problems, one per line. Raises MissingArtifact if there are any."""
    if dry_run:
        show_plan(config, [])
        return
    from ttft.reporting.verify import is_run
    from ttft.vector_index.manifest import read_manifest
    from ttft.vector_index.shards import open_shards
    from ttft.vector_index.verify import damage

    folder = Path(config.folder)
    if is_run(folder):
        verify_runs([folder])
        return
    manifest = read_manifest(folder)
    files, found, read = manifest.files(), [], count(1)
    with progress() as display:

        def on_file(name: str) -> None:
            display(Progress("verifying", next(read), len(files), "files", name))

        for line in damage(folder, manifest, open_shards(folder, manifest), on_file):
            with display.paused():
                say(line)
            found.append(line)
    if not manifest.complete:
        note(f"{folder} is not finished: only the files so far were checked")
    if found:
        raise MissingArtifact(
            f"{folder}: {counted(len(found), 'problem')} found",
            "restore the damaged files from a backup, or build the index again",
        )
    say(f"{folder} is intact: {counted(manifest.rows, 'piece')}, {counted(len(files), 'file')}")
