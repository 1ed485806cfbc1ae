"""Options of `ttft q2d filter`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ttft import defaults
from ttft.config.base import MOST_SEED, Config

Rule = Literal[
    "format", "length", "copied", "leak", "bridge", "unrecoverable", "no-context-needed", "intent", "duplicate",
    "surplus",
]  # fmt: skip
MOST_WORDS = 1_000_000


class Q2dFilterConfig(Config):
    """Generated dialogs -> the ones to train on. Every dialog is kept on file, with all reasons why it is dropped."""

    dialogs: str
    """Folder of `ttft q2d generate`, or a JSONL file of dialogs (id, query, turns)."""
    out: str
    """Folder for all dialogs with their verdicts, the pairs to train on, and the funnel."""

    recover_with: str | None = None
    """What writes the query of each dialog that the other filters keep, for the intent filter: a folder of `ttft q2d
    train`, a language model (as for `ttft q2d generate --llm`), or rules. Best is another model than the one that wrote
    the dialogs: its errors are others. Default: dialogs are not judged by their intent, unless they hold a recovered
    query."""
    llm_model: str | None = None
    """With the URL of an endpoint: the model's name there."""
    api_key_env: str = "OPENAI_API_KEY"
    """With an endpoint: environment variable that holds the API key."""
    max_tokens: int = Field(60, ge=4, le=100_000)
    """Longest recovered query of a language model."""
    similarity: Literal["rouge", "sbert"] = "rouge"
    """How the query that was recovered from a dialog is compared with the question: ROUGE-1 F of their words, or the
    cosine of their embeddings."""
    threshold: float | None = Field(None, ge=0, le=1)
    """Least similarity of recovered query and question. `ttft q2d calibrate` measures it. Default: 0.60 with rouge,
    0.85 with sbert."""
    embedder: str = defaults.EMBEDDER
    """With --similarity sbert: encoder, as for `ttft index`."""
    per_question: int | None = Field(None, ge=1, le=1_000_000)
    """Keep at most this many dialogs of one question. Default: all."""
    off: tuple[Rule, ...] = defaults.Q2D_OFF  # type: ignore[assignment]
    """Filters that are not applied. Repeat the option for several."""

    min_turns: int = Field(defaults.Q2D_MIN_TURNS, ge=1, le=MOST_WORDS)
    """Fewest turns of a dialog."""
    max_turns: int = Field(defaults.Q2D_MAX_TURNS, ge=1, le=MOST_WORDS)
    """Most turns of a dialog."""
    max_turn_words: int = Field(defaults.Q2D_MAX_TURN_WORDS, ge=1, le=MOST_WORDS)
    """Most words of a turn."""
    max_last_words: int = Field(defaults.Q2D_MAX_LAST_WORDS, ge=1, le=MOST_WORDS)
    """Most words of the last turn."""
    max_dialog_words: int = Field(defaults.Q2D_MAX_DIALOG_WORDS, ge=1, le=MOST_WORDS)
    """Most words of a dialog."""
    copied: float = Field(defaults.Q2D_COPIED, ge=0, le=1)
    """ROUGE-1 F of last turn and question from which on the question counts as copied."""
    answer_chars: int = Field(defaults.Q2D_ANSWER_CHARS, ge=1, le=MOST_WORDS)
    """Shortest answer that a dialog is searched for, in characters."""
    recoverable: float = Field(defaults.Q2D_RECOVERABLE, ge=0, le=1)
    """Least share of the question's content words that the dialog must hold."""
    jaccard: float = Field(defaults.Q2D_JACCARD, gt=0, le=1)
    """Similarity from which on two dialogs are copies: Jaccard, of their runs of three words."""

    device: str = defaults.DEVICE
    """Device to run models on: auto, cpu, cuda, cuda:0 or mps."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type of the model that recovers queries; auto is bfloat16 where the hardware supports it, else float32."""
    seed: int = Field(defaults.SEED, ge=0, le=MOST_SEED)
    """Random seed, of torch only: the filters draw nothing."""

    @property
    def tau(self) -> float:
        """The threshold of the intent filter."""
        return defaults.Q2D_INTENT[self.similarity] if self.threshold is None else self.threshold
