# What a person would guess.  Everything happens in a private environment, .venv; PYTHON chooses the
# interpreter it is made with (3.11, 3.12 or 3.13).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: help install demo test lint bench check lock clean

help:
	@echo "make demo     install, crawl two small sites served on this machine, show what was stored"
	@echo "make test     install what the tests need and run them"
	@echo "make install  the private environment with the harvester command: $(BIN)/harvester"
	@echo "make lint     formatting, rules, types"
	@echo "make bench    what each part costs, beside baselines in the same run"
	@echo "make check    lint and test: what CI runs"
	@echo "make lock     resolve the dependencies anew into requirements*.lock"
	@echo "make clean    remove the data set in output/ and what tools left behind"

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Harvester needs Python 3.11, 3.12 or 3.13; say which: make PYTHON=python3.12 ..." >&2; exit 78; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv is missing; on Debian: apt-get install python3-venv" >&2; exit 78; }
	@touch $@

$(VENV)/installed: $(VENV)/python requirements.lock pyproject.toml
	$(PIP) install --require-hashes --no-deps -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	$(PIP) install --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

install: $(VENV)/installed

demo: install
	@$(BIN)/harvester demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/crawl.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/dates.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/merge.py
	$(BIN)/python benchmarks/stories.py
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python benchmarks/workers.py

check: lint test

lock: $(VENV)/installed-dev
	$(BIN)/uv pip compile -q --universal --no-annotate --generate-hashes --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --no-annotate --generate-hashes --group build --extra cluster --extra s3 -c requirements.lock \
		pyproject.toml -o requirements-cluster.lock
	$(BIN)/uv pip compile -q --universal --no-annotate --generate-hashes --group build --group dev -c requirements.lock \
		pyproject.toml -o requirements-dev.lock

clean:
	find output -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
