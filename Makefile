# make demo      set-up, then a fly scan in IPython, reconstructed over MPI, found again in databroker
# make test      set-up, then all tests
# make ipython   set-up, then IPython at the simulated beamline, to scan by hand
# make lint      set-up, then style, types and layers
# make docs      the README's table of the recipe, from the code
# make clean     removes the environment
#
# Data are kept in HXN_PTYCHO_HOME (default: your data folder). PYTHON=python3.12 names another Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTS ?=

.PHONY: setup demo ipython test lint docs clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hxn_ptycho needs Python 3.11 or newer, and " + sys.executable + " is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make environments: install its venv package (Debian: python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV): some minutes, the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $(STAMP)

demo: setup
	@$(BIN)/hxn-ptycho demo

ipython: setup
	@$(BIN)/ipython --profile-dir=profile_collection

test: setup
	$(BIN)/python -m pytest $(TESTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: setup
	$(BIN)/python docs/recipe_table.py

clean:
	rm -rf $(VENV) build *.egg-info
