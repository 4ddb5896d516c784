# Everything a person types. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# uv is brought along, pinned; UV=/path/to/uv takes another. Python 3.11 or 3.12: the first of these that is there.
UV ?= .tools/uv
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && { command -v $$p; break; }; done)
STATE := $(or $(MIEN_STATE),.mien)
RUN := .venv/bin/python

export UV_PYTHON := $(PYTHON)
export UV_PYTHON_DOWNLOADS := never
# An environment of the caller's own must not leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "Mien needs Python 3.11 or 3.12 on this machine: the local Triton has no build for others. Install one, or: make PYTHON=/path/to/python3.12" >&2; exit 1; }

.tools/uv: tools/bootstrap_uv.py | python
	@$(PYTHON) tools/bootstrap_uv.py .tools

# ---- environments -------------------------------------------------------------------------------------------------------
.PHONY: install-serving install
install-serving: $(UV) python ## What serving needs, without TensorFlow: .venv and .venv-triton
	@$(UV) sync --quiet --locked --no-default-groups --group serving --extra cli --inexact
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-triton $(UV) sync --quiet --locked --inexact --project serving/local_triton

install: $(UV) python ## Everything that tests and training need
	@$(UV) sync --quiet --locked --all-extras
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-triton $(UV) sync --quiet --locked --group savedmodel --project serving/local_triton

# ---- checks -------------------------------------------------------------------------------------------------------------
.PHONY: check test
check: install ## Format, lint, types, unit tests
	@$(UV) lock --check --quiet
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@$(RUN) -m pytest tests/unit

test: install ## Every test this machine can run
	@$(RUN) -m pytest
