"""How a configuration is put together, and what it says when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError, model_validator

from ttft.config.base import Config, parse_set, read_yaml
from ttft.errors import ConfigError


class Sample(Config):
    """A configuration like the real ones."""

    n: int = Field(20, ge=0)
    """Texts to choose."""
    lambda_: float = Field(0.01, gt=0)
    """Noise."""
    name: str | None = None
    """A name."""

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
    with pytest.raises(ConfigError) as caught:
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


@pytest.mark.parametrize("text", ["5e-5", "5.0e-5", "0.00005", "'5e-5'"])
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
    assert said.startswith("--set") and "n, lambda_, name" in said


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


def test_a_folder_is_no_configuration_file(tmp_path: Path) -> None:
    assert str(tmp_path) in message(read_yaml, tmp_path)


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        Sample().n = 3


def test_resolved_is_plain_data_that_builds_the_same_again() -> None:
    config = Sample(n=3, name="ä")
    assert config.resolved() == {"n": 3, "lambda_": 0.01, "name": "ä"}
    assert Sample(**config.resolved()) == config
