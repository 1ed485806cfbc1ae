"""Models as q2d uses them: the cache of answers, groups, and generation on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ttft.errors import ConfigError, TtftError
from ttft.finetuning.model import load_causal_lm
from ttft.q2d import endpoint
from ttft.q2d.llm import COMPLETIONS, Cached, Completion, Request, Sampling, request_key
from ttft.q2d.local_model import LocalModel
from ttft.q2d.prompts import generation_messages, load_demonstrations


class Counting:
    """A model that answers with the last message and remembers what it was asked."""

    name, batch = "counting", 3

    def __init__(self, sampling: Sampling | None = None) -> None:
        self.sampling = sampling or Sampling()
        self.asked: list[str] = []

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        for place in reversed(range(len(requests))):
            text = requests[place].messages[-1][1]
            self.asked.append(text)
            yield place, Completion(text, 2, 1, refused="no" if text == "refuse" else "")


def requests(*texts: str) -> list[Request]:
    return [Request((("user", text),)) for text in texts]


def test_an_answer_is_asked_for_once(tmp_path: Path) -> None:
    for _ in range(2):
        llm = Counting()
        with Cached(llm, tmp_path / "cache") as cached:
            found = dict(cached.complete(requests("a", "b", "c", "refuse")))
        assert [found[place].text for place in range(4)] == ["a", "b", "c", "refuse"]
    assert llm.asked == ["refuse"] and found[0].cached and not found[3].cached  # what was refused is asked again


def test_a_group_is_asked_for_as_a_whole(tmp_path: Path) -> None:
    with Cached(Counting(), tmp_path) as cached:
        assert len(list(cached.complete(requests("a")))) == 1
    llm = Counting()
    with Cached(llm, tmp_path) as cached:
        found = dict(cached.complete(requests("x", "y", "z", "a", "b")))
    assert sorted(llm.asked) == ["a", "b", "x", "y", "z"] and found[3].cached and not found[4].cached


def test_the_key_of_an_answer_tells_all_that_matters_apart() -> None:
    one = requests("a")[0]
    different = [
        request_key("m", Sampling(), one), request_key("n", Sampling(), one), request_key("m", Sampling(seed=1), one),
        request_key("m", Sampling(temperature=0.1), one), request_key("m", Sampling(max_tokens=5), one),
        request_key("m", Sampling(), Request(one.messages, 1)), request_key("m", Sampling(), requests("b")[0]),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


def test_a_damaged_cache_is_an_error_and_a_torn_line_is_not(tmp_path: Path) -> None:
    with Cached(Counting(), tmp_path) as cached:
        list(cached.complete(requests("a", "b", "c")))
    path = tmp_path / COMPLETIONS
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "12')
    with Cached(Counting(), tmp_path):
        assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b'"a"', b'"e"'))
    with pytest.raises(TtftError, match=COMPLETIONS), Cached(Counting(), tmp_path):
        pass


@pytest.mark.parametrize("url", ["http://me:pw@host/v1", "http://pw@host", "http://host/v1?key=pw", "http://host#pw"])
def test_credentials_in_a_url_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        endpoint.check_url(url)
    assert "pw" not in error.value.message + error.value.hint


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert endpoint.api_key("http://localhost:1/v1") == "none"
    with pytest.raises(ConfigError, match="is not set"):
        endpoint.api_key("https://example.org/v1")
    monkeypatch.setenv("MINE", "abc")
    assert endpoint.api_key("https://example.org/v1", "MINE") == "abc"


# ---- a model on this machine -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded() -> tuple[Any, Any]:
    torch.manual_seed(0)
    return load_causal_lm()


def prompts(*questions: str) -> list[Request]:
    shown = load_demonstrations()
    return [Request(generation_messages(question, shown, shots=1), n) for n, question in enumerate(questions)]


QUESTIONS = ("How deep is it?", "Where was the inventor of the modern zip fastener born and raised?", "Why?")


def test_greedy_answers_are_those_of_plain_generation(embedded: tuple[Any, Any]) -> None:
    """Neither padding nor the prefix that is computed once changes them."""
    model, tokenizer = embedded
    local = LocalModel(model, tokenizer, "embedded", Sampling(temperature=0, max_tokens=12), batch=3, longest=10_000)
    found = dict(local.complete(prompts(*QUESTIONS)))
    assert local._prefix[0], "the shared prefix was not used"
    for place, request in enumerate(prompts(*QUESTIONS)):
        tokens = torch.tensor([local._tokens(request.messages)])
        with torch.inference_mode():
            out = model.generate(tokens, max_new_tokens=12, do_sample=False, pad_token_id=local.pad)
        plain, _, _ = local._text(out[0, tokens.shape[1] :].tolist())
        assert found[place].text == plain and found[place].prompt_tokens == tokens.shape[1]


def test_sampled_answers_depend_on_their_group_only(embedded: tuple[Any, Any]) -> None:
    model, tokenizer = embedded
    sampling = Sampling(temperature=1.0, max_tokens=12)
    local = LocalModel(model, tokenizer, "embedded", sampling, batch=2, longest=10_000)
    asked = prompts(*QUESTIONS, "Who?")
    first = dict(local.complete(asked))
    torch.manual_seed(123)
    assert dict(local.complete(asked)) == first
    last = dict(LocalModel(model, tokenizer, "embedded", sampling, batch=2, longest=10_000).complete(asked[2:]))
    assert [last[0], last[1]] == [first[2], first[3]]
    other = dict(LocalModel(model, tokenizer, "e", Sampling(1.0, 12, seed=1), batch=2, longest=10_000).complete(asked))
    assert other != first


def test_a_prompt_without_room_for_an_answer_is_refused(embedded: tuple[Any, Any]) -> None:
    local = LocalModel(*embedded, "embedded", Sampling(temperature=0, max_tokens=8), longest=300)
    found = dict(local.complete([*prompts("Why? " * 400), *requests("Why?")]))
    assert "tokens, more than 292" in found[0].refused and not found[1].refused
