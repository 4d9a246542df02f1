# Every target sets up what it needs in .venv, on a machine that has nothing but make and Debian.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml src/wclayer/_version.py .ci/venv
	.ci/venv $(VENV)
	touch $@

.PHONY: venv
venv: $(READY) ## make .venv with the project and its tools

.PHONY: demo
demo: $(READY) ## unpack a sample image and write its layers back, byte for byte
	demo/run.sh

.PHONY: lint
lint: $(READY) ## style, types and the import rules
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-logo

.PHONY: docs
docs: $(READY) ## build the documentation into docs/_build/html
	python -m sphinx -W --keep-going -q -b html docs docs/_build/html

.PHONY: check-docs
check-docs: $(READY) ## read the documentation and follow every reference in it, without building pages
	python -m sphinx -W --keep-going -q -b dummy docs docs/_build/dummy

.PHONY: peers
peers: ## install the programs that the tests compare with
	.ci/peers

.PHONY: test
test: lint check-docs peers ## everything that must hold: lint, documentation, tests
	scratch=$$(mktemp -d); trap 'chmod -R u+w "$$scratch"; rm -rf "$$scratch"' EXIT; \
		pytest -n auto --basetemp="$$scratch/pytest"
	.ci/compiled

.PHONY: bench
bench: $(READY) ## measure against other programs: ROUNDS=5 SUITES="unpack small" OPTIONS="--seed 2"
	.ci/peers bench
	python -m bench --rounds $(or $(ROUNDS),5) $(OPTIONS) $(SUITES)

.PHONY: coverage
coverage: $(READY) ## run the tests with branch coverage
	coverage run -m pytest
	coverage report

.PHONY: format
format: $(READY) ## rewrite the sources in the house format
	ruff check --fix .
	ruff format .

.PHONY: clean
clean: ## remove everything that was made
	rm -rf $(VENV) build dist docs/_build bench/out .coverage .coverage.* htmlcov .hypothesis .mypy_cache \
		.pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
