"""Tiny query models as `ttft q2d train` leaves them: an adapter folder and its base model, made in seconds."""

from __future__ import annotations

from pathlib import Path

from small import byte_tokenizer, tiny_gpt2

from ttft.q2d.model_input import QueryFormat, prompt_ids, target_ids
from ttft.q2d.records import alternating
from ttft.q2d.text import dialog_text

QUERY = "river stone"
TALKS = [
    alternating(["tell me of the river", "it has a stone", "which one?"]),
    alternating(["a stone lies in the river", "yes", "what colour is it?"]),
]


def query_model(folder: Path, query: str | None = QUERY, no_search: bool = True) -> Path:
    """The folder of an adapter whose base always writes `query`, or nonsense."""
    import torch
    from peft import LoraConfig, get_peft_model

    model, tokenizer = tiny_gpt2(context=512), byte_tokenizer()
    base = folder / "base"
    form = QueryFormat("causal", str(base), None, "Query?", max_source_tokens=300, max_target_tokens=16)
    form = QueryFormat(**{**form.__dict__, "no_search": no_search})
    if query is not None:
        torch.manual_seed(0)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        target = target_ids(form, tokenizer, f" {query}")
        prompts = [prompt_ids(form, tokenizer, dialog_text(turns)) for turns in TALKS]
        for _ in range(60):
            for prompt in prompts:
                ids = torch.tensor([prompt + target])
                labels = torch.tensor([[-100] * len(prompt) + target])
                model(input_ids=ids, labels=labels).loss.backward()
                optimiser.step()
                optimiser.zero_grad()
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    adapter = get_peft_model(model, LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    adapter.save_pretrained(folder / "adapter")
    form.save(folder / "adapter")
    return folder / "adapter"
