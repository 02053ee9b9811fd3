# Every target sets up what it needs in .venv, from python3 and make alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := --dataset=digits_symmetric_0.4 --method=dividemix --valid_ratio=0.1

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-extras lint docs options clean

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: $(READY) ## Train DivideMix on digits with 40 % wrong labels.
	$(BIN)/python -m ieg.main $(DEMO)

test: $(READY) ## Run the tests.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(READY) ## Run the tests that take minutes or several processes.
	$(BIN)/python -m pytest -m slow

test-extras: $(VENV)/.extras ## Run the tests of optional packages; none is skipped.
	$(BIN)/python -m pytest -m extras --no-skips

lint: $(READY) ## Check style, types, and the layers of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/.docs ## Build the documentation in docs/_build; warnings are errors.
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q docs docs/_build

options: $(READY) ## Write ieg/commandline/options.json, from which the command answers.
	$(BIN)/python -c 'import ieg.search.driver; \
	  from ieg.commandline import catalog; catalog.write()'

clean: ## Remove .venv, caches and what a build leaves; keep runs.
	rm -rf $(VENV) build dist docs/_build *.egg-info
	rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find ieg tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# Needed again only when the requirements or the metadata change.
$(READY): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON); install Python 3.10 to 3.13, or name" \
	    "one: make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; \
	  sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "ieg needs Python 3.10 to 3.13, but $(PYTHON) is" \
	    "$$($(PYTHON) -V 2>&1); name another one:" \
	    "make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and" \
	    "Ubuntu, install them with: apt-get install python3-venv." >&2; \
	  exit 1; }
	@echo 'Installing into $(VENV); the first time takes minutes.'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q \
	  -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q \
	  --no-deps --no-build-isolation -e .
	@touch $@

# What some targets need in addition, with the versions of requirements.txt.
$(VENV)/.%: requirements-%.txt $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q \
	  -r requirements.txt -r $<
	@touch $@
