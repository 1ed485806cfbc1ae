"""How a configuration is put together, and what it says when it cannot be."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from ttft.config.base import Config, parse_set, read_yaml
from ttft.errors import MissingArtifact, TtftError


class Sample(Config):
    """A configuration like the real ones."""

    n: int = Field(20, ge=0)
    """Texts to choose."""
    lambda_: float = Field(0.01, gt=0)
    """Noise."""
    name: str | None = None
    """A name."""
    score_at: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1)
    """Steps."""
    k: Annotated[int, Field(ge=1)] | Literal["all"] = 200
    """A number or a word."""
    strict: bool = False
    """Yes or no."""
    more: dict[str, Any] = Field(default_factory=dict)
    """Anything."""

    @model_validator(mode="after")
    def _name_fits(self) -> Sample:
        if self.name == "none" and self.n:
            raise ValueError("the name none goes with n 0")
        return self


class Needy(Config):
    """One required key."""

    out: str
    """A folder."""


@pytest.fixture
def yaml_file(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "some.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def message(call, *args, **kwargs) -> str:
    with pytest.raises(TtftError) as caught:
        call(*args, **kwargs)
    return f"{caught.value.message}\n{caught.value.hint}"


def test_nothing_given_gives_the_defaults() -> None:
    assert Sample.build() == Sample() == Sample(n=20, lambda_=0.01, name=None)


def test_flag_over_set_over_file_over_default(yaml_file) -> None:
    file = yaml_file("n: 1\nlambda_: 0.1\nname: file\n")
    assert Sample.build(file) == Sample(n=1, lambda_=0.1, name="file")
    assert Sample.build(file, ["n=2", "name=set"]) == Sample(n=2, lambda_=0.1, name="set")
    assert Sample.build(file, ["n=2", "name=set"], {"n": 3}) == Sample(n=3, lambda_=0.1, name="set")


def test_a_flag_that_is_zero_counts_and_one_that_is_none_does_not(yaml_file) -> None:
    file = yaml_file("n: 5\nname: file\n")
    assert Sample.build(file, None, {"n": 0, "name": None}) == Sample(n=0, name="file")


def test_the_last_set_of_a_key_wins() -> None:
    assert Sample.build(None, ["n=1", "n=2"]).n == 2


@pytest.mark.parametrize("text", ["5e-5", "5.0e-5", "0.00005", "+.5E-4"])
def test_exponents_are_numbers_with_and_without_a_dot(yaml_file, text: str) -> None:
    assert Sample.build(yaml_file(f"lambda_: {text}\n")).lambda_ == 5e-5
    assert Sample.build(None, [f"lambda_={text}"]).lambda_ == 5e-5


def test_every_problem_is_said_at_once_each_with_its_origin(yaml_file) -> None:
    file = yaml_file("n: many\n")
    said = message(Sample.build, file, ["lambda_=0"], {"name": 3}).splitlines()
    assert len([line for line in said if line]) == 3
    assert said[0].startswith(f"{file}: n: ") and "'many'" in said[0]
    assert said[1].startswith("--set: lambda_: ") and "greater than 0" in said[1]
    assert said[2].startswith("the command line: name: ")


def test_an_unknown_key_names_its_origin_and_the_nearest_key(yaml_file) -> None:
    file = yaml_file("lamda: 1\n")
    said = message(Sample.build, file)
    assert str(file) in said and '"lamda"' in said and '"lambda_"' in said
    said = message(Sample.build, None, ["zzz=1"])
    assert said.startswith("--set") and "n, lambda_, name, " in said


def test_two_values_that_do_not_fit_are_said_in_the_words_of_the_rule() -> None:
    assert message(Sample.build, None, ["name=none"]).strip() == "the name none goes with n 0"


def test_a_missing_key_is_said_without_the_ones_that_are_there() -> None:
    said = message(Needy.build)
    assert said.startswith("out is missing") and "{" not in said


@pytest.mark.parametrize("value", ["inf", "nan", ".inf", ".nan"])
def test_numbers_are_finite(value: str) -> None:
    assert "lambda_" in message(Sample.build, None, [f"lambda_={value}"])


@pytest.mark.parametrize("text", ["n", "=1", " =1", ""])
def test_set_wants_key_equals_value(text: str) -> None:
    assert "key=value" in message(parse_set, text)


def test_set_reads_its_value_as_yaml() -> None:
    assert parse_set("a=1") == ("a", 1)
    assert parse_set("a = [x, 2]") == ("a", ["x", 2])
    assert parse_set("a=b=c") == ("a", "b=c")
    assert parse_set("a=") == ("a", None)
    assert "a=[1" in message(parse_set, "a=[1")


def test_an_empty_file_is_no_options(yaml_file) -> None:
    assert read_yaml(yaml_file("# nothing\n")) == {}


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("just words\n", "str"), ("3\n", "int")])
def test_the_root_is_a_mapping(yaml_file, text: str, kind: str) -> None:
    file = yaml_file(text)
    said = message(read_yaml, file)
    assert str(file) in said and "mapping" in said and kind in said


def test_what_is_not_yaml_is_said_with_its_file(yaml_file, tmp_path: Path) -> None:
    file = yaml_file("a: [1\n")
    assert str(file) in message(read_yaml, file)
    file.write_bytes(b"a: \xff\n")
    assert str(file) in message(read_yaml, file)


def test_a_file_that_is_not_there_names_those_beside_it(yaml_file, tmp_path: Path) -> None:
    there = yaml_file("n: 1\n")
    said = message(read_yaml, tmp_path / "other.yaml")
    assert "other.yaml" in said and there.name in said


def test_only_an_ordinary_file_is_read_and_nothing_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    for path in (tmp_path, tmp_path / "fifo.yaml", Path("/dev/zero")):
        with pytest.raises(MissingArtifact, match=str(path)):
            read_yaml(path)
    for path in (tmp_path / ("x" * 300), tmp_path / "a\0b", Path("")):
        with pytest.raises(TtftError):
            read_yaml(path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("n: 1\nn: 2\n", ["'n'", "twice"]),
        ("1: 2\n", ["1", "name of an option"]),
        ("null: 2\n", ["None", "name of an option"]),
        ("[1]: 2\n", ["unhashable key"]),
        ("n: !!int 3\n", ["tag", "int"]),
        ("n: !!python/object/apply:os.system [ls]\n", ["tag", "os.system"]),
        ("n: &a 1\nk: *a\n", ["anchors and aliases"]),
        ("<<: {n: 1}\n", ["unknown key", "<<"]),
        ("more: " + "[" * 100_000, ["nested too deeply"]),
        ("n: 1\n---\nn: 2\n", ["document"]),
        ("n: \x01\n", ["special characters"]),
    ],
)
def test_plain_yaml_only(yaml_file, text: str, parts: list[str]) -> None:
    file = yaml_file(text)
    said = message(Sample.build, file)
    assert said.startswith(str(file))
    for part in parts:
        assert part in said


def test_a_small_file_cannot_become_a_large_value(yaml_file) -> None:
    """Ten anchors, each a list of ten times the one before: 10^10 items in some hundred bytes."""
    lines = ["more:", "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    started = time.monotonic()
    assert "anchors and aliases are not allowed" in message(Sample.build, yaml_file("\n".join(lines) + "\n"))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("n=true", ["n: ", "valid integer", "True"]),
        ("n='5'", ["n: ", "valid integer", "'5'"]),
        ("n=5.0", ["n: ", "valid integer", "5.0"]),
        ("n=2001-99-99", ["n: ", "valid integer", "'2001-99-99'"]),
        ("n=" + "9" * 5000, ["n: ", "valid integer", "'9999999"]),
        ("n=", ["n: ", "valid integer", "None"]),
        ("n={1: 2}", ["n: ", "valid integer", "{1: 2}"]),
        ("lambda_=true", ["lambda_: ", "valid number", "True"]),
        ("lambda_='1'", ["lambda_: ", "valid number", "'1'"]),
        ("lambda_=1e400", ["lambda_: ", "finite"]),
        ("strict=1", ["strict: ", "valid boolean", "1"]),
        ("strict=yes", ["strict: ", "valid boolean", "'yes'"]),
        ("k='5'", ["k: ", "'5'"]),
        ("k=some", ["k: ", "'all'", "'some'"]),
        ("k=0", ["k: ", "greater than or equal to 1", "0"]),
        ("score_at=3", ["score_at: ", "a list", "3"]),
        ("score_at=[0, '1']", ["score_at: ", "valid integer", "[0, '1']"]),
        ("score_at=[0, -1]", ["score_at: ", "greater than or equal to 0", "[0, -1]"]),
        ("name=3", ["name: ", "valid string", "3"]),
        ('name="\\ud800"', ["name: ", "Unicode"]),
        ('name="a\\0"', ["name: ", "null character"]),
        ('more={a: [{"\\0": 1}]}', ["more: ", "null character"]),
    ],
)
def test_values_are_not_converted(yaml_file, given: str, parts: list[str]) -> None:
    key, _, value = given.partition("=")
    file = yaml_file(f"{key}: {value}\n")
    for said in (message(Sample.build, None, [given]), message(Sample.build, file)):
        assert len(said) < 300 + len(str(file))
        for part in parts:
            assert part in said
    assert message(Sample.build, None, [given]).startswith("--set: ")
    assert message(Sample.build, file).startswith(f"{file}: ")


def test_what_a_field_takes() -> None:
    built = Sample.build(None, ["lambda_=1", "score_at=[0, 5]", "k=all", "strict=true", "more={a: [1, b]}"])
    assert built == Sample(lambda_=1.0, score_at=(0, 5), k="all", strict=True, more={"a": [1, "b"]})
    assert isinstance(built.lambda_, float) and isinstance(built.score_at, tuple)
    assert Sample.build(flags={"score_at": (0, 2)}).score_at == (0, 2)
    for value in (0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 123456789.123456789):
        assert Sample.build(flags={"lambda_": value}).lambda_ == value


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        Sample().n = 3


def test_resolved_is_plain_data_that_builds_the_same_again() -> None:
    config = Sample(n=3, name="ä")
    shown = {"n": 3, "lambda_": 0.01, "name": "ä", "score_at": [0, 1], "k": 200, "strict": False, "more": {}}
    assert config.resolved() == shown
    assert Sample(**config.resolved()) == config == Sample.build(flags=shown)
