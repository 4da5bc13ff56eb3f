# What a new user needs: `make demo` and `make test`. Each target installs what it needs first.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test cluster lint bench docs packages clean

install: packages .venv/.installed ## Debian packages, the virtual environment, the command .venv/bin/aetherium

packages:
	@./scripts/packages run

.venv/.installed: requirements.lock pyproject.toml
	@echo "Installing Python dependencies (versions and hashes: requirements.lock) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src # or the first commands, and all where it is switched off, start slowly
	@touch $@

demo: install ## The main job: this repository's tests in a fresh microVM, and a patch back
	@./scripts/demo

test: install ## All tests
	@./scripts/packages test
	@$(BIN)/python -m pytest

cluster: install ## A cluster on this machine: PostgreSQL, Redis, gateways, orchestrators, workers
	@./scripts/packages test
	@./scripts/cluster run

lint: .venv/.installed ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## Ratios against baselines of the same run; JSON in out/bench.json
	@./scripts/packages bench
	@$(BIN)/python -m bench

docs: .venv/.installed ## The documentation as a web site in site/
	$(BIN)/zensical build

clean:
	rm -rf .venv site build dist
