"""A language model by the name that people give it: the URL of an endpoint, or a causal LM on this machine."""

from __future__ import annotations

from ttft.errors import ConfigError
from ttft.q2d.endpoint import Endpoint, api_key, check_key_name, check_reachable, check_url, is_url
from ttft.q2d.llm import Llm, Sampling


def open_llm(
    name: str, sampling: Sampling, *, model: str | None = None, key_env: str = "OPENAI_API_KEY", concurrency: int = 8,
    timeout: float = 120.0, device: str = "auto", dtype: str = "auto", batch: int = 16,
) -> Llm:  # fmt: skip
    """The model, ready to be asked.

    name     http(s)://... of an OpenAI-compatible API, or a model as finetuning.model takes it
    model    its name at the endpoint;  key_env: the environment variable that holds the API key
    Raises ConfigError for a URL without a model's name, a missing key or package, MissingArtifact for a model that is
    not here, TtftError for an endpoint that cannot be reached.
    """
    if is_url(name):
        check_url(name)
        check_key_name(key_env)
        if not model:
            raise ConfigError(
                "an endpoint needs the name of a model there", "give --llm-model NAME, or --judge-model NAME"
            )
        check_reachable(name)
        key = api_key(name, key_env)
        return Endpoint(name, model, sampling, key=key, concurrency=concurrency, timeout=timeout)
    from ttft.q2d.local_model import load_local

    return load_local(name, sampling, device=device, dtype=dtype, batch=batch)
