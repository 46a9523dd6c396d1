# Everything starts from `python3 -m venv`; the environment lives in .venv and is rebuilt only when it must be.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
MARK := $(subst /,_,$(CURDIR))# a stamp counts only in the folder it was made in: a moved or copied tree installs again
RUN := $(VENV)/.installed$(MARK)
DEV := $(VENV)/.installed-dev$(MARK)
BENCH := $(VENV)/.installed-bench$(MARK)
SOURCES := $(shell find agent cockpit -type f ! -name '*.pyc' 2>/dev/null)
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
PYTEST := $(PY) -m pytest -q
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check lab bench test-more soak packages pictures clean

help: ## this list
	@echo "gpu-cockpit: make ..."
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14 | sed 's/^/  /'

# An editable install follows the tree by itself; where there is one it serves the demo too.
demo: $(if $(wildcard $(DEV)),$(DEV),$(RUN)) ## a simulated fleet of 8 hosts x 8 GPUs and the console on it
	@$(VENV)/bin/gpu-cockpit demo $(DEMO)

test: check ## lint, types, layers and every test that this machine can run
	$(PYTEST) -n $(WORKERS) --dist loadscope -m "not more and not soak" $(TESTS)

check: $(DEV) ## lint, format, types and layers alone
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

lab: ## as root: the Debian packages and serving engines that the whole `make test` needs
	@packaging/lab/install

bench: $(BENCH) ## the budgets: one JSON object for each
	@$(PY) -m benchmarks $(BENCHMARKS)

test-more: $(DEV) ## proofs that take minutes: outages, stalls, scale
	$(PYTEST) -n $(WORKERS) --dist loadscope -m more --timeout 600 $(TESTS) || [ $$? -eq 5 ]

soak: $(DEV) ## ten minutes of hostile peers; writes packaging/docs/soak.md
	$(PYTEST) -m soak --timeout 0 $(TESTS) || [ $$? -eq 5 ]

packages: $(DEV) ## the agent's .deb and both single files, into dist/
	@$(PY) packaging/build-deb dist
	@$(PY) packaging/build-pyz dist

pictures: $(DEV) ## draw the pictures of the README again from the running console
	@$(PY) packaging/pictures

clean: ## the environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

# Debian's python3 has no ensurepip until python3-venv is installed: say so instead of its page of advice.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is missing or older than 3.11; try: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "make: $(PYTHON) cannot make virtual environments; try: apt install python3-venv" >&2; exit 2; }
	@echo "make: a virtual environment in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)

$(RUN): pyproject.toml $(SOURCES) | $(PY)
	@echo "make: installing gpu-cockpit into $(VENV) (about half a minute the first time)"
	@$(PIP) .
	@touch $@

$(DEV): pyproject.toml | $(PY)
	@echo "make: installing gpu-cockpit and its development tools into $(VENV)"
	@$(PIP) --editable '.[dev]'
	@touch $@

$(BENCH): pyproject.toml | $(PY)
	@echo "make: installing gpu-cockpit and the peers it is measured against into $(VENV)"
	@$(PIP) --editable '.[dev,bench]'
	@touch $@ $(DEV)
