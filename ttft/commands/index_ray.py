"""ttft index --backend ray: Ray Data reads the corpus in a worker, embeds on others, and writes the shards.

    read (one task: the corpus, cut into shards)  ->  ShardWriter (actors: embed, write)  ->  entries, in order

A row between them is one shard, and a block one row (`target_max_block_size`), so that a worker takes one at a time and
its entry comes back as soon as it is made. Ray Data holds the reading back when the writers do not keep up: a few
hundred MB of texts are under way, however large the corpus. A reader that dies reads again from the start, and a shard
whose worker dies is made again, as often as it takes; the same corpus gives the same shards, so nothing is lost or
doubled. The entries come in the order of the shards (`preserve_order`); after the last shard the reader hands on what
it counted. Vectors are those of the local engine with as many threads, to the last bit.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ttft import errors
from ttft.commands.index_embedding import Local
from ttft.commands.index_pieces import Pieces, read_pieces
from ttft.commands.on_ray import RETRIES, Workers, first_answer, workers
from ttft.config.index import IndexConfig
from ttft.records import Document
from ttft.run_dir import differences

SAID = -1
"""In place of a shard's number: the row holds what the reader has to say, in JSON, and no documents."""
IN_FLIGHT = 2
"""Shards that a worker has: the one it works at, and the next."""


@contextmanager
def ray_engine(config: IndexConfig, folder: Path) -> Iterator[Engine]:
    with workers(config, device=config.device, seed=config.seed, folder=folder) as crew:
        yield Engine(config, crew)


class Engine:
    """Workers of Ray, for `index_embedding.engine`."""

    def __init__(self, config: IndexConfig, crew: Workers) -> None:
        import ray

        self.config, self.crew = config, crew
        probe = ray.remote(_probe).options(max_retries=RETRIES, **crew.resources)
        self.facts, host = first_answer(ray, probe.remote(config, crew))
        self.host = host | {"workers": crew.count}

    def entries(self, pieces: Pieces, documents: Iterator[Document], display: Progress) -> Iterator[dict]:
        """The entries of the shards that are missing; `documents` are read anew, by a worker."""
        task = display.add_task(f"embedding on {self.crew.count} workers", total=None)
        for row in self._shards(pieces).iter_rows():
            kind, value = json.loads(row["said"])
            if kind == "fault":
                raise getattr(errors, value["kind"])(value["message"], value["hint"])
            if kind == "read":
                pieces.tally |= value["tally"]
                vars(pieces.problems).update(value["problems"])
            else:
                display.update(task, advance=value["rows"], description=f"embedded {value['name']}")
                yield value
        display.remove_task(task)

    def _shards(self, pieces: Pieces) -> Any:
        """The lazy dataset of what is said of each shard."""
        import ray.data  # sets its loggers up

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", "The minimum number of concurrent actors")  # of a corpus with few shards
        shards = ray.data.read_datasource(_source(pieces, self.crew), override_num_blocks=1, num_cpus=0).map_batches(
            ShardWriter,
            fn_constructor_args=(self.crew, pieces),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self.crew.count, max_tasks_in_flight_per_actor=IN_FLIGHT),
            **self.crew.resources,
        )
        context = shards.context
        context.target_max_block_size = 1
        context.execution_options.preserve_order = True
        context.enable_progress_bars = context.print_on_execution_start = False
        return shards


def _probe(config: IndexConfig, crew: Workers) -> tuple[dict, dict]:
    """In a worker: the facts of the encoder, and of the machine."""
    crew.settle()
    local = Local(config)
    return local.facts, local.host


# ---- reading -------------------------------------------------------------------------------------------------------


def _source(pieces: Pieces, crew: Workers) -> Any:
    """The corpus as Ray Data knows sources: with a single task to read it, which is told nothing of others."""
    from ray.data import Datasource
    from ray.data.block import BlockMetadata
    from ray.data.datasource import ReadTask

    class Corpus(Datasource):
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(lambda: _read(pieces, crew), unknown)]

    return Corpus()


def _read(pieces: Pieces, crew: Workers) -> Iterator[Any]:
    """In a worker: a table of one row for each shard that is missing, and one of what was read."""
    from ttft.corpus.problems import Problems
    from ttft.vector_index.shards import arrow_bytes

    pieces = Pieces(pieces.config, pieces.folder, pieces.manifest, Problems(strict=pieces.config.strict))
    try:
        crew.settle()
        for number, documents in pieces.shards(read_pieces(pieces.config, pieces.problems)):
            yield _row(number, arrow_bytes(documents))
        read = {"tally": pieces.tally, "problems": vars(pieces.problems)}
        yield _row(SAID, json.dumps(["read", read]).encode())
    except errors.TtftError as error:
        yield _row(SAID, _fault(error))


def _row(number: int, content: bytes) -> Any:
    import pyarrow as pa

    return pa.table({"number": [number], "content": pa.array([content], pa.large_binary())})


def _fault(error: errors.TtftError) -> bytes:
    """Ray Data hands no exception of ours to the command as it was; so it is said in a row."""
    told = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    return json.dumps(["fault", told]).encode()


# ---- writing -------------------------------------------------------------------------------------------------------


class ShardWriter:
    """A worker of Ray Data: one encoder, loaded once, and one shard after another."""

    def __init__(self, crew: Workers, pieces: Pieces) -> None:
        self.crew, self.pieces = crew, pieces

    def __call__(self, row: Any) -> Any:
        import pyarrow as pa

        (number,), (content,) = row["number"].to_pylist(), row["content"].to_pylist()
        try:
            said = content if number == SAID else self._write(number, content)
        except errors.TtftError as error:
            said = _fault(error)
        return pa.table({"said": [said.decode()]})

    @cached_property
    def local(self) -> Local:
        self.crew.settle()
        local = Local(self.pieces.config)
        changed = differences(self.pieces.manifest["embedder"], local.facts)
        if changed:
            raise errors.ConfigError(
                f"a worker would embed otherwise: {'; '.join(changed)}", "say --device and --dtype, for all machines"
            )
        return local

    def _write(self, number: int, content: bytes) -> bytes:
        documents = read_documents(content)
        return json.dumps(["entry", self.local.write(self.pieces, number, documents)]).encode()


def read_documents(content: bytes) -> list[Document]:
    """What `arrow_bytes` made of documents, as documents."""
    import pyarrow as pa

    from ttft.vector_index.shards import COLUMNS

    return [Document(**row) for row in pa.ipc.open_file(content).read_all().select(COLUMNS).to_pylist()]
