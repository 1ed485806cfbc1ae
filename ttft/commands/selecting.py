"""What `select` and `finetune-eval` share: prompts in, Selections out, checked against the index's manifest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ttft.commands.console import note
from ttft.config.select import SelectionFields
from ttft.errors import ConfigError, CorpusError, MissingArtifact
from ttft.records import Prompt, Selection
from ttft.run_dir import sha256_text
from ttft.runtime import Timer

if TYPE_CHECKING:
    from ttft.retriever import Retriever
    from ttft.selection.policy import GainPolicy


def load_prompts(config: SelectionFields) -> list[Prompt]:
    """The prompts of --prompt, --prompts or, with neither, of standard input. Raises CorpusError when there is none."""
    from ttft.corpus.problems import Problems
    from ttft.corpus.sources import read_prompts

    if config.prompt is not None:
        return [Prompt("prompt", config.prompt)]
    if config.prompts in (None, "-") and sys.stdin is None:
        raise CorpusError("there is no prompt: standard input is closed", "give --prompt TEXT or --prompts FILE")
    if config.prompts is None and sys.stdin.isatty():
        note("reading the prompt from the keyboard; end it with Ctrl-D (or give --prompt TEXT, --prompts FILE)")
    problems = Problems()
    prompts = read_prompts(
        config.prompts or "-", text_field=config.text_field, subset_field=config.subset_field, subsets=config.subsets,
        max_prompts=config.max_prompts, max_chars=config.max_prompt_chars, problems=problems,
    )  # fmt: skip
    for line in problems.summary():
        note(line)
    return prompts


def read_policy(path: str) -> GainPolicy:
    """The policy of a file made by `ttft calibrate`. Raises MissingArtifact or ConfigError that names the file."""
    from ttft.selection.policy import GainPolicy

    if not Path(path).is_file():
        raise MissingArtifact(f"no such policy: {path}", "make one: ttft calibrate RUN --out policy.json")
    try:
        return GainPolicy.from_json(json.loads(Path(path).read_bytes()))
    except ValueError as error:
        raise ConfigError(f"{path} is not a policy: {error}", "ttft calibrate RUN --out policy.json") from None


class Selector:
    """An opened index, its encoder and a strategy: choose texts for one prompt at a time."""

    def __init__(self, config: SelectionFields, device: str, dtype: Any) -> None:
        from ttft.embedding import canonical_name, load_embedder
        from ttft.retriever import Retriever
        from ttft.selection.policy import CalibratedRule
        from ttft.vector_index.shards import open_vector_index

        self.config, self.device = config, device
        self.index = open_vector_index(Path(config.index), nprobe=config.nprobe, ef_search=config.ef_search)
        made = self.index.manifest.embedder
        if config.embedder is not None and canonical_name(config.embedder) != made.name:
            raise ConfigError(
                f"embedder: {config.index} was made with {made.name!r}, asked for {config.embedder!r}",
                "leave --embedder out, or build an index with it: ttft index SOURCE --embedder " + config.embedder,
            )
        if not self.index.manifest.complete:
            note(f"{config.index} is not finished: using the {self.index.rows:,} pieces that are there")
        self.policy = read_policy(config.policy) if config.policy is not None else None
        self.lambda_ = self._lambda(made.name)
        stop = (
            CalibratedRule(self.policy, config.n) if self.policy is not None and config.rule() == "calibrated" else None
        )
        self.retriever = Retriever(
            self.index,
            self.lambda_,
            config.alpha,
            config.strategy,
            stop=stop,
            relevance=config.relevance,
            seed=config.seed,
        )
        self.embedder = load_embedder(
            made.name, pooling=made.pooling, max_tokens=made.max_tokens, device=device, dtype=dtype,
            revision=None if ":" in made.revision or made.revision == "unknown" else made.revision,
            tokenizer=made.tokenizer, trust_remote_code=config.trust_remote_code,
        )  # fmt: skip
        if self.embedder.revision != made.revision:
            raise ConfigError(
                f"embedder revision: {config.index} was made with {made.revision}, here is {self.embedder.revision}",
                "install that version of the encoder, or build the index again",
            )

    def _lambda(self, embedder: str) -> float | Literal["auto"]:
        """lambda as asked for; else the policy's, for which alone its curves hold; else vetted for the embedder, or the
        paper's. Raises ConfigError when the policy was made with another lambda or embedder."""
        if self.policy is None:
            return self.config.lambda_for(embedder)
        facts = self.policy.facts
        asked = self.config.lambda_ if self.config.lambda_ is not None else facts["lambda_"]
        for key, here in (("embedder", embedder), ("lambda_", asked)):
            if facts.get(key) != here:
                raise ConfigError(
                    f"{self.config.policy} was calibrated with {key} {facts.get(key)!r}, here it is {here!r}",
                    "leave --lambda out, or calibrate on a run with this index: ttft calibrate RUN",
                )
        return asked

    def select(self, prompt_id: str, query: str) -> Selection:
        """Choose texts for one prompt by its query text (the whole of it, or its prefix)."""
        return self._select(prompt_id, query, self.retriever, self.config.strategy, self.config.n)

    def nearest(self, prompt_id: str, query: str, n: int, lambda_: float) -> Selection:
        """What nearest neighbour takes for the same prompt; lambda_ is for its sigma."""
        from ttft.retriever import Retriever

        retriever = Retriever(self.index, lambda_, strategy="nearest", seed=self.config.seed)
        return self._select(prompt_id, query, retriever, "nearest", n)

    def _select(self, prompt_id: str, query: str, retriever: Retriever, strategy: str, n: int) -> Selection:
        from ttft.selection.redundancy import pool_redundancy

        timer = Timer(self.device)
        with timer("embed"):
            vectors = self.embedder.encode(self._query_pieces(query))
        k = None if self.config.k == "all" else self.config.k
        choice = retriever.choose(vectors, n=n, k=k, key=int(sha256_text(query)[:8], 16))
        pool = {} if choice.pool is None else pool_redundancy(self.index.vectors(choice.pool))
        return Selection(
            prompt_id=prompt_id,
            strategy=strategy,
            parameters=self.parameters(choice.lambda_),
            ids=choice.ids.tolist(),
            scores=[round(float(s), 8) for s in choice.scores],
            cosines=[round(float(c), 6) for c in choice.cosines],
            sigma=[round(float(s), 8) for s in choice.sigma],
            stopped_because=choice.stopped_because,
            seconds={k: round(v, 6) for k, v in (timer.seconds | choice.seconds).items()},
            pool=pool,
        )

    def parameters(self, lambda_: float) -> dict:
        """What the choice was made with; lambda_ as used for this prompt."""
        config = self.config
        known = {"n": config.n, "k": config.k, "lambda_": lambda_, "alpha": config.alpha, "query": config.query}
        return known | ({"policy": config.policy} if config.policy else {})

    def _query_pieces(self, query: str) -> list[str]:
        """The text as one piece, or cut as the index's documents were, so that no part of a long prompt is unseen."""
        from ttft.corpus.pieces import Text, pieces

        if self.config.query == "first":
            return [query]
        texts = [Text(query, "", "")]
        return [d.text for d in pieces(texts, self.index.manifest.sources[0].corpus.piece_chars)]
