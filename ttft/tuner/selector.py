"""Selects texts for a prompt: an open index, its encoder and a strategy, checked for consistency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from ttft import defaults
from ttft.corpus.pieces import Text, pieces
from ttft.defaults import Lambda
from ttft.embedding import Embedder, canonical_name, load_embedder
from ttft.errors import ConfigError, MissingArtifact, TtftError
from ttft.q2d.fusion import reciprocal_rank_fusion
from ttft.records import Document, Selection, StoppedBecause
from ttft.retriever import Retriever
from ttft.run_dir import sealed, sha256_text
from ttft.runtime import Timer, one_blas_thread, quiet_loading
from ttft.selection.policy import AGAIN, CalibratedRule, GainPolicy
from ttft.selection.redundancy import pool_redundancy
from ttft.state import read_json
from ttft.vector_index.shards import VectorIndex

Query = str | tuple[str, ...]
"""A text to search with, or the queries of a dialog, best first."""


def read_policy(path: str | Path) -> GainPolicy:
    """Read a policy made by `ttft calibrate`. Raises MissingArtifact if there is none, ConfigError naming the file if
    it is not a policy or was changed since it was made."""
    path = Path(path)
    if not path.is_file():
        raise MissingArtifact(f"no such policy: {path}", AGAIN)
    value = read_json(path, ConfigError, AGAIN)
    rest = {key: part for key, part in value.items() if key != "sha256"} if isinstance(value, dict) else value
    policy = GainPolicy.from_json(rest, f"{path} is not a policy")
    if value != sealed(rest):
        raise ConfigError(f"{path} is damaged: its hash does not match", AGAIN)
    return policy


def encoder_of(
    index: VectorIndex, *, asked: str | None, device: str, dtype: Any, trust_remote_code: bool = False
) -> Embedder:
    """Load the encoder that an index was built with. `asked`: the name given by the user, if any.

    Raises ConfigError if the user asked for another encoder, or another version of it is installed.
    """
    made = index.manifest.embedder
    if asked is not None and canonical_name(asked) != made.name:
        raise ConfigError(
            f"embedder: {index.folder} was built with {made.name!r}, asked for {asked!r}",
            f"leave --embedder out, or build an index with it: ttft index SOURCE --embedder {asked}",
        )
    try:
        embedder = load_embedder(
            made.name, pooling=made.pooling, max_tokens=made.max_tokens, device=device, dtype=dtype,
            revision=None if ":" in made.revision or made.revision == "unknown" else made.revision,
            tokenizer=made.tokenizer, trust_remote_code=trust_remote_code,
        )  # fmt: skip
    except TtftError as error:
        raise type(error)(f"{index.folder}: {error.message}", error.hint) from None
    if embedder.revision != made.revision:
        raise ConfigError(
            f"embedder revision: {index.folder} was built with {made.revision}, but this is {embedder.revision}",
            "install that version of the encoder, or build the index again",
        )
    return embedder


def given_or_loaded(
    index: VectorIndex, embedder: Embedder | str | None, device: str, dtype: Any, trust_remote_code: bool
) -> Embedder:
    """The encoder of an index: the given one, or loaded. Raises ConfigError if it is not the one it was built with."""
    if isinstance(embedder, Embedder):
        return matching(index, embedder)
    with quiet_loading():
        return encoder_of(index, asked=embedder, device=device, dtype=dtype, trust_remote_code=trust_remote_code)


def matching(index: VectorIndex, embedder: Embedder) -> Embedder:
    """The given encoder. Raises ConfigError if the index was built with another one."""
    made = index.manifest.embedder
    if (embedder.name, embedder.revision) != (made.name, made.revision):
        raise ConfigError(
            f"embedder: {index.folder} was built with {made.name!r} ({made.revision}), but got {embedder.name!r} "
            f"({embedder.revision})",
            "leave embedder out: the right one is loaded by default",
        )
    return embedder


class Selector:
    """Selects texts for one prompt at a time, without state between prompts.

    n, k        number of texts to select at most, from a pool of the k nearest; k None: from the whole index
    lambda_     SIFT's noise; None: the policy's, else the value vetted for the embedder
    alpha       the paper's stopping rule;  policy: a file made by `ttft calibrate`, or a GainPolicy
    stop        with a policy: "calibrated" stops each prompt by it, "never" only uses its predictions (for a budget)
    query       "windows": embed all pieces of a long prompt; "first": only the first
    Raises ConfigError for an unknown strategy, stopping rules that cannot be combined, or a policy calibrated with
    another lambda or embedder.
    """

    def __init__(
        self, index: VectorIndex, embedder: Embedder, *, strategy: str = defaults.STRATEGY, n: int = defaults.N,
        k: int | None = defaults.K, lambda_: Lambda | None = None, alpha: float | None = None,
        policy: str | Path | GainPolicy | None = None, stop: Literal["never", "calibrated"] = "calibrated",
        relevance: float = defaults.RELEVANCE, query: str = defaults.QUERY, seed: int = 0,
    ) -> None:  # fmt: skip
        self.index, self.embedder = index, embedder
        self.strategy, self.n, self.k, self.alpha, self.query, self.seed = strategy, n, k, alpha, query, seed
        self.policy_name = None if policy is None or isinstance(policy, GainPolicy) else str(policy)
        self.policy = policy if isinstance(policy, GainPolicy) or policy is None else read_policy(policy)
        self.lambda_ = self._lambda(lambda_)
        rule = CalibratedRule(self.policy, n) if self.policy is not None and stop == "calibrated" else None
        self.retriever = Retriever(index, self.lambda_, alpha, strategy, stop=rule, relevance=relevance, seed=seed)

    def _lambda(self, asked: Lambda | None) -> Lambda:
        embedder = self.index.manifest.embedder.name
        if self.policy is None:
            return asked if asked is not None else defaults.lambda_for(embedder)
        facts = self.policy.facts
        wanted = asked if asked is not None else facts["lambda_"]
        for key, here in (("embedder", embedder), ("lambda_", wanted)):
            if facts.get(key) != here:
                raise ConfigError(
                    f"{self.policy_name or 'the policy'} was calibrated with {key} {facts.get(key)!r}, but here it is "
                    f"{here!r}",
                    "leave --lambda out, or calibrate on a run with this index: ttft calibrate RUN",
                )
        return wanted

    def select(self, prompt_id: str, query: Query) -> Selection:
        """Select texts for one prompt by its query: a text (the whole prompt or its prefix) or the queries of a dialog.

        Of several queries, each searches, and the pool is the first k rows of the fusion of their rankings by
        reciprocal ranks; the texts are then selected for the first query. With the whole index as the pool, and for
        the uniform baseline, only the first query counts. Without any query nothing is selected.
        """
        return self._select(prompt_id, query, self.retriever, self.strategy, self.n)

    def nearest(self, prompt_id: str, query: Query, n: int, lambda_: float) -> Selection:
        """The nearest neighbours of the same prompt; lambda_ only affects the reported sigma."""
        retriever = Retriever(self.index, lambda_, strategy="nearest", seed=self.seed)
        return self._select(prompt_id, query, retriever, "nearest", n)

    def documents(self, selection: Selection) -> list[Document]:
        """The selected texts, in training order."""
        return self.index.documents(selection.ids)

    def texts(self, selection: Selection) -> list[str]:
        return [document.text for document in self.documents(selection)]

    def _select(self, prompt_id: str, query: Query, retriever: Retriever, strategy: str, n: int) -> Selection:
        queries = (query,) if isinstance(query, str) else query
        rewritten = {} if isinstance(query, str) else {"queries": list(query)}
        if not queries:
            return self._nothing(prompt_id, strategy, rewritten)
        timer = Timer(self.embedder.device)
        with timer("embed"):
            vectors, *others = (self._vectors(prompt_id, one) for one in queries)
        with one_blas_thread():
            fused = None
            if others and self.k is not None and strategy != "uniform":
                with timer("fuse"):
                    fused = self._fused([vectors, *others], self.k)
            key = int(sha256_text(queries[0])[:8], 16)
            choice = retriever.choose(vectors, n=n, k=self.k, key=key, pool=fused)
            pool = {} if choice.pool is None else pool_redundancy(self.index.vectors(choice.pool))
        return Selection(
            prompt_id=prompt_id,
            strategy=strategy,
            parameters=self.parameters(choice.lambda_) | rewritten,
            ids=choice.ids.tolist(),
            scores=[round(float(s), 8) for s in choice.scores],
            cosines=[round(float(c), 6) for c in choice.cosines],
            sigma=[round(float(s), 8) for s in choice.sigma],
            stopped_because=cast(StoppedBecause, choice.stopped_because),
            seconds={k: round(v, 6) for k, v in (timer.seconds | choice.seconds).items()},
            pool=pool,
        )

    def _nothing(self, prompt_id: str, strategy: str, rewritten: dict) -> Selection:
        """The selection for a dialog that needs no search."""
        lambda_ = self.lambda_ if self.lambda_ != "auto" else defaults.lambda_for(self.index.manifest.embedder.name)
        parameters = self.parameters(lambda_) | rewritten
        return Selection(prompt_id, strategy, parameters, [], [], [], [1.0], "no search", {})

    def _vectors(self, prompt_id: str, query: str) -> np.ndarray:
        parts = self._query_pieces(query)
        return self.embedder.encode(parts, names=[f"prompt {prompt_id}"] * len(parts))

    def _fused(self, queries: Sequence[np.ndarray], k: int) -> np.ndarray:
        """The rows of the pool for several queries, each (m,d), ascending."""
        rankings = [self.retriever.ranked(vectors, k).tolist() for vectors in queries]
        return np.sort([row for row, _ in reciprocal_rank_fusion(rankings)[:k]])

    def parameters(self, lambda_: float) -> dict:
        """The parameters of the selection; lambda_ is the value used for this prompt."""
        k = "all" if self.k is None else self.k
        known = {"n": self.n, "k": k, "lambda_": lambda_, "alpha": self.alpha, "query": self.query}
        return known | ({"policy": self.policy_name or "policy"} if self.policy is not None else {})

    def _query_pieces(self, query: str) -> Sequence[str]:
        """The text as one piece, or cut like the documents of the index, so that all of a long prompt is embedded."""
        if self.query == "first":
            return [query]
        return [d.text for d in pieces([Text(query, "", "")], self.index.manifest.sources[0].corpus.piece_chars)]
