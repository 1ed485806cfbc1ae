"""Every shipped YAML loads through the class of its folder; every option explains itself."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
import yaml

from ttft.config.adapt import AdaptConfig
from ttft.config.base import Config, read_yaml
from ttft.config.calibrate import CalibrateConfig
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.config.generate import GenerateConfig
from ttft.config.index import IndexConfig
from ttft.config.q2d_analyse import Q2dAnalyseConfig
from ttft.config.q2d_calibrate import Q2dCalibrateConfig
from ttft.config.q2d_evaluate import Q2dEvaluateConfig
from ttft.config.q2d_export import Q2dExportConfig
from ttft.config.q2d_filter import Q2dFilterConfig
from ttft.config.q2d_generate import Q2dGenerateConfig
from ttft.config.q2d_rewrite import RewriteConfig
from ttft.config.q2d_train import Q2dTrainConfig
from ttft.config.report import ReportConfig
from ttft.config.select import SelectConfig
from ttft.errors import ConfigError

REPO = Path(__file__).parents[1]
CONFIGS = REPO / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))

FOLDERS: dict[str, type[Config]] = {
    "index": IndexConfig,
    "select": SelectConfig,
    "calibrate": CalibrateConfig,
    "finetune-eval": FinetuneEvalConfig,
    "generate": GenerateConfig,
    "report": ReportConfig,
    "adapt": AdaptConfig,
    "demo": FinetuneEvalConfig,
    "q2d/rewrite": RewriteConfig,
    "q2d/analyse": Q2dAnalyseConfig,
    "q2d/calibrate": Q2dCalibrateConfig,
    "q2d/evaluate": Q2dEvaluateConfig,
    "q2d/export": Q2dExportConfig,
    "q2d/filter": Q2dFilterConfig,
    "q2d/generate": Q2dGenerateConfig,
    "q2d/generate-endpoint": Q2dGenerateConfig,
    "q2d/train": Q2dTrainConfig,
}
"""The class that loads the files of a folder, or a single file."""


def class_of(path: Path) -> type[Config] | None:
    return FOLDERS.get(f"{path.parent.name}/{path.stem}") or FOLDERS.get(path.parent.name)


def config_classes() -> list[type[Config]]:
    names = [path.stem for path in sorted((REPO / "ttft/config").glob("*.py")) if path.stem != "__init__"]
    modules = [importlib.import_module(f"ttft.config.{name}") for name in names]
    found = [c for m in modules for c in vars(m).values() if inspect.isclass(c) and issubclass(c, Config)]
    return sorted(set(found) - {Config}, key=lambda c: c.__name__)


def load(path: Path) -> Config:
    """The file as its command would load it; what the command line must give (index, out, source) is made up."""
    kind = class_of(path)
    assert kind is not None
    given = read_yaml(path)
    needed = [name for name, field in kind.model_fields.items() if field.is_required() and name not in given]
    if kind is CalibrateConfig:
        needed += ["index", "prompts", "out"]
    if kind is Q2dGenerateConfig:
        needed += ["out"]
    if kind in (RewriteConfig, Q2dAnalyseConfig):
        needed += ["dialogs"]
    return kind.build(path, [f"{name}=x" for name in needed])


def test_there_are_configurations() -> None:
    assert len(FILES) >= 8
    unknown = [p.relative_to(CONFIGS).as_posix() for p in FILES if class_of(p) is None]
    assert not unknown, f"configs/{unknown}: say in this test which class loads them"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(CONFIGS).as_posix())
def test_a_shipped_file_loads(path: Path) -> None:
    shown = load(path).resolved()
    for key, value in read_yaml(path).items():
        assert shown[key] == (float(value) if isinstance(shown[key], float) else value)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(CONFIGS).as_posix())
def test_the_plain_schema_reads_a_shipped_file_as_yaml_does(path: Path) -> None:
    plain, full = read_yaml(path), yaml.safe_load(path.read_text(encoding="utf-8"))
    assert repr(plain) == repr(full)  # values and their types


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(CONFIGS).as_posix())
def test_a_shipped_file_begins_with_its_question(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_paper_sift_holds_the_numbers_of_the_paper() -> None:
    config = load(CONFIGS / "finetune-eval/paper-sift.yaml")
    assert (config.strategy, config.lambda_, config.n, config.k, config.alpha) == ("sift", 0.01, 50, 200, None)
    assert config.training().lr == 5e-5
    assert (config.score, config.query) == ("whole", "first")


def test_the_papers_runs_differ_only_in_what_they_compare() -> None:
    sift, nearest, adaptive = (
        load(CONFIGS / f"finetune-eval/paper-{name}.yaml").resolved() for name in ("sift", "nearest", "adaptive-sift")
    )
    assert {k for k in sift if sift[k] != nearest[k]} == {"strategy", "lambda_"}
    assert {k for k in sift if sift[k] != adaptive[k]} == {"alpha"}


def test_numbers_have_bounds() -> None:
    """A slip of the hand is refused before memory is asked for, and no number has another meaning below zero."""
    found = 0
    for kind in config_classes():
        for name, field in kind.model_fields.items():
            words = re.findall(r"\w+", str(field.annotation))
            if {"int", "float"}.isdisjoint(words):
                continue
            found += 1
            for value in (10**40, -1):
                given = [value] if {"tuple", "list"} & set(words) else value
                with pytest.raises(ConfigError, match=rf"{name}: Input should be (less|greater) than .*{value}"):
                    kind.build(flags={name: given})
    assert found > 100


@pytest.mark.parametrize("kind", config_classes(), ids=lambda c: c.__name__)
def test_every_option_has_a_docstring(kind: type[Config]) -> None:
    assert kind.__doc__
    silent = [name for name, field in kind.model_fields.items() if not (field.description or "").strip()]
    assert not silent, f"{kind.__name__}: {', '.join(silent)} without a docstring"
