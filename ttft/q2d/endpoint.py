"""A language model behind an OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama, hosted services).

The API key comes from an environment variable and goes nowhere but into the header of requests. These run concurrently.
Too many requests (429), server errors, timeouts and damaged answers are tried again, after the time that the server
asks for (Retry-After) or with a delay that doubles.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from ttft.errors import ConfigError, MissingArtifact, TtftError, install_hint
from ttft.q2d.llm import Completion, Request, Sampling, request_seed

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}
API_KEY_ENV = "OPENAI_API_KEY"
FIRST_DELAY, LONGEST_DELAY, LONGEST_RETRY_AFTER = 0.5, 30.0, 120.0  # seconds
TRIES = 6
AGAIN = {408, 409, 425, 429}
"""HTTP states, besides 5xx, after which the same request is sent again."""
NOT_ALLOWED = {401, 403, 404, 405}
"""HTTP states that no request of this run will get past."""


def is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def check_url(url: str) -> str:
    """The base URL of an endpoint. Raises ConfigError for one that carries credentials, without repeating them."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(
            "the URL of the endpoint must not hold a user name, a password or a query: URLs are written to files",
            f"put the API key into an environment variable, {API_KEY_ENV} or the one named by --api-key-env",
        )
    if not parts.hostname:
        raise ConfigError(f"{url!r} is no URL of an endpoint", "for example http://localhost:8000/v1")
    return url.rstrip("/")


def check_key_name(variable: str) -> None:
    """Raises ConfigError for what cannot be the name of an environment variable, which may be a key itself."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", variable):
        raise ConfigError(
            "--api-key-env takes the name of an environment variable, and what was given is none",
            "export the key under some name, then --api-key-env MY_KEY; never write a key on a command line",
        )


def api_key(url: str, variable: str = API_KEY_ENV) -> str:
    """The key in an environment variable; "none" for an endpoint on this machine if it is not set.

    Raises ConfigError if it is missing, and as check_key_name.
    """
    check_key_name(variable)
    key = os.environ.get(variable, "").strip()
    if not key and urlsplit(url).hostname in LOCAL_HOSTS:
        return "none"
    if not key:
        raise ConfigError(
            "the environment variable with the API key (--api-key-env) is not set", f"by default it is {API_KEY_ENV}"
        )
    if not key.isascii() or not key.isprintable():
        raise ConfigError("the API key has characters that no header of a request can hold", "export it again")
    return key


@dataclass(frozen=True, slots=True)
class _Again:
    """What went wrong with a request that is worth another try. wait: seconds that the server asks for."""

    why: str
    wait: float | None = None
    damaged: bool = False


class Endpoint:
    """A model at a base URL such as http://localhost:8000/v1.

    name         the model's name there
    concurrency  requests under way at once;  timeout: seconds for one of them
    tries        how often a request is sent before the run ends with an error
    Raises MissingArtifact if the openai client is not installed.
    """

    batch = 1

    def __init__(
        self,
        base_url: str,
        name: str,
        sampling: Sampling,
        *,
        key: str = "none",
        concurrency: int = 8,
        timeout: float = 120.0,
        tries: int = TRIES,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        try:
            import openai
        except ImportError:
            raise MissingArtifact("the package openai is not installed", install_hint("q2d")) from None
        self.base_url, self.name, self.sampling = check_url(base_url), name, sampling
        self.concurrency, self.tries, self._key = concurrency, tries, key
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._errors = openai
        self._client = openai.OpenAI(
            base_url=self.base_url, api_key=key, max_retries=0, timeout=timeout, organization="", project="",
        )  # fmt: skip

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """As Llm.complete, as the answers arrive. Raises TtftError when an endpoint cannot be reached or refuses the
        key, and after the last try; answers that have arrived are yielded before."""
        waiting = iter(enumerate(requests))
        running: dict[Future[Completion], int] = {}
        self._stopped.clear()
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="q2d-llm")
        failure: Exception | None = None
        try:
            while True:
                while failure is None and len(running) < self.concurrency and (item := next(waiting, None)) is not None:
                    running[pool.submit(self._answer, item[1])] = item[0]
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    place = running.pop(future)
                    if error := future.exception():
                        failure = failure or (error if isinstance(error, Exception) else TtftError(str(error)))
                        self._stopped.set()
                    else:
                        yield place, future.result()
        finally:
            self._stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
        if failure is not None:
            raise failure

    def _answer(self, request: Request) -> Completion:
        """One answer, after as many tries as it takes."""
        problem = _Again("")
        for attempt in range(self.tries):
            if attempt:
                delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1))
                self._sleep(problem.wait if problem.wait is not None else delay)
            if attempt and self._stopped.is_set():
                break
            outcome = self._ask(request)
            if isinstance(outcome, Completion):
                return outcome
            problem = outcome
        if problem.damaged:
            return Completion("", refused=problem.why)
        raise TtftError(
            f"{self.base_url}: {problem.why}, {attempt + 1} tries",
            "check that the server runs and how much it can take (--concurrency); run the same command again to resume",
        )

    def _ask(self, request: Request) -> Completion | _Again:
        openai, sampling = self._errors, self.sampling
        messages: Any = [{"role": role, "content": content} for role, content in request.messages]
        try:
            answer = self._client.chat.completions.create(
                model=self.name, messages=messages, temperature=sampling.temperature, top_p=sampling.top_p,
                max_tokens=sampling.max_tokens, seed=request_seed(sampling, request),
            )  # fmt: skip
            return self._completion(answer)
        except openai.APITimeoutError:
            return _Again("no answer in time")
        except openai.APIConnectionError as error:
            return _Again(f"no connection ({self._safe(error.__cause__ or error)})")
        except openai.APIStatusError as error:
            return self._refusal(error)
        except (openai.APIError, ValueError, TypeError, AttributeError, KeyError) as error:
            return _Again(f"a damaged answer ({type(error).__name__})", damaged=True)

    def _completion(self, answer: Any) -> Completion | _Again:
        choice = answer.choices[0] if getattr(answer, "choices", None) else None
        text = choice.message.content if choice is not None and choice.message is not None else None
        if not isinstance(text, str):
            return _Again("an answer without a text", damaged=True)
        text = text.encode("utf-8", "replace").decode()
        usage = answer.usage
        counts = (getattr(usage, "prompt_tokens", 0) or 0, getattr(usage, "completion_tokens", 0) or 0)
        return Completion(text, *counts, complete=choice.finish_reason != "length")

    def _refusal(self, error: Any) -> Completion | _Again:
        state = error.status_code
        said = self._safe(error.message)
        if state in AGAIN or state >= 500:
            return _Again(f"HTTP {state}", wait=_retry_after(error.response.headers))
        if state in NOT_ALLOWED:
            hints = {404: "check the URL (it often ends in /v1) and --llm-model", 405: "check the URL"}
            raise TtftError(
                f"{self.base_url} answers HTTP {state}: {said}", hints.get(state, "check the API key (--api-key-env)")
            )
        return Completion("", refused=f"HTTP {state}: {said}")

    def _safe(self, error: object) -> str:
        """The first line of a message, without the key."""
        text = " ".join(str(error).split())
        if len(self._key) > 4:
            text = text.replace(self._key, "***")
        return re.sub(r"\b(?:sk|key|hf)[-_][\w*.-]{6,}", "***", text)[:200]


def _retry_after(headers: Any) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None without a valid one."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER) if seconds == seconds else None


def check_reachable(url: str, timeout: float = 5.0) -> None:
    """Raises TtftError if nothing listens at the URL of an endpoint."""
    import socket

    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout).close()
    except (OSError, ValueError) as error:
        raise TtftError(
            f"no endpoint at {url}: {error}", "start the server, or check the URL; --llm rules needs none"
        ) from None
