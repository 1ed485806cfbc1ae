"""Options of `ttft q2d generate`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft.config.base import MOST_FLOAT, MOST_SEED, Config


class Q2dGenerateConfig(Config):
    """Questions -> dialogs whose last turn asks for what the question asks."""

    questions: str
    """File of questions: plain text (one per line), CSV or TSV, JSON or JSONL, also MuSiQue, Bamboogle and HotpotQA."""
    out: str | None = None
    """Folder for the dialogs. The same command again goes on where it was stopped. Not needed with --preview."""
    form: str | None = None
    """Form of the file of questions. Default: found from its records."""
    column: str = "question"
    """Field or column of the question in a file of your own."""
    max_questions: int | None = Field(None, ge=1, le=10**9)
    """Use the first so many questions. Default: all."""
    samples: int = Field(1, ge=1, le=10_000)
    """Dialogs per question."""
    preview: int | None = Field(None, ge=1, le=1000)
    """Print dialogs of the first so many questions and write nothing."""

    llm: str = "rules"
    """What writes the dialogs: rules (templates, needs no model), the URL of an OpenAI-compatible endpoint such as
    http://localhost:8000/v1, or a causal language model on this machine (smollm2, a folder, a .gguf file, a name)."""
    llm_model: str | None = None
    """With a URL: the model's name there."""
    temperature: float = Field(0.7, ge=0, le=100)
    """Sampling temperature; 0 takes the most likely token each time."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sample from the most likely tokens whose probabilities add up to this."""
    max_tokens: int = Field(400, ge=8, le=100_000)
    """Longest answer of a language model in tokens. A dialog that is cut off there loses its last turn."""
    shots: int = Field(4, ge=1, le=1000)
    """Demonstrations in the prompt."""
    demonstrations: str | None = None
    """JSON file of demonstrations in place of those that ship with ttft, for another style or domain."""
    other_topics: bool = True
    """With rules: earlier turns may be about the subjects of other questions of the file."""

    concurrency: int = Field(8, ge=1, le=1000)
    """With a URL: requests at the same time."""
    timeout: float = Field(120.0, gt=0, le=86_400)
    """With a URL: seconds to wait for an answer before the request is sent again."""
    api_key_env: str = "OPENAI_API_KEY"
    """With a URL: name of the environment variable that holds the API key. Endpoints on this machine need none."""
    cache: str | None = None
    """Folder for the answers of language models, which several runs may share. Default: cache in the folder of the
    dialogs."""
    price_in: float | None = Field(None, ge=0, le=MOST_FLOAT)
    """Price of a million tokens of prompts, to count the cost."""
    price_out: float | None = Field(None, ge=0, le=MOST_FLOAT)
    """Price of a million tokens of answers."""
    batch: int = Field(16, ge=1, le=100_000)
    """With a model on this machine: dialogs written at the same time."""

    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:0 or mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type for computation; auto is bfloat16 where the hardware supports it, else float32."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Random seed."""

    @model_validator(mode="after")
    def _somewhere_to_write(self) -> Self:
        if self.out is None and self.preview is None:
            raise ValueError("give --out FOLDER for the dialogs, or --preview 3 to look at some first")
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("give both prices, --price-in and --price-out")
        return self

    @model_validator(mode="after")
    def _an_endpoint_needs_a_model(self) -> Self:
        url = self.llm.lower().startswith(("http://", "https://"))
        if url and self.llm_model is None:
            raise ValueError("an endpoint needs --llm-model NAME, the model's name there")
        if not url and self.llm_model is not None:
            raise ValueError("--llm-model is for endpoints: give --llm a URL, or the model itself")
        return self
