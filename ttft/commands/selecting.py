"""What `select` and `finetune-eval` share: prompts in, Selections out, checked against the index's manifest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ttft.commands.console import note
from ttft.config.select import SelectionFields
from ttft.errors import ConfigError, CorpusError
from ttft.records import Prompt, Selection
from ttft.run_dir import sha256_text
from ttft.runtime import Timer


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


class Selector:
    """An opened index, its encoder and a strategy: choose texts for one prompt at a time."""

    def __init__(self, config: SelectionFields, device: str, dtype: Any) -> None:
        from ttft.embedding import canonical_name, load_embedder
        from ttft.retriever import Retriever
        from ttft.vector_index.shards import open_vector_index

        self.config, self.device = config, device
        self.index = open_vector_index(Path(config.index))
        made = self.index.manifest["embedder"]
        if config.embedder is not None and canonical_name(config.embedder) != made["name"]:
            raise ConfigError(
                f"embedder: {config.index} was made with {made['name']!r}, asked for {config.embedder!r}",
                "leave --embedder out, or build an index with it: ttft index SOURCE --embedder " + config.embedder,
            )
        if not self.index.manifest["complete"]:
            note(f"{config.index} is not finished: using the {self.index.rows:,} pieces that are there")
        self.lambda_ = config.lambda_for(made["name"])
        self.retriever = Retriever(self.index, self.lambda_, config.alpha, config.strategy, config.seed)
        self.embedder = load_embedder(
            made["name"], pooling=made["pooling"], max_tokens=made["max_tokens"], device=device, dtype=dtype,
            revision=None if ":" in made["revision"] or made["revision"] == "unknown" else made["revision"],
            tokenizer=made["tokenizer"], trust_remote_code=config.trust_remote_code,
        )  # fmt: skip
        if self.embedder.revision != made["revision"]:
            raise ConfigError(
                f"embedder revision: {config.index} was made with {made['revision']}, here is {self.embedder.revision}",
                "install that version of the encoder, or build the index again",
            )

    def select(self, prompt_id: str, query: str) -> Selection:
        """Choose texts for one prompt by its query text (the whole of it, or its prefix)."""
        timer = Timer(self.device)
        with timer("embed"):
            vectors = self.embedder.encode(self._query_pieces(query))
        choice = self.retriever.choose(vectors, n=self.config.n, k=self.config.k, key=int(sha256_text(query)[:8], 16))
        return Selection(
            prompt_id=prompt_id,
            strategy=self.config.strategy,
            parameters=self.parameters(),
            ids=choice.ids.tolist(),
            scores=[round(float(s), 8) for s in choice.scores],
            cosines=[round(float(c), 6) for c in choice.cosines],
            sigma=[round(float(s), 8) for s in choice.sigma],
            stopped_because=choice.stopped_because,
            seconds={k: round(v, 6) for k, v in (timer.seconds | choice.seconds).items()},
        )

    def parameters(self) -> dict:
        config = self.config
        return {"n": config.n, "k": config.k, "lambda_": self.lambda_, "alpha": config.alpha, "query": config.query}

    def _query_pieces(self, query: str) -> list[str]:
        """The text as one piece, or cut as the index's documents were, so that no part of a long prompt is unseen."""
        from ttft.corpus.pieces import Text, pieces

        if self.config.query == "first":
            return [query]
        texts = [Text(query, "", "")]
        return [d.text for d in pieces(texts, self.index.manifest["corpus"]["piece_chars"])]
