"""The gradient of one LoRA adapter of a frozen causal language model, on each worker's own stream of documents.

The adapter is that of finetuning.lora, with the same projections, scale and start, so that what is trained here is what
`Tuner` starts from. The loss is the mean over all tokens of a batch, in nats per token.

Worker i reads all documents in an order of its own, drawn anew for every pass over them. Which documents a gradient is
computed on depends on seed, worker and number only: a run resumes without stored streams, and a worker that is lost
takes no documents with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ttft.errors import ConfigError
from ttft.finetuning.lora import LoraLearner
from ttft.finetuning.texts import Text, joint_batch, passes, tokenise


class Loaded(NamedTuple):
    """A language model with its adapter. window: tokens of a row; prefix_token: put before each text."""

    learner: LoraLearner
    tokenizer: Any
    window: int
    prefix_token: int


class LoraGradient:
    """A `master.Gradient` of the adapter. It can be pickled: what is loaded stays behind, and is loaded again.

    load    loads the model; called when the model is first needed
    texts   the documents; any sequence that can be pickled
    batch   documents of one gradient
    Raises ConfigError for a batch of more documents than there are.
    """

    def __init__(self, load: Callable[[], Loaded], texts: Sequence[str], *, batch: int, seed: int = 0) -> None:
        if batch > len(texts):
            raise ConfigError(f"a batch of {batch} documents, but there are {len(texts)}", "give a smaller batch")
        self.load, self.texts, self.batch, self.seed = load, texts, batch, seed

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("load", "texts", "batch", "seed")}

    @cached_property
    def loaded(self) -> Loaded:
        return self.load()

    def prepare(self) -> None:
        """Load the model now."""
        _ = self.loaded

    @property
    def start(self) -> Tensor:
        """(k,) the adapter before training: A as drawn, B zero, so that the model is the base model."""
        return self.loaded.learner.adapters.start.clone()

    def documents(self, worker: int, number: int) -> list[int]:
        """The documents of gradient `number` of a worker."""
        places = range(number * self.batch, (number + 1) * self.batch)
        count = len(self.texts)
        return [int(_order(self.seed, worker, place // count, count)[place % count]) for place in places]

    def __call__(self, theta: Tensor, worker: int, number: int) -> tuple[Tensor, float]:
        """Gradient (k,), float32, and loss at theta (k,). Long batches are computed in several passes."""
        learner, adapters = self.loaded.learner, self.loaded.learner.adapters
        adapters.values[0] = theta
        texts = dict(enumerate(self._text(document) for document in self.documents(worker, number)))
        tokens = max(1, sum(text.tokens for text in texts.values()))
        gradient, loss = torch.zeros_like(theta), 0.0
        for some in passes(texts, learner.pass_tokens):
            share = sum(text.tokens for text in some.values()) / tokens
            loss += share * learner.gradients(joint_batch(list(some.values())))[0]
            gradient.add_(adapters.gradients[0], alpha=share)
        return gradient, loss

    def _text(self, document: int) -> Text:
        loaded = self.loaded
        return tokenise(loaded.tokenizer, self.texts[document], loaded.window, loaded.prefix_token)


@lru_cache(maxsize=256)
def _order(seed: int, worker: int, epoch: int, count: int) -> np.ndarray:
    """(count,) the order in which a worker reads the documents in one pass over them."""
    return np.random.default_rng([seed, worker, epoch]).permutation(count)
