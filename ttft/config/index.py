"""Options of `ttft index`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ttft import defaults
from ttft.config.backend import BackendFields
from ttft.config.base import Config
from ttft.jobs import JobText


class CorpusFields(Config):
    """How records are read from a source: shared by the corpus and by prompts."""

    text_field: str = defaults.TEXT_FIELD
    """Field of a record that holds the text; dots go down into it."""
    subset_field: str = defaults.SUBSET_FIELD
    """Field that names the subset; a record without it has none."""
    subsets: list[str] | None = None
    """Only these subsets."""


class SearchFields(Config):
    """What searches the vectors of an index."""

    factory: str = defaults.FACTORY
    """Kind of index, as a Faiss factory string: Flat, SQ8, IVF1024,Flat, IVF4096,PQ48, HNSW32 ...; auto: by size. Of
    Milvus: Flat (auto), IVF1024,Flat, IVF1024,SQ8, HNSW32."""
    store: Literal["faiss", "milvus"] = defaults.STORE
    """What searches the vectors: Faiss files in the index, or a Milvus."""
    uri: str | None = None
    """Where the Milvus is: a file NAME.db (embedded) or http://host:19530, its token in the environment variable
    MILVUS_TOKEN; default: milvus.db in the index."""
    collection: str = Field(defaults.COLLECTION, pattern="^[A-Za-z_][A-Za-z0-9_]{0,254}$")
    """Name of the collection of the Milvus."""

    @field_validator("uri")
    @classmethod
    def _reachable(cls, uri: str | None) -> str | None:
        if uri is not None and "://" in uri and "@" in uri:
            raise ValueError(
                "it would be written down with its password; leave that out and set MILVUS_TOKEN=user:pass"
            )
        if uri is not None and uri.endswith(".db") == uri.startswith(("http://", "https://")):
            raise ValueError("give a file NAME.db, or an address such as http://127.0.0.1:19530")
        return uri

    @model_validator(mode="after")
    def _uri_is_of_milvus(self) -> Self:
        if self.uri is not None and self.store != "milvus":
            raise ValueError("uri says where a Milvus is: give --store milvus too")
        return self


class EffortFields(Config):
    """How much of an approximate index a search looks at."""

    nprobe: int | None = Field(None, ge=1)
    """Lists that an IVF index reads for a query; default: an eighth of them, between 8 and 64."""
    ef_search: int | None = Field(None, ge=1)
    """Candidates that an HNSW index keeps; default: 128."""


class IndexConfig(CorpusFields, SearchFields, BackendFields):
    """Corpus -> pieces -> vectors -> index folder."""

    source: str
    """A .jsonl, .jsonl.zst, .jsonl.gz or .parquet file, a folder of them or of texts, or a Hugging Face dataset."""
    out: str
    """Folder of the index."""
    glob: str = defaults.GLOB
    """Which files of a folder, for example '**/*.py'."""
    name: str | None = None
    """Configuration name of a Hugging Face dataset."""
    split: str = defaults.SPLIT
    """Split of a Hugging Face dataset."""
    streaming: bool = True
    """Read a Hugging Face dataset without downloading it whole."""
    max_documents: int | None = Field(None, ge=defaults.LEAST["max_documents"])
    """Stop after this many texts."""
    piece_chars: int = Field(defaults.PIECE_CHARS, ge=defaults.LEAST["piece_chars"])
    """Longest piece a text is cut to, in characters; cuts fall on line ends or spaces and lose nothing."""
    max_line_bytes: int = Field(defaults.MAX_LINE_BYTES, ge=defaults.LEAST["max_line_bytes"])
    """Longer lines of a JSON-lines file are skipped and reported."""
    strict: bool = False
    """End with an error at the first record that cannot be used, instead of counting it."""
    embedder: str = defaults.EMBEDDER
    """An encoder: minilm (offline), a Hugging Face name or a folder; sentence-transformers checkpoints too."""
    embedder_revision: str | None = None
    """Commit or branch of the encoder on the hub."""
    embedder_tokenizer: str | None = None
    """Checkpoint to take the tokenizer from, where the encoder comes without one."""
    pooling: Literal["mean", "cls"] | None = None
    """How token states become one vector; default: what the checkpoint states, else mean."""
    max_tokens: int | None = Field(None, ge=defaults.LEAST["max_tokens"])
    """Tokens of a piece that the encoder sees; default: what the checkpoint states, else 512."""
    batch_size: int = Field(defaults.BATCH_SIZE, ge=defaults.LEAST["batch_size"])
    """Pieces embedded at once."""
    shard_rows: int = Field(defaults.SHARD_ROWS, ge=defaults.LEAST["shard_rows"])
    """Pieces a shard; a killed build loses at most one shard's work."""
    precision: Literal["float16", "float32"] = defaults.PRECISION
    """Of the stored vectors, which selection reads, whatever the kind of index."""
    dedup: Literal["off", "count", "exact"] = defaults.DEDUP
    """Pieces whose text came before, to the byte: not looked for, counted, or left out."""
    append: bool = False
    """Add this source to the index that is there."""
    job: JobText | None = None
    """i/n: job i of n embeds every n-th shard, into a folder of its own; `ttft index merge` puts them together."""
    device: str = defaults.DEVICE
    """auto, cpu, cuda, cuda:0, mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = defaults.DTYPE
    """Compute type of the encoder; auto is bf16 where the hardware has it."""
    seed: int = defaults.SEED
    """Seed of everything random."""
    trust_remote_code: bool = False
    """Run model code that comes with a checkpoint."""

    @model_validator(mode="after")
    def _parts_have_no_store(self) -> Self:
        if self.job is not None and self.store == "milvus":
            raise ValueError("a part of an index goes into no store: give --store milvus to ttft index merge")
        return self


class MergeConfig(SearchFields):
    """Parts of an index, or several indexes -> one index."""

    parts: list[str] = Field(min_length=1)
    """Folders of the parts of one build, in any order, or of whole indexes, in the order of their pieces."""
    out: str
    """Folder of the index. Shards are linked where the file system can, else copied."""
    seed: int = defaults.SEED
    """Seed of the sample that an index other than Flat is trained on."""


class VerifyConfig(Config):
    """Which index to read."""

    folder: str
    """Folder of an index."""


class InfoConfig(VerifyConfig, EffortFields):
    """An index, and how its search is measured."""

    recall: int | None = Field(None, ge=1)
    """Measure how many of the true K nearest its search finds, for this K, against exact search."""
    sample: int = Field(200, ge=1)
    """Pieces of the index whose vectors are the queries of that."""
