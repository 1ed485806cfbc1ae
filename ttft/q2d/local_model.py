"""A causal language model on this machine as an Llm: batches padded on the left, the shared prefix computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from ttft import runtime
from ttft.finetuning.model import load_causal_lm
from ttft.q2d.llm import Completion, Request, Sampling, request_seed
from ttft.q2d.prompts import Messages, flat

STOPS = ("\nQuestion:", "\n\nUser:")
"""Where a model that only continues texts begins the next case."""
LEAST_PREFIX = 16  # tokens that are worth computing once


class LocalModel:
    """Generation with any causal LM of transformers, with its chat template if it has one.

    Answers are a function of the requests of a group: its seed is that of its first request.
    """

    def __init__(
        self, model: Any, tokenizer: Any, name: str, sampling: Sampling, *, batch: int = 16, longest: int | None = None
    ) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.sampling, self.batch = sampling, batch
        self.longest = longest or getattr(model.config, "max_position_embeddings", None) or 2048
        self.pad = next(i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None)
        self._prefix: tuple[tuple[int, ...], Any] = ((), None)

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """As Llm.complete, group by group. A prompt without room for an answer is refused."""
        for start in range(0, len(requests), self.batch):
            group = requests[start : start + self.batch]
            for place, answer in enumerate(self._group(group)):
                yield start + place, answer

    def _group(self, group: Sequence[Request]) -> list[Completion]:
        prompts = [self._tokens(request.messages) for request in group]
        room = self.longest - self.sampling.max_tokens
        fitting = [place for place, tokens in enumerate(prompts) if len(tokens) <= room]
        answers = [
            Completion("", len(p), refused=f"the prompt has {len(p):,} tokens, more than {room:,}") for p in prompts
        ]
        if fitting:
            texts = self._generate([prompts[place] for place in fitting], group[0])
            for place, (text, count, complete) in zip(fitting, texts, strict=True):
                answers[place] = Completion(text, len(prompts[place]), count, complete)
        return answers

    def _tokens(self, messages: Messages) -> list[int]:
        tokenizer = self.tokenizer
        if not getattr(tokenizer, "chat_template", None):
            return list(tokenizer(flat(messages))["input_ids"])
        chat = [{"role": role, "content": content} for role, content in messages]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.inference_mode()
    def _generate(self, prompts: list[list[int]], first: Request) -> list[tuple[str, int, bool]]:
        """(text, tokens, whether it ended by itself) of each prompt."""
        prefix = self._shared(prompts, first)
        rests = [tokens[len(prefix) :] for tokens in prompts]
        width = max(map(len, rests))
        rows = [[*prefix, *[self.pad] * (width - len(rest)), *rest] for rest in rests]
        mask = [[1] * len(prefix) + [0] * (width - len(rest)) + [1] * len(rest) for rest in rests]
        device, sampling = self.model.device, self.sampling
        options: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            options = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        if prefix:
            options["past_key_values"] = self._prefilled(prefix, len(rows))
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(request_seed(sampling, first))
            out = self.model.generate(
                input_ids=torch.tensor(rows, device=device), attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=sampling.max_tokens, pad_token_id=self.pad, **options,
            )  # fmt: skip
        return [self._text(row[len(rows[0]) :].tolist()) for row in out]

    def _text(self, tokens: list[int]) -> tuple[str, int, bool]:
        ends = self.model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        length = next((place for place, token in enumerate(tokens) if token in ends), None)
        text = self.tokenizer.decode(tokens[:length], skip_special_tokens=True)
        if not getattr(self.tokenizer, "chat_template", None):
            cut = min((found for stop in STOPS if (found := text.find(stop)) >= 0), default=None)
            return text[:cut], len(tokens[:length]), length is not None or cut is not None
        return text, len(tokens[:length]), length is not None

    def _shared(self, prompts: list[list[int]], first: Request) -> tuple[int, ...]:
        """The tokens before the last message, if all prompts begin with them."""
        other = (*first.messages[:-1], (first.messages[-1][0], "\u00a7"))
        prefix: list[int] = []
        for a, b in zip(self._tokens(first.messages), self._tokens(other), strict=False):
            if a != b:
                break
            prefix.append(a)
        size = min(len(prefix), *(len(prompt) - 1 for prompt in prompts))
        prefix = prefix[:size]
        alike = all(prompt[:size] == prefix for prompt in prompts)
        return tuple(prefix) if alike and size >= LEAST_PREFIX else ()

    def _prefilled(self, prefix: tuple[int, ...], rows: int) -> Any:
        """Keys and values of the prefix, computed when it changes, for this many rows."""
        if self._prefix[0] != prefix:
            cache = DynamicCache(config=self.model.config)
            self.model(
                input_ids=torch.tensor([prefix], device=self.model.device), past_key_values=cache, use_cache=True
            )
            self._prefix = (prefix, cache)
        cache = copy.deepcopy(self._prefix[1])
        cache.batch_repeat_interleave(rows)
        return cache


def load_local(
    name: str, sampling: Sampling, *, device: str = "auto", dtype: str = "auto", batch: int = 16
) -> LocalModel:
    """A LocalModel with the model that load_causal_lm knows by this name. Raises MissingArtifact."""
    where = runtime.pick_device(device)
    with runtime.quiet_loading():
        model, tokenizer = load_causal_lm(name, dtype=runtime.pick_dtype(dtype, where), device=where)
    return LocalModel(model, tokenizer, name, sampling, batch=batch)
