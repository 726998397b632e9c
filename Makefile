# Each target works as the first and only command on a fresh clone: it makes .venv and installs what it needs, once.

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# One thread per process: tests and small models gain nothing from more, and parallel test workers would compete.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint types docs clean

demo: .venv/.core
	$(BIN)/equipoise demo

test: .venv/.dev
	$(BIN)/python -m pytest -n $(WORKERS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy --strict src

docs: .venv/.dev
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist docs/_build docs/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and alone, so that a wheel without CUDA is taken where the package index offers one.
.venv/.torch: constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade "pip>=25.1"
	$(PIP) install "$$(grep '^torch==' constraints.txt)"
	touch $@

.venv/.core: .venv/.torch pyproject.toml
	$(PIP) install -c constraints.txt -e .
	touch $@

.venv/.dev: .venv/.core
	$(PIP) install -c constraints.txt -e ".[all]" --group dev
	touch $@
