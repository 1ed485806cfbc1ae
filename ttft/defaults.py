"""Default settings, shared by the configurations, `Retriever` and `Tuner`.

SIFT's lambda depends on the geometry of an embedder, and learning rate and method depend on a model: the papers' values
fit theirs (RoBERTa-large fine-tuned on the Pile; GPT-2). The values chosen here were measured on validation prompts
that are never reported; see ttft/assets/embedded-lm/MODEL_CARD.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ttft.assets import embedded_model_path
from ttft.errors import ConfigError

Lambda = float | Literal["auto"]

# ---- selection -----------------------------------------------------------------------------------------------------

Strategy = Literal["sift", "itl", "nearest", "nearest-failure", "mmr", "hull", "uncertainty", "uniform"]
Query = Literal["windows", "first"]

STRATEGY: Strategy = "sift"
N = 20
K = 200
RELEVANCE = 0.5
QUERY: Query = "windows"

PAPER_LAMBDA = 0.01
VETTED_LAMBDA = {"minilm": 1.0}


def lambda_for(embedder: str | None) -> float:
    """SIFT's lambda: the value vetted for this embedder, else the paper's."""
    return VETTED_LAMBDA.get(embedder or "", PAPER_LAMBDA)


# ---- training ------------------------------------------------------------------------------------------------------

Method = Literal["lora", "full", "in-context"]

METHOD: Method = "lora"
# 5e-5 is the papers' rate for full fine-tuning; ten times that for LoRA is a common choice, not from a paper
LEARNING_RATE = {"full": 5e-5, "lora": 5e-4}
RANK = 16
LONGEST_WINDOW = 2048  # tokens; see window_for


@dataclass(frozen=True, slots=True)
class Training:
    """How the weights are trained. None: does not apply to this method.

    method     lora, full or in-context (which trains nothing)
    rank, rslora, vocabulary  see finetuning.lora.LoraLearner
    lr, warm_down  Adam's learning rate, and the learning rate of a prompt's last step relative to its first
    """

    method: str
    rank: int | None = None
    rslora: bool | None = None
    vocabulary: str | None = None
    lr: float | None = None
    warm_down: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


# by model, the best method first
VETTED_TRAINING: dict[str, tuple[Training, ...]] = {
    "embedded": (
        Training("lora", rank=32, rslora=False, vocabulary="lora", lr=2.5e-3, warm_down=0.1),
        Training("full", vocabulary="off", lr=1e-4, warm_down=1.0),
    )
}


def training_for(model: str, method: str | None = None, **asked: Any) -> Training:
    """The settings for a model: those in `asked` that are not None, else those vetted for the model, else the general
    defaults. Settings that do not apply to the method are ignored. Raises ConfigError for an unknown method."""
    chosen = _vetted(model, method)
    given = {name: value for name, value in asked.items() if value is not None and getattr(chosen, name) is not None}
    return replace(chosen, **given)


def _vetted(model: str, method: str | None) -> Training:
    for vetted in VETTED_TRAINING.get(model, ()):
        if method in (None, vetted.method):
            return vetted
    chosen = method or METHOD
    if chosen not in get_args(Method):
        raise ConfigError(f"unknown method {chosen!r}", "methods: " + ", ".join(get_args(Method)))
    if chosen == "in-context":
        return Training(chosen)
    lora = {"rank": RANK, "rslora": False} if chosen == "lora" else {}
    return Training(chosen, **lora, vocabulary="off", lr=LEARNING_RATE[chosen], warm_down=1.0)  # type: ignore[arg-type]


def named_model(name: str | Path) -> str:
    """A model's name in these tables: "embedded" also for the folder of the embedded model."""
    return "embedded" if str(Path(name)) == str(embedded_model_path()) else str(name)


def window_for(longest: int, asked: int | None = None) -> int:
    """Tokens of a window in training and scoring: what is asked for, else LONGEST_WINDOW; never more than the model's
    longest input.

    Newer models read many thousands of tokens, but memory for activations is set aside for a whole window, and the
    pieces of an index and most prompts have some hundred tokens. Longer texts lose nothing: they take several windows.
    GPT-2's 1,024 (the papers') and the embedded model's 512 stay as they are.
    """
    return min(asked or LONGEST_WINDOW, longest)


# ---- scoring -------------------------------------------------------------------------------------------------------

PREFIX_SHARE = 0.5
SCORE_AT = (0, 1, 2, 5, 10, 20, 50)
SCORE_DTYPE = "float32"
GUARD_PART = 0.5
GUARD_MARGIN = 0.01

# ---- generation ----------------------------------------------------------------------------------------------------

MAX_NEW_TOKENS = 128

# ---- adapting ------------------------------------------------------------------------------------------------------

ADAPT_LR = 1e-3
ADAPT_OUTER_LR = 0.7  # of DiLoCo's outer step
ADAPT_RADIUS = 10.0

# ---- q2d -----------------------------------------------------------------------------------------------------------

# the filters' limits: what 1,633 human dialogs are like, see ttft/q2d/filters.py
Q2D_MIN_TURNS, Q2D_MAX_TURNS = 3, 13
Q2D_MAX_TURN_WORDS, Q2D_MAX_LAST_WORDS, Q2D_MAX_DIALOG_WORDS = 80, 40, 300
Q2D_COPIED = 0.95
Q2D_ANSWER_CHARS = 3
Q2D_RECOVERABLE = 0.6
# Youden's J on 100 pairs of two human rewrites of a question against 2,910 pairs from one dialog (`ttft q2d calibrate`
# with CANARD's multiple_refs.json and dev.json). ROUGE-1 F: AUC 0.965, keeps 90% and accepts 6.8% at 0.60. MiniLM's
# cosine: AUC 0.876, keeps 73% and accepts 9.3% at 0.85.
Q2D_INTENT = {"rouge": 0.60, "sbert": 0.85}
Q2D_JACCARD = 0.9
Q2D_OFF = ("no-context-needed",)

# ---- indexing ------------------------------------------------------------------------------------------------------

EMBEDDER: Final = "minilm"
TEXT_FIELD: Final = "text"
SUBSET_FIELD: Final = "meta.pile_set_name"
GLOB: Final = "**/*"
SPLIT: Final = "train"
PIECE_CHARS: Final = 1200
MAX_LINE_BYTES: Final = 32 * 2**20
BATCH_SIZE: Final = 32
SHARD_ROWS: Final = 8192
PRECISION: Final = "float16"
DEDUP: Final = "count"
FACTORY: Final = "auto"
STORE: Final = "faiss"
COLLECTION: Final = "ttft"
DEVICE: Final = "auto"
DTYPE: Final = "auto"
SEED: Final = 0

LEAST = {
    "piece_chars": 16, "max_line_bytes": 1024, "max_documents": 1, "batch_size": 1, "shard_rows": 1, "max_tokens": 8
}  # fmt: skip
"""The smallest valid values."""
