# Targets document themselves: `make help` prints the text behind ##.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
PEERS  := $(patsubst %,.venv-peers/%/.installed,vectorbt backtesting trader)
SEED   ?= 7
REPEAT ?= 3
SECONDS ?= 3600
SAMPLE ?= 60
ORDER  ?=
# a seed that somebody asked for draws the order again; otherwise every run is another one, and says which
SHUFFLED := --random-order $(if $(filter command environment,$(word 1,$(origin SEED))),--random-order-seed=$(SEED))

# tests that show what the covered packages do; kernels are seen uncompiled, so the first half runs without compiler
COVERED_PLAIN := tests/unit/core tests/unit/risk tests/unit/recovery tests/unit/ledger tests/property/test_core_model.py \
  tests/property/test_history.py tests/property/test_live_books.py tests/unit/engine/test_kernels.py \
  tests/unit/engine/test_history_parity.py tests/unit/engine/test_invalidations.py
COVERED_REAL := tests/unit/execution tests/unit/supervisor tests/unit/engine tests/property/test_ledger_books.py \
  tests/property/test_ledger_restore.py tests/property/test_venue_books.py tests/process tests/contracts \
  $(wildcard tests/loopback/test_*.py)

# Real candles for tests that need them; whoever has none can still run the suite.
ifneq ($(wildcard ../shared/data/INDEX.md),)
export TRADER_TEST_DATA ?= $(abspath ../shared/data)
endif

.DEFAULT_GOAL := help
.PHONY: help setup run screenshots test acceptance properties coverage mutants faults soak bench peers check lint type imports docs-lint format lock package install uninstall

help:  ## Show what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Create the virtual environment from the lock file

$(STAMP): requirements-dev.lock setup.py
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup  ## Start the service in the foreground: paper money, simulated market, no network
	$(PY) -m trader run

test: setup  ## Run the tests (ORDER=random, in an order that nobody has run before; SEED=7 draws one again)
	$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(if $(filter random,$(ORDER)),$(SHUFFLED))

acceptance: setup  ## The long tests: parity and replays of half a million candles, with kills (an hour)
	$(PY) -m pytest -m slow tests

properties: setup  ## The property tests with examples that nobody has drawn before (REPEAT=3 times)
	for n in $$(seq $(REPEAT)); do TRADER_TEST_EXAMPLES=search $(PY) -m pytest -q -n 2 -m hypothesis tests || exit; done

coverage: setup  ## Branch coverage of what must not be wrong, by package: fails below 90 % (a quarter of an hour)
	rm -rf .make/coverage && mkdir -p .make/coverage
	export COVERAGE_FILE=.make/coverage/data; \
	NUMBA_DISABLE_JIT=1 $(PY) -m coverage run -m pytest -q -k "not compile_nothing" $(COVERED_PLAIN) && \
	$(PY) -m coverage run -m pytest -q $(COVERED_REAL) && \
	$(PY) -m coverage combine -q .make/coverage && $(PY) -m coverage json -q -o .make/coverage/report.json && \
	$(PY) -m tests.coverage_by_package .make/coverage/report.json

mutants: setup  ## Change the rules at random and see whether a test notices (SAMPLE=60 by package, or all; SEED=7)
	$(PY) -m tests.mutants --sample $(SAMPLE) --seed $(SEED)

faults: setup  ## Make each of the 27 faults happen, and print what came of it (SEED=7 REPEAT=3 ONLY=fault_05; root)
	TRADER_FAULT_SEED=$(SEED) TRADER_FAULT_REPEAT=$(REPEAT) $(PY) -m pytest -m "" -q tests/faults $(if $(ONLY),-k "$(ONLY)")

soak: setup  ## An hour of replay with a random fault every few seconds (SECONDS=3600 SEED=7; root)
	$(PY) -m tests.soak --seconds $(SECONDS) --seed $(SEED)

bench: setup peers  ## Measure, beside peers: prints figures, medians, ratios and the wanted bounds
	$(PY) -m pytest -m "bench or peers" -s -q tests/benchmarks

peers: setup $(PEERS)  ## Install what benchmarks compare with, each in an environment of its own below .venv-peers

.venv-peers/%/.installed: tests/benchmarks/peers-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# what an owner installs, without the tools of development, which would be imported as well
.venv-peers/trader/.installed: requirements.lock
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

screenshots: setup  ## Take the README's pictures of the dashboard, from a replay of real candles (TRADER_TEST_DATA)
	$(PY) -m tests.screenshots --out docs

check: setup lint type imports docs-lint  ## Everything that must be clean in every commit

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

type: setup
	$(VENV)/bin/mypy

imports: setup
	$(VENV)/bin/lint-imports

docs-lint: setup
	$(PY) -m tests.contracts.docstrings

format: setup  ## Format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: setup  ## Resolve the dependencies anew into the two lock files
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --extra dev setup.py --output-file requirements-dev.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header setup.py --output-file requirements.lock

package: setup  ## Build sdist and, from it, the wheel, below dist
	$(VENV)/bin/uv build --quiet --no-build-isolation --python $(PY) --out-dir dist .

install:  ## Install as a systemd service (root; PREFIX=/opt/trader PYTHON=/usr/bin/python3)
	@PREFIX="$(PREFIX)" PYTHON="$(if $(filter file,$(origin PYTHON)),,$(PYTHON))" systemd/install.sh install

uninstall:  ## Remove the service; keeps configuration and data unless PURGE=1
	@PREFIX="$(PREFIX)" PURGE="$(PURGE)" systemd/install.sh uninstall
