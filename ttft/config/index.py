"""Options of `ttft index`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ttft import defaults
from ttft.config.backend import BackendFields
from ttft.config.base import MOST_SEED, Config
from ttft.jobs import JobText


class CorpusFields(Config):
    """How the records of a source are read, whether corpus or prompts."""

    text_field: str = defaults.TEXT_FIELD
    """Record field that holds the text; dots select nested fields, as in meta.text."""
    subset_field: str = defaults.SUBSET_FIELD
    """Record field that names the subset; records without it belong to no subset."""
    subsets: list[str] | None = None
    """Use only this subset. Repeat the option for several."""


class SearchFields(Config):
    """The search index over the vectors."""

    factory: str = defaults.FACTORY
    """Type of search index, as a Faiss factory string: Flat, SQ8, IVF1024,Flat, IVF4096,PQ48, HNSW32, ... auto chooses
    by size. Milvus supports Flat (auto), IVF1024,Flat, IVF1024,SQ8 and HNSW32."""
    store: Literal["faiss", "milvus"] = defaults.STORE
    """Where the search index is kept: in Faiss files inside the index folder, or in a Milvus collection."""
    uri: str | None = None
    """Milvus to connect to: a file NAME.db (embedded Milvus Lite) or a server such as http://host:19530, whose token is
    read from the environment variable MILVUS_TOKEN. Other commands send it there only if MILVUS_URI is set to the same
    address. Default: milvus.db in the index folder."""
    collection: str = Field(defaults.COLLECTION, pattern="^[A-Za-z_][A-Za-z0-9_]{0,254}$")
    """Name of the Milvus collection."""

    @field_validator("uri")
    @classmethod
    def _reachable(cls, uri: str | None) -> str | None:
        if uri is not None and "://" in uri and "@" in uri:
            raise ValueError(
                "the password would be saved with the index; leave it out and set MILVUS_TOKEN=user:pass instead"
            )
        if uri is not None and uri.endswith(".db") == uri.startswith(("http://", "https://")):
            raise ValueError("give a file NAME.db, or an address such as http://127.0.0.1:19530")
        return uri

    @model_validator(mode="after")
    def _uri_is_of_milvus(self) -> Self:
        if self.uri is not None and self.store != "milvus":
            raise ValueError("uri is the address of a Milvus server or file; add --store milvus")
        return self


class EffortFields(Config):
    """How thoroughly an approximate index is searched."""

    nprobe: int | None = Field(None, ge=1, le=2**31 - 1)
    """Number of inverted lists that an IVF index reads per query. Default: an eighth of them, between 8 and 64."""
    ef_search: int | None = Field(None, ge=1, le=2**31 - 1)
    """Size of the candidate list in an HNSW search. Default: 128."""


class IndexConfig(CorpusFields, SearchFields, BackendFields):
    """Corpus -> pieces -> vectors -> index folder."""

    source: str
    """Corpus: a .jsonl, .jsonl.zst, .jsonl.gz, .parquet or text file, a folder of such files, or a Hugging Face
    dataset."""
    out: str
    """Index folder to write."""
    glob: str = defaults.GLOB
    """Files to read if the source is a folder, for example '**/*.py'."""
    name: str | None = None
    """Configuration name of a Hugging Face dataset."""
    split: str = defaults.SPLIT
    """Split of a Hugging Face dataset."""
    streaming: bool = True
    """Stream a Hugging Face dataset instead of downloading all of it first."""
    max_documents: int | None = Field(None, ge=defaults.LEAST["max_documents"], le=10**12)
    """Use at most this many texts of the source."""
    piece_chars: int = Field(defaults.PIECE_CHARS, ge=defaults.LEAST["piece_chars"], le=10_000_000)
    """Maximum length of a piece in characters. Longer texts are cut into pieces at line ends or spaces; nothing is
    lost."""
    max_line_bytes: int = Field(defaults.MAX_LINE_BYTES, ge=defaults.LEAST["max_line_bytes"], le=2**31 - 1)
    """Maximum length of a line of a JSON-lines file in bytes. Longer lines are skipped and reported."""
    strict: bool = False
    """Fail at the first record that cannot be used, instead of skipping and reporting it."""
    embedder: str = defaults.EMBEDDER
    """Encoder that embeds the texts: minilm (works offline), a Hugging Face name or a folder, including
    sentence-transformers checkpoints."""
    embedder_revision: str | None = None
    """Commit or branch of the encoder on the Hugging Face Hub."""
    embedder_tokenizer: str | None = None
    """Checkpoint to load the tokenizer from, if the encoder comes without one."""
    pooling: Literal["mean", "cls"] | None = None
    """How token states are pooled into one vector. Default: as the checkpoint says, else mean."""
    max_tokens: int | None = Field(None, ge=defaults.LEAST["max_tokens"], le=1_000_000)
    """Number of tokens after which the encoder truncates a piece. Default: as the checkpoint says, else 512."""
    batch_size: int = Field(defaults.BATCH_SIZE, ge=defaults.LEAST["batch_size"], le=65_536)
    """Number of pieces to embed at once."""
    shard_rows: int = Field(defaults.SHARD_ROWS, ge=defaults.LEAST["shard_rows"], le=10_000_000)
    """Number of pieces per shard. An interrupted build loses at most one shard of work."""
    precision: Literal["float16", "float32"] = defaults.PRECISION
    """Data type of the stored vectors. Selection reads these, whatever the type of search index."""
    dedup: Literal["off", "count", "exact"] = defaults.DEDUP
    """Exact duplicates of an earlier piece: off does not look for them, count reports how many there are, exact leaves
    them out."""
    append: bool = False
    """Add the source to an existing index."""
    job: JobText | None = None
    """i/n: run as job i of n, which embeds every n-th shard. Give each job its own --out; `ttft index merge` joins the
    parts."""
    device: str = defaults.DEVICE
    """Device to run on: auto, cpu, cuda, cuda:0 or mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = defaults.DTYPE
    """Data type for the encoder; auto is bfloat16 where the hardware supports it, else float32."""
    seed: int = Field(defaults.SEED, ge=0, le=MOST_SEED)
    """Random seed."""
    trust_remote_code: bool = False
    """Allow model code that comes with a checkpoint to run."""

    @model_validator(mode="after")
    def _parts_have_no_store(self) -> Self:
        if self.job is not None and self.store == "milvus":
            raise ValueError("job builds a part, which is not searchable yet; give --store milvus to ttft index merge")
        return self


class MergeConfig(SearchFields):
    """The parts of one index, or several indexes -> one index."""

    parts: list[str] = Field(min_length=1)
    """Folders of the parts of one build, in any order, or of complete indexes, which are concatenated in this order."""
    out: str
    """Index folder to write. Shards are hard-linked if the file system allows it, else copied."""
    seed: int = Field(defaults.SEED, ge=0, le=MOST_SEED)
    """Random seed for the sample of vectors that any index other than Flat is trained on."""


class VerifyConfig(Config):
    """The index, or the run, to read."""

    folder: str
    """Index folder; `verify` also takes the folder of a run."""


class InfoConfig(VerifyConfig, EffortFields):
    """The index, and how to measure its search."""

    recall: int | None = Field(None, ge=1, le=10_000_000)
    """Measure recall@K: the fraction of the true K nearest neighbours that the search finds, compared with exact
    search."""
    sample: int = Field(200, ge=1, le=10_000_000)
    """Number of vectors to draw from the index as queries for --recall."""
