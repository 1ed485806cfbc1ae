"""Settings vetted for what ships, and the precedence around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ttft.assets import embedded_model_path
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.defaults import (
    LEARNING_RATE,
    PAPER_LAMBDA,
    VETTED_LAMBDA,
    VETTED_TRAINING,
    Training,
    lambda_for,
    training_for,
)

SHIPPED = Path(__file__).parents[1] / "configs" / "finetune-eval" / "embedded-sift.yaml"


def config(**values) -> FinetuneEvalConfig:
    return FinetuneEvalConfig(index="i", out="o", **values)


def test_the_embedded_model_has_its_own_settings_for_either_method():
    lora, full = VETTED_TRAINING["embedded"]
    assert config().training() == lora and config(method="lora").training() == lora
    assert config(method="full").training() == full and lora.vocabulary == "lora"
    assert config(lr=0.5, rank=3).training() == replace(lora, lr=0.5, rank=3)
    assert config(method="full", rank=3).training() == full
    assert config(method="lora", vocabulary="off").training() == replace(lora, vocabulary="off")
    assert config(model=str(embedded_model_path())).training() == lora


def test_other_models_get_the_general_ones():
    general = Training("lora", rank=16, rslora=False, vocabulary="off", lr=LEARNING_RATE["lora"], warm_down=1.0)
    assert training_for("gpt2") == general
    assert training_for("gpt2", "full").lr == 5e-5
    assert training_for("gpt2", "in-context", lr=1.0).to_json() == {"method": "in-context"}


def test_lambda_belongs_to_the_embedder():
    assert lambda_for("minilm") == VETTED_LAMBDA["minilm"] and lambda_for("other") == lambda_for(None) == PAPER_LAMBDA


def test_the_shipped_file_spells_out_the_defaults():
    shipped = FinetuneEvalConfig.build(SHIPPED, None, {"index": "i", "out": "o"})
    assert shipped.training() == config().training() and shipped.lambda_ == VETTED_LAMBDA["minilm"]
    assert (shipped.n, shipped.k, shipped.strategy) == (config().n, config().k, config().strategy)
