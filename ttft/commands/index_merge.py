"""ttft index merge: parts of one build, or whole indexes, to one; shards are linked or copied, never made again."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from rich.progress import Progress

from ttft.commands.console import note, progress, say, show_plan
from ttft.commands.index import make_searchable
from ttft.commands.index_claim import check_store, milvus_place, search_differences
from ttft.commands.index_info import remarks, size_of
from ttft.config.index import MergeConfig
from ttft.errors import ConfigError
from ttft.jobs import Job
from ttft.run_dir import (
    MANIFEST,
    PROBLEMS,
    RESULTS,
    differences,
    finish_provenance,
    locked,
    provenance,
    record_provenance,
    shard_name,
    sync_folder,
    write_whole,
    writing,
)


def run(config: MergeConfig, *, dry_run: bool = False) -> None:
    """Make one index of several; run again, it goes on where it stopped. Raises TtftError."""
    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / name for name in (MANIFEST, shard_name(0))])
        return
    from ttft import runtime
    from ttft.vector_index.manifest import read_manifest

    parts = [Path(part) for part in config.parts]
    manifests = [read_manifest(part) for part in parts]
    _fit_together(parts, manifests)
    runtime.setup(config.seed)
    with locked(folder):
        _run(config, folder, parts, manifests, runtime.host_facts("cpu"))


def _fit_together(parts: list[Path], manifests: list[dict]) -> None:
    """Raises ConfigError that names the folder and what keeps it from being merged with the first."""
    for part, manifest in zip(parts, manifests, strict=True):
        keys = ("precision", "metric", "dedup")
        changed = differences({k: manifests[0][k] for k in keys}, {k: manifest[k] for k in keys})
        changed += differences(manifests[0]["embedder"], manifest["embedder"])
        if changed:
            raise ConfigError(f"{parts[0]} and {part} do not fit together: " + "; ".join(changed))
        if not manifest["complete"]:
            raise ConfigError(f"{part} is not finished", "run its ttft index command again first")
    if len({part.resolve() for part in parts}) < len(parts):
        raise ConfigError("a folder is given twice", "name each part once")
    jobs = [manifest["part"] for manifest in manifests]
    if any(job is not None for job in jobs):
        _one_build(parts, manifests, jobs)


def _one_build(parts: list[Path], manifests: list[dict], jobs: list[str | None]) -> None:
    """The parts of --job are all there, once each, and of one build."""
    if None in jobs:
        raise ConfigError(
            f"{parts[jobs.index(None)]} is a whole index, others are parts (--job)", "merge the parts first"
        )
    numbers = [Job.parse(job) for job in jobs if job is not None]
    total = numbers[0].total
    missing = sorted(set(range(1, total + 1)) - {n.number for n in numbers if n.total == total})
    if missing or len(numbers) != total:
        wanted = ", ".join(f"{number}/{total}" for number in missing) or "each part once"
        raise ConfigError(f"the parts of this build are not {', '.join(map(str, numbers))}", f"missing: {wanted}")
    for part, manifest in zip(parts, manifests, strict=True):
        changed = differences(manifests[0]["sources"][0]["corpus"], manifest["sources"][0]["corpus"])
        if changed:
            raise ConfigError(f"{parts[0]} and {part} are not parts of one build: " + "; ".join(changed))


def _run(config: MergeConfig, folder: Path, parts: list[Path], manifests: list[dict], host: dict) -> None:
    from ttft.vector_index.manifest import new_manifest, read_manifest, write_manifest
    from ttft.vector_index.segments import choose_again

    started = time.perf_counter()
    first = manifests[0]
    plan, sources, problems = _plan(parts, manifests)
    wanted = new_manifest(
        first["embedder"], precision=first["precision"], dedup=first["dedup"], part=None, factory=config.factory,
        milvus=milvus_place(config, folder, first["embedder"]["dimension"]),
    ) | {"sources": sources}  # fmt: skip
    if (folder / RESULTS).exists():
        raise ConfigError(f"{folder} holds a run, not an index", "choose another --out")
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        choose_again(manifest["search"], config.factory)
        _same_merge(folder, manifest, wanted, plan)
        if manifest["complete"]:
            say(f"{folder} is complete: {size_of(manifest)}; nothing to do")
            return
    else:
        manifest = wanted
        check_store(folder, manifest)
        for source, path in zip(sources, problems, strict=True):
            write_whole(folder / source["problems_file"]["file"], path.read_bytes())
        write_manifest(folder, manifest)
    record_provenance(folder, provenance(config.seed, host))
    with progress() as display:
        _place(folder, manifest, plan, display)
        if first["part"] is None and manifest["dedup"] != "off" and len(parts) > 1:
            _count_repeats(folder, manifest)
        write_manifest(folder, manifest)
        make_searchable(folder, manifest, config.seed, display)
    finish_provenance(folder, time.perf_counter() - started, manifest["rows"])
    for line in remarks(manifest):
        note(line)
    say(f"{folder}: {size_of(manifest)}, {time.perf_counter() - started:.1f} s")


Planned = tuple[Path, dict]


def _plan(parts: list[Path], manifests: list[dict]) -> tuple[list[Planned], list[dict], list[Path]]:
    """(folder of a shard, its entry in the new manifest) for every shard in its new order; the sources; and the files
    of their problems."""
    taken: list[Planned] = []
    sources: list[dict] = []
    problems: list[Path] = []
    for part, manifest in zip(parts, manifests, strict=True):
        for entry in manifest["shards"]:
            source = entry["source"] if manifest["part"] is not None else entry["source"] + len(sources)
            taken.append((part / entry["name"], entry | {"source": source}))
        if manifest["part"] is None or not sources:
            sources += [dict(source) for source in manifest["sources"]]
            problems += [part / source["problems_file"]["file"] for source in manifest["sources"]]
    if manifests[0]["part"] is not None:
        taken.sort(key=lambda shard: shard[1]["name"])
        sources[0]["rows"] = sum(entry["rows"] for _, entry in taken)
    for number, source in enumerate(sources):
        source["problems_file"] = source["problems_file"] | {"file": PROBLEMS.format(number)}
    plan = [(path, entry | {"name": shard_name(number)}) for number, (path, entry) in enumerate(taken)]
    return plan, sources, problems


def _same_merge(folder: Path, there: dict, wanted: dict, plan: list[Planned]) -> None:
    """A folder goes on only as the merge that it was begun as."""
    keys = ("embedder", "precision", "part", "dedup")
    changed = differences({k: there[k] for k in keys}, {k: wanted[k] for k in keys})
    changed += search_differences(there, wanted)
    if changed or there["shards"] != [entry for _, entry in plan][: len(there["shards"])]:
        raise ConfigError(
            f"{folder} holds another index" + ": " * bool(changed) + "; ".join(changed), "choose another --out"
        )


def _place(folder: Path, manifest: dict, plan: list[Planned], display: Progress) -> None:
    """Bring every shard into the folder, and the lists of problems."""
    from ttft.vector_index.manifest import write_manifest

    task = display.add_task("taking shards", total=len(plan), completed=len(manifest["shards"]))
    for path, entry in plan[len(manifest["shards"]) :]:
        part, place = folder / (entry["name"] + ".part"), folder / entry["name"]
        for leftover in (part, place):
            if leftover.exists():
                shutil.rmtree(leftover)
        with writing(part):
            part.mkdir()
            for name in entry["files"]:
                _link_or_copy(path / name, part / name)
            sync_folder(part)
            part.rename(place)
            sync_folder(folder)
        manifest["shards"].append(entry)
        manifest["rows"] += entry["rows"]
        write_manifest(folder, manifest)
        display.advance(task)


def _link_or_copy(there: Path, here: Path) -> None:
    """The files of an index never change, so two folders may share them; another file system gets a copy."""
    try:
        os.link(there, here)
    except OSError:
        shutil.copyfile(there, here)
        with open(here, "rb") as handle:
            os.fsync(handle.fileno())


def _count_repeats(folder: Path, manifest: dict) -> None:
    """Pieces that came before, now also in another index; those that dedup "exact" left out stay counted."""
    from ttft.corpus.duplicates import Seen
    from ttft.vector_index.shards import open_shards

    for source in manifest["sources"]:
        source["duplicates"] = source["read"] - source["rows"]
    seen = Seen(folder / ".seen")
    for shard in open_shards(folder, manifest):
        for digest in shard.digests():
            manifest["sources"][shard.entry["source"]]["duplicates"] += not seen.add(digest)
    seen.close()
