# Every way into the project, one line each.  `make serve` to run it, `make test` to check it.
#
#   ARGS     passed on:         make serve ARGS="--port 9100"   make test ARGS="-k range"
#   PYTHON   makes the .venv:   make test PYTHON=python3.12
#   SOAK_*   how much `make soak` does, where `make test` does 50 kills and 1,000 power cuts

PYTHON ?= python3
ARGS ?=
export NO_MKDOCS_2_WARNING := 1
SOAK_KILLS ?= 1000
SOAK_POWER_CUTS ?= 50000

RUN := .venv/bin/python -m
PIP := $(RUN) pip install --quiet --disable-pip-version-check

.PHONY: serve test check bench clients soak docs clean

serve: .venv/.serve
	.venv/bin/objstore serve ./data $(ARGS)

test: check
	$(RUN) pytest --cov -n 2 $(ARGS)

check: .venv/.dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/mkdocs build --strict --quiet

bench: .venv/.dev
	$(RUN) bench $(ARGS)

clients: .venv/.dev
	$(RUN) pytest -n 2 tests/clients $(ARGS)

soak: export OBJSTORE_KILLS = $(SOAK_KILLS)
soak: export OBJSTORE_POWER_CUTS = $(SOAK_POWER_CUTS)
soak: .venv/.dev
	$(RUN) pytest -n 2 --hypothesis-profile soak tests/crash tests/stateful $(ARGS)

docs: .venv/.dev
	.venv/bin/mkdocs serve --dev-addr 127.0.0.1:8000 $(ARGS)

clean:
	rm -rf build dist site htmlcov .coverage .coverage.* .hypothesis .*_cache .venv/.serve .venv/.dev

# The stamps make an install happen once for each state of pyproject.toml.  It is an
# editable one, so that what runs is the tree as it stands.
.venv/.serve: pyproject.toml | .venv/bin/python
	$(PIP) --editable .
	touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[dev]'
	touch $@ .venv/.serve

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "objstore needs Python 3.11 or later: make PYTHON=...")'
	$(PYTHON) -m venv .venv
