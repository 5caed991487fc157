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

TOOLS := libnbd-bin qemu-utils fio e2fsprogs redis-server restic s3fs

RUN := .venv/bin/python -m
PIP := $(RUN) pip install --quiet --disable-pip-version-check

.PHONY: serve test check bench clients client-tools soak docs tools clean

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

clients: .venv/.dev tools client-tools
	$(RUN) pytest -n 2 tests/clients $(ARGS)

soak: export OBJSTORE_KILLS = $(SOAK_KILLS)
soak: export OBJSTORE_POWER_CUTS = $(SOAK_POWER_CUTS)
soak: .venv/.dev
	$(RUN) pytest -n 2 --hypothesis-profile soak tests/crash tests/stateful $(ARGS)

docs: .venv/.dev
	.venv/bin/mkdocs serve --dev-addr 127.0.0.1:8000 $(ARGS)

# Clients of other projects that some tests need; these skip where it is missing.  A machine
# without apt-get, root or a network is no failure: what cannot be installed is told.
tools: export DEBIAN_FRONTEND := noninteractive
tools:
	@if dpkg -s $(TOOLS) >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { timeout 120 apt-get update -qq; \
	    timeout 600 apt-get install -y -qq --no-install-recommends $(TOOLS) >/dev/null; } \
	  || echo "tools: not all of $(TOOLS) could be installed; tests that need them skip"; \
	else \
	  echo "tools: $(TOOLS) need root and apt-get; tests that need them skip"; \
	fi

# Clients in Python and JavaScript of other projects, in environments of their own.
client-tools:
	@$(MAKE) --no-print-directory .clients/.python || echo "client-tools: no Python clients; their tests skip"
	@$(MAKE) --no-print-directory .clients/.node || echo "client-tools: no JavaScript clients; their tests skip"

clean:
	rm -rf .clients build dist site htmlcov .coverage .coverage.* .hypothesis .*_cache .venv/.serve .venv/.dev

.clients/.python: pyproject.toml | .venv/bin/python
	$(PYTHON) -m venv .clients/venv
	.venv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["clients"], sep="\n")' > .clients/requirements.txt
	.clients/venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement .clients/requirements.txt
	touch $@

.clients/.node: tests/clients/javascript/package.json
	mkdir -p .clients/node
	cp $< .clients/node
	npm install --prefix .clients/node --no-audit --no-fund --no-package-lock --silent
	touch $@

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
