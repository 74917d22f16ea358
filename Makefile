# The developer's loop. `make help` lists the verbs.
VENV ?= .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

help: ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: ## make .venv and install the locked dependencies
	python3 -m venv $(VENV)
	$(BIN)/pip install -q --require-hashes -r requirements.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .

check: ## format check, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: ## the whole suite
	$(BIN)/pytest -q -n 2

cover: ## branch coverage: 100 % for syncml and csp by their own tests, 95 % for mdm
	$(BIN)/python .ci/cover.py

fix: ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## renew requirements.lock from pyproject.toml
	uv pip compile -q -U --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 \
	  pyproject.toml --group dev -o requirements.lock

demo: ## play the whole story and exit
	$(BIN)/csp-bridge demo --once

run: ## serve on 127.0.0.1:8480 with ./data
	$(BIN)/csp-bridge serve --data-dir data

.PHONY: help setup check test cover fix lock demo run
