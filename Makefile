# Everything a person types. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# uv is brought along, pinned; UV=/path/to/uv takes another. Python 3.11 or 3.12: the first of these that is there.
UV ?= .tools/uv
# By its own name: before a launcher, such as pyenv's, uv would make both environments anew each time, under whatever runs in them.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; (3, 11) <= sys.version_info < (3, 13) or sys.exit(1); print(sys.executable)' 2>/dev/null && break; done)
RUN := .venv/bin/python
# Tests of one file share what they start, so a file stays with one process; the short ones come last and fill the gaps.
PYTEST := $(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

export UV
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
.PHONY: install-serving install install-checks
install-serving: $(UV) python ## What serving needs, without TensorFlow: .venv and .venv-triton
	@$(UV) sync --quiet --locked --no-default-groups --group serving --extra cli --extra gateway --inexact
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-triton $(UV) sync --quiet --locked --inexact --project serving/local_triton

install: $(UV) python ## Everything that tests and training need
	@$(UV) sync --quiet --locked --all-extras
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-triton $(UV) sync --quiet --locked --group savedmodel --project serving/local_triton

install-checks: install
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-checks $(UV) sync --quiet --locked --project k8s/checks

# ---- what Mien does -----------------------------------------------------------------------------------------------------
.PHONY: demo serve train retrain loadtest tune bench
demo: install-serving ## A real Triton classifies the faces of two photographs (PHOTOS="…" for yours)
	@$(RUN) -m tools.demo $(PHOTOS)

serve: $(if $(filter 0,$(FLOWS)),install-serving,install) ## Triton, the gateway, Prefect's server and a worker, in the foreground; Ctrl-C stops all (FLOWS=0: no Prefect)
	@exec $(RUN) -m flows.serve $(if $(filter 0,$(FLOWS)),--no-flows)

train: install ## Train and report: DATA=fer2013.zip CONFIG=quick (RUN_DIR=… resumes or names the run)
	@test -n "$(DATA)" || { echo "make train needs DATA=…: FER-2013 as a folder, a zip or its CSV. It is on Kaggle: the tree as msambare/fer2013, the CSV in challenges-in-representation-learning-facial-expression-recognition-challenge." >&2; exit 2; }
	@$(RUN) -m training fit "$(DATA)" --config "$(or $(CONFIG),quick)" $(if $(RUN_DIR),--run "$(RUN_DIR)")

retrain: install ## Train, hold against what is served, publish, promote: DATA=… CONFIG=quick (ACCEPT="reason" overrules the gate)
	@test -n "$(DATA)" || { echo "make retrain needs DATA=…, like make train." >&2; exit 2; }
	@$(RUN) -m flows.train "$(DATA)" --config "$(or $(CONFIG),quick)" $(if $(ACCEPT),--accept-anyway "$(ACCEPT)")

loadtest: install ## Load on what `make serve` runs: LOADTEST="run --users grpc=4 --duration 30 --p99-ms 50", or "find-capacity"
	@$(RUN) -m loadtest $(or $(LOADTEST),run --users grpc=4 --duration 30)

tune: install ## Which model configuration serves most on this machine, written as config set `tuned` (TUNE="--rounds 3")
	@$(RUN) -m benchmarks.tune $(TUNE)

bench: install ## What serving costs, beside ONNX Runtime in process; PEERS=1: and beside other servers; DATA=…: int8 as well
	@$(RUN) -m benchmarks.serving $(if $(filter-out 0,$(PEERS)),--peers) $(BENCH)
	@$(if $(DATA),$(RUN) -m benchmarks.quantization "$(DATA)")

# ---- checks -------------------------------------------------------------------------------------------------------------
# Each has a lock of its own.
LOCKED_PROJECTS := . serving/local_triton k8s/checks $(wildcard benchmarks/peers/environments/*)

.PHONY: check secrets audit sbom k8s-check test test-long faults faults-selftest clean
check: install-checks ## Format, lint, types, unit tests: what CI and the pre-commit hook run first
	@$(UV) lock --check --quiet
	@$(UV) lock --check --quiet --project serving/local_triton
	@$(UV) lock --check --quiet --project k8s/checks
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@$(PYTEST) tests/unit

secrets: install ## Nothing that looks like a key, a password or a token is in git, but for what .secrets.baseline knows
	@known=$$(mktemp); trap 'rm -f "$$known"' EXIT; cp .secrets.baseline "$$known"; \
	found=$$(.venv/bin/detect-secrets-hook --baseline "$$known" $$(git ls-files)) || test $$? = 3 || { echo "$$found"; exit 1; } # 3: a known line has moved

audit: $(UV) python ## Known vulnerabilities of what the locks name, asked of osv.dev; needs the network
	@for project in $(LOCKED_PROJECTS); do \
	  $(UV) audit --quiet --locked --preview-features audit-command --project $$project $(AUDIT) && continue; status=$$?; \
	  test $$status = 1 && echo "A package of $$project/uv.lock is vulnerable. What to do: docs/security.md." >&2 \
	    || echo "The lock of $$project was not audited: osv.dev cannot be reached. On a machine that reaches it: make audit; a mirror: AUDIT=\"--service-url URL\"." >&2; \
	  exit $$status; \
	done; echo "No known vulnerability in the locks of: $(LOCKED_PROJECTS)"

sbom: $(UV) python ## Bills of materials of the locks, CycloneDX 1.5 with every file's SHA-256, into dist/sbom
	@mkdir -p dist/sbom
	@for project in $(LOCKED_PROJECTS); do \
	  file=dist/sbom/$$(test $$project = . && echo mien || echo $${project//\//-}).cdx.json; \
	  $(UV) export --quiet --locked --preview-features sbom-export --format cyclonedx1.5 --all-extras --all-groups --project $$project --output-file $$file; \
	  echo $$file; \
	done

k8s-check: install-checks ## Manifests and images: they build, keep their schemas and our policies; checkov and hadolint agree
	@$(PYTEST) tests/unit/k8s

test: install-checks ## Every test that this machine can run, but for the long ones (TESTS="tests/faults": some of them)
	@$(PYTEST) -m "not slow" $(TESTS)
	@echo "Left to make test-long: those that take longer than a minute each, marked slow."

test-long: install ## The tests that make test leaves out: PostgreSQL under Prefect, searches with several workers, a rollout under load
	@$(PYTEST) -m "slow and not fault"

# A row's tests lie with those of what they are about, too; all other files would be read for nothing.
FAULT_TESTS = $(shell grep -rl --include='test_*.py' pytest.mark.fault tests)

faults: install ## Faults, attacks and endurance in full, with a figure for each (FAULTS="1 8", SOAK_MIN=30, SEED=7); all of them write docs/reliability.md
	@$(RUN) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -p tests.faults.plugin -m fault $(FAULT_TESTS) --write docs/reliability.md \
		$(if $(FAULTS),--rows "$(FAULTS)") $(if $(SOAK_MIN),--soak-min $(SOAK_MIN)) $(if $(SEED),--seed $(SEED))

faults-selftest: install ## Take protections out of a copy, one at a time: does its row of make faults notice? (MUTATIONS="canary")
	@$(RUN) -m tests.faults.selftest $(MUTATIONS)

clean: ## Remove both environments and the caches; releases and other state stay
	@rm -rf .venv .venv-triton .venv-checks .venv-bench .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

# ---- the system ---------------------------------------------------------------------------------------------------------
# Only a few tests need these, and say so when they are missing: a clock in C, an example in Go, databases, a browser, Prometheus.
DEBIAN_PACKAGES := gcc libc6-dev golang-go golang-google-grpc-dev golang-goprotobuf-dev protobuf-compiler postgresql redis-server chromium prometheus

.PHONY: system-deps
system-deps: ## Debian packages that a few tests need; as root, optional
	@if dpkg -s $(DEBIAN_PACKAGES) >/dev/null 2>&1; then echo "Everything is there: $(DEBIAN_PACKAGES)"; \
	elif ! command -v apt-get >/dev/null; then echo "Not a Debian system: install yourself what stands for $(DEBIAN_PACKAGES)." >&2; exit 1; \
	elif [ "$$(id -u)" != 0 ]; then echo "Installing packages needs root: sudo make system-deps" >&2; exit 1; \
	else apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(DEBIAN_PACKAGES) >/dev/null; fi
