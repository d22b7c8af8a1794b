# Dependency Ops Sentinel: the commands of the house. `make help` lists them.
# Needs Python 3.11+ and make; uses uv where it is on the PATH, pip otherwise.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= auto
ARGS   ?=

BIN    := $(VENV)/bin
UV     := $(shell command -v uv 2>/dev/null)

# Both compile what they install: where PYTHONDONTWRITEBYTECODE is set, every start would
# otherwise compile it again.
ifdef UV
INSTALL = $(UV) pip install --quiet --python $(BIN)/python --compile-bytecode
else
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --compile
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install install-dev demo test test-models check format lock upgrade build clean distclean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "DOS needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "python -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing DOS and its pinned requirements into $(VENV)"
	@$(INSTALL) --require-hashes -r requirements.txt
	@$(INSTALL) --no-deps --editable .
	@$(BIN)/python -m compileall -q src
	@echo "Compiling the loops of detection: half a minute, once"
	@$(BIN)/python -m dos.detect.ahead
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing the development requirements into $(VENV)"
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

install: $(VENV)/.installed  ## Set up .venv with DOS and its pinned requirements

# What networks are trained with. torch comes from where pip is configured to look: the index of
# PyPI has CUDA's build for Linux; where pip also finds a build for CPUs of that version, it is taken.
$(VENV)/.installed-ml: $(VENV)/.installed-dev
	@echo "Installing the extra ml into $(VENV)"
	@$(INSTALL) --editable ".[ml]"
	@touch $@

install-dev: $(VENV)/.installed-dev  ## The same with what tests and checks need

demo: $(VENV)/.installed  ## Run DOS against the simulator, API on port 8000 (ARGS="--duration 120s ...")
	@$(BIN)/dos demo $(ARGS)

# Tests marked `serial` run first and alone (they measure time or need both cores), the rest in
# parallel; some of them wait, so that a process more than there are cores is of use. pytest says
# 5 when there are none.
test: $(VENV)/.installed-dev  ## Run all tests (ARGS="tests/unit -k name", JOBS=4)
	$(BIN)/pytest -m serial $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/pytest -m "not serial" -n $(JOBS) --dist worksteal $(ARGS)

test-models: $(VENV)/.installed-ml  ## Install torch (extra ml) and run the tests that need it
	$(BIN)/pytest -m models -n $(JOBS) tests/unit $(ARGS)

check: $(VENV)/.installed-dev  ## Lint, formatting, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed-dev  ## Sort imports and format
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

# Every supported Python and system in one resolution.
RESOLVE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(or $(UV),$(BIN)/uv) pip compile --quiet \
	pyproject.toml --universal --python-version 3.11
# Hashes, but no addresses in the output. With the extras of each: without them the pip that comes
# with Python 3.11 takes a newer version for the extra than the one pinned, and refuses it.
COMPILE = $(RESOLVE) --generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links $(LOCK_ARGS)

lock: | $(BIN)/python  ## Compile requirements*.txt from pyproject.toml, keeping versions that still fit
	@command -v uv >/dev/null || [ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet uv
	$(COMPILE) --output-file requirements.txt
	$(COMPILE) --group dev --constraint requirements.txt --output-file requirements-dev.txt
	@echo "Checking that all extras together fit the pinned core"
	@$(RESOLVE) --extra all --constraint requirements.txt >/dev/null

upgrade:  ## The same, taking the newest versions
	$(MAKE) lock LOCK_ARGS=--upgrade

build: $(VENV)/.installed-dev  ## Build the wheel and the source distribution into dist/
	@rm -rf dist
	$(BIN)/python -m build --no-isolation

clean:  ## Remove what builds, checks and tests leave behind
	rm -rf build dist htmlcov .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find src tests benchmarks simulations -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean  ## Remove the virtual environment too
	rm -rf $(VENV)
