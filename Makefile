# Two commands, each of which makes its own environment from nothing (Python 3.11 or newer on PATH):
#
#   make lint PATHS="notebooks train.py"    what qalint has to say about your code
#   make test                               qalint's own tests

PATHS ?= .
ARGS ?=
PYTEST_ARGS ?= -n auto

# The first Python on PATH that is new enough. Override with `make PYTHON=/path/to/python ...`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := -m pip --disable-pip-version-check install --quiet

.PHONY: lint test docs clean python

lint: .venv-lint/ready
	@.venv-lint/$(BIN)/qalint check --exit-zero $(ARGS) $(PATHS)

test: .venv/ready
	.venv/$(BIN)/python -m pytest $(PYTEST_ARGS)

docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 .venv/$(BIN)/python -m mkdocs build --strict --quiet

python:
	@test -n "$(PYTHON)" || { echo "qalint needs Python 3.11 or newer on PATH (or make PYTHON=...)." >&2; exit 2; }

.venv-lint/ready: pyproject.toml | python
	@rm -rf .venv-lint
	@"$(PYTHON)" -m venv .venv-lint
	@.venv-lint/$(BIN)/python $(PIP) --editable .
	@touch $@

.venv/ready: pyproject.toml constraints.txt | python
	@rm -rf .venv
	@"$(PYTHON)" -m venv .venv
	@.venv/$(BIN)/python $(PIP) --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv .venv-lint .qalint_cache build dist site *.egg-info
