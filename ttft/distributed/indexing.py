"""Indexing on Ray: Ray Data reads the corpus in one worker, and embeds and writes the shards in others.

    read (one task: the corpus, cut into shards)  ->  _Embedder (actors: embed, write)  ->  entries, in order

A row of the dataset is one shard, and a block is one row (`target_max_block_size`), so that a worker takes one shard at
a time and its entry comes back as soon as it is written. Ray Data pauses the reader when the writers do not keep up: a
few hundred MB of texts are in flight, however large the corpus. A reader that dies starts from the beginning, and a
shard whose worker dies is built again, as often as necessary; the same corpus gives the same shards, so nothing is lost
or duplicated. Entries come in the order of the shards (`preserve_order`); after the last shard the reader reports its
counts. Vectors equal those of LocalWriter with the same number of threads, to the last bit.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ttft import errors, runtime
from ttft.distributed.cluster import RETRIES, Workers, first_answer, workers
from ttft.indexing.options import EncoderOptions
from ttft.indexing.pieces import SourceShards
from ttft.indexing.writer import STAGE, UNIT, LocalWriter
from ttft.progress import OnNote, OnProgress, Progress, ignore
from ttft.records import Document
from ttft.run_dir import differences
from ttft.vector_index.manifest import EmbedderFacts, ShardEntry
from ttft.vector_index.shards import COLUMNS, arrow_bytes

MESSAGE = -1
"""Instead of a shard's number: the row holds a message of the reader, in JSON, and no documents."""
IN_FLIGHT = 2
"""Shards per worker: the one in progress, and the next."""


class RayWriter:
    """Ray workers as the writer of build_index. Ray is started when the build needs it, and stopped at the end of the
    `with` block.

        with RayWriter(workers=4) as writer:
            build_index("docs/", "runs/docs", writer=writer)

    workers, address   see cluster.workers. Inputs and outputs must be on a file system that all machines share.
    Raises what cluster.workers raises, and TtftErrors of workers unchanged.
    """

    def __init__(self, *, workers: int | None = None, address: str | None = None) -> None:
        self.count, self.address = workers, address
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        return self._stack.__exit__(*exception)

    def prepare(
        self, encoder: EncoderOptions, folder: Path, *, seed: int = 0, on_note: OnNote = ignore
    ) -> tuple[EmbedderFacts, dict]:
        crew = workers(count=self.count, address=self.address, device=encoder.device, seed=seed, folder=folder)
        self.crew, self.encoder = self._stack.enter_context(crew), encoder
        import ray

        probe = ray.remote(_probe).options(max_retries=RETRIES, **self.crew.resources)
        self.facts, host = first_answer(ray, probe.remote(encoder, self.crew), on_note=on_note)
        return self.facts, host | {"workers": self.crew.count}

    def entries(
        self, shards: SourceShards, documents: Iterator[Document], on_progress: OnProgress
    ) -> Iterator[ShardEntry]:
        """See ShardWriter. `documents` is not used: a worker reads the source itself."""
        done = shards.source.rows
        for row in self._messages(shards).iter_rows():
            kind, value = json.loads(row["message"])
            if kind == "error":
                raise getattr(errors, value["kind"])(value["message"], value["hint"])
            if kind == "read":
                shards.read, shards.duplicates = value["read"], value["duplicates"]
                vars(shards.problems).update(value["problems"])
            else:
                entry = ShardEntry.from_json(value)
                done += entry.rows
                on_progress(Progress(STAGE, done, None, UNIT, f"on {self.crew.count} workers"))
                yield entry

    def _messages(self, shards: SourceShards) -> Any:
        """The lazy dataset of the workers' messages, one per shard."""
        import ray.data  # sets up its loggers

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", "The minimum number of concurrent actors")  # if there are few shards
        target = _Target(str(shards.folder), shards.manifest.precision, shards.place, self.facts)
        found = ray.data.read_datasource(_source(shards, self.crew), override_num_blocks=1, num_cpus=0).map_batches(
            _Embedder,
            fn_constructor_args=(self.crew, self.encoder, target),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self.crew.count, max_tasks_in_flight_per_actor=IN_FLIGHT),
            **self.crew.resources,
        )
        context = found.context
        context.target_max_block_size = 1
        context.execution_options.preserve_order = True
        context.enable_progress_bars = context.print_on_execution_start = False
        return found


def _probe(encoder: EncoderOptions, crew: Workers) -> tuple[EmbedderFacts, dict]:
    """In a worker: the facts of the encoder and of the machine."""
    return _local_writer(encoder, crew)[1:]


def _local_writer(encoder: EncoderOptions, crew: Workers) -> tuple[LocalWriter, EmbedderFacts, dict]:
    crew.settle()
    runtime.keep_freed_memory()
    writer = LocalWriter()
    return writer, *writer.prepare(encoder, Path(crew.folder))


# ---- reading -------------------------------------------------------------------------------------------------------


def _source(shards: SourceShards, crew: Workers) -> Any:
    """The corpus as a Ray Data source that is read by a single task."""
    from ray.data import Datasource
    from ray.data.block import BlockMetadata
    from ray.data.datasource import ReadTask

    class Corpus(Datasource):
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(lambda: _read(shards, crew), unknown)]

    return Corpus()


def _read(shards: SourceShards, crew: Workers) -> Iterator[Any]:
    """In a worker: a table of one row for each missing shard, and a last one with the counts of what was read."""
    try:
        crew.settle()
        shards, documents = shards.read_anew()
        for number, some in shards.missing(documents):
            yield _row(number, arrow_bytes(some))
        read = {"read": shards.read, "duplicates": shards.duplicates, "problems": vars(shards.problems)}
        yield _row(MESSAGE, json.dumps(["read", read]).encode())
    except errors.TtftError as error:
        yield _row(MESSAGE, _error(error))


def _row(number: int, content: bytes) -> Any:
    import pyarrow as pa

    return pa.table({"number": [number], "content": pa.array([content], pa.large_binary())})


def _error(error: errors.TtftError) -> bytes:
    """A TtftError as a message, since Ray Data does not pass our exceptions on unchanged."""
    told = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    return json.dumps(["error", told]).encode()


# ---- embedding and writing -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """Where and how shards are written, and the encoder facts that every worker must match."""

    folder: str
    precision: str
    source: int
    facts: EmbedderFacts


class _Embedder:
    """A Ray Data worker: loads one encoder and then embeds one shard after another."""

    def __init__(self, crew: Workers, encoder: EncoderOptions, target: _Target) -> None:
        self.crew, self.encoder, self.target = crew, encoder, target

    def __call__(self, row: Any) -> Any:
        import pyarrow as pa

        (number,), (content,) = row["number"].to_pylist(), row["content"].to_pylist()
        try:
            message = content if number == MESSAGE else self._write(number, content)
        except errors.TtftError as error:
            message = _error(error)
        return pa.table({"message": [message.decode()]})

    @cached_property
    def local(self) -> LocalWriter:
        writer, facts, _ = _local_writer(self.encoder, self.crew)
        changed = differences(asdict(self.target.facts), asdict(facts))
        if changed:
            raise errors.ConfigError(
                f"workers would embed differently: {'; '.join(changed)}",
                "set --device and --dtype to values that all machines support",
            )
        return writer

    def _write(self, number: int, content: bytes) -> bytes:
        entry = self.local.write(
            Path(self.target.folder), number, _documents(content), precision=self.target.precision,
            source=self.target.source,
        )  # fmt: skip
        return json.dumps(["entry", entry.to_json()]).encode()


def _documents(content: bytes) -> list[Document]:
    """The documents from the bytes that `arrow_bytes` made of them."""
    import pyarrow as pa

    return [Document(**row) for row in pa.ipc.open_file(content).read_all().select(COLUMNS).to_pylist()]
