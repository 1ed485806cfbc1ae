"""What recovers the query of a dialog for `ttft q2d filter`: rules, a query model, or a language model by examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ttft.config.q2d_filter import Q2dFilterConfig

if TYPE_CHECKING:
    from ttft.q2d.records import Dialog

Recover = Callable[[Sequence["Dialog"]], list[str]]


def recovery(config: Q2dFilterConfig) -> Recover | None:
    """The function that --recover-with names, None without it. Raises TtftError."""
    name = config.recover_with
    if name is None:
        return None
    from ttft import runtime
    from ttft.q2d import recovery
    from ttft.q2d.model_input import FILE

    if name == recovery.RULE:
        return recovery.rule_queries
    runtime.quiet_libraries()
    runtime.setup(config.seed)
    if (Path(name) / FILE).is_file():
        from ttft.q2d.rewriter import load_rewriter

        rewriter = load_rewriter(name, device=config.device, dtype=config.dtype)
        return lambda dialogs: [
            one.queries[0] if one.queries else "" for one in rewriter.rewrite([d.turns for d in dialogs])
        ]
    from ttft.q2d.llm import Cached, Sampling
    from ttft.q2d.llms import open_llm

    llm = open_llm(
        name, Sampling(0.0, config.max_tokens, 1.0, config.seed), model=config.llm_model, key_env=config.api_key_env,
        device=config.device, dtype=config.dtype,
    )  # fmt: skip
    return partial(_asked, Cached(llm, Path(config.out) / "cache"))


def _asked(cached, dialogs: Sequence[Dialog]) -> list[str]:
    from ttft.q2d.recovery import recover_queries

    with cached:
        return recover_queries(dialogs, cached.complete)
