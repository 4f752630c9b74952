# Alpha: what a person runs. `make help` lists it.
# Everything sets itself up: only Python 3.11 or newer, make and a package index are needed.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
CLIENTS := .venv-clients
MUTATION := .venv-mutation
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
ARGS ?=

.PHONY: help demo alpha psql simulator test test-long test-clients test-containers test-containers-long test-swarm newcomer faults fence simulate fuzz properties accounts mutation test-ha bench bench-history bench-growth lint format docs submodules lock images-pin audit sbom clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-21s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/pyvenv.cfg:
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Alpha needs Python 3.11 or newer; '$(PYTHON)' is not. Install it, or name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "The virtual environment cannot be made: install Python's venv (Debian: python3-venv)." >&2; exit 2; }

# The demo needs less than the tests; each stamp says that its lock is installed, checked by hash.
$(VENV)/.demo: locks/demo.lock pyproject.toml | $(VENV)/pyvenv.cfg
	@test -e $(VENV)/.dev || { echo "Installing what the demo needs (once) ..."; $(BIN)/python locks/install.py locks/demo.lock; }
	@$(BIN)/python -c 'import sysconfig, pathlib; pathlib.Path(sysconfig.get_path("purelib"), "alpha-checkout.pth").write_text(str(pathlib.Path.cwd()) + "\n", encoding="utf-8")'
	@$(BIN)/python -c 'import pathlib, shlex; python = shlex.quote(str(pathlib.Path.cwd() / "$(BIN)/python")); \
	  path = pathlib.Path("$(BIN)/alpha"); path.write_text(encoding="utf-8", data=f"#!/bin/sh\nexec {python} -m alpha_cli \"$$@\"\n"); path.chmod(0o755)'
	@touch $@

$(VENV)/.dev: locks/dev.lock $(VENV)/.demo
	@echo "Installing what the tests need (once) ..."
	@$(BIN)/python locks/install.py locks/dev.lock
	@touch $@

# What trains models, for the demo with one.
$(VENV)/.train: locks/train.lock $(VENV)/.demo
	@test -e $(VENV)/.dev || { echo "Installing what trains models (once) ..."; $(BIN)/python locks/install.py locks/train.lock; }
	@touch $@

demo: $(VENV)/.demo $(if $(findstring --with-model,$(ARGS)),$(VENV)/.train) ## the whole system on this machine: no keys, no Docker (DEMO_SECONDS=60, DEMO_REPLAY=DIR, ARGS=--with-model)
	@exec $(BIN)/python -m demo $(ARGS)

alpha: $(VENV)/.demo ## install the command .venv/bin/alpha
	@echo "$(BIN)/alpha"

psql: $(VENV)/.demo ## psql on the demo's database (ARGS='-c "SELECT ..."')
	@exec $(BIN)/python -m demo.psql $(ARGS)

simulator: $(VENV)/.demo ## the simulated exchange alone (ARGS='--port 8080 --account KEY:SECRET:10000')
	@exec $(BIN)/python -m exchange_simulator $(ARGS)

test: $(VENV)/.dev ## the tests that need no containers; prints the slowest
	@$(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder -m "not containers and not long and not slow" --durations 15 --durations-min 5 $(ARGS)

test-long: $(VENV)/.dev ## demos, parity of the strategies over days, the build of the documents
	@$(PYTEST) -n 2 --dist load -m "slow and not containers" --durations 10 $(ARGS)

test-containers: $(VENV)/.dev ## the container suite (needs a Docker engine)
	@$(PYTEST) -m "containers and not long" --timeout 1200 --durations 15 $(ARGS)

test-containers-long: $(VENV)/.dev ## what takes longest of it: an upgrade and the way back, a newer PostgreSQL, ill health of every service
	@$(PYTEST) -m "containers and long" --timeout 1800 --durations 10 $(ARGS)

test-swarm: $(VENV)/.dev ## a node of a Docker Swarm lost while bots trade (SWARM_ENGINE=program that makes the second engine)
	@$(PYTEST) -n 0 -m "containers and long" --timeout 3600 tests/containers/test_swarm.py $(ARGS)

newcomer: $(VENV)/.dev ## the README's commands on a machine that has nothing; prints the time to the first fill
	@$(PYTEST) -n 0 -m "long and not containers" -p no:cacheprovider tests/newcomer $(ARGS)

$(CLIENTS)/.installed: tests/clients/requirements.txt
	@$(PYTHON) -m venv $(CLIENTS)
	@echo "Installing the clients that are tried (once) ..."
	@$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@touch $@

$(MUTATION)/.installed: tests/mutation/requirements.txt
	@$(PYTHON) -m venv $(MUTATION)
	@$(MUTATION)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/mutation/requirements.txt
	@touch $@

mutation: $(VENV)/.dev $(MUTATION)/.installed ## mutants of the pure modules that no test notices (ARGS='--only stop_policy')
	@exec $(BIN)/python -m tests.mutation $(ARGS)

test-clients: $(VENV)/.demo $(CLIENTS)/.installed ## published clients on the simulated exchange at speed 1 and 60, as a table (ARGS='--only pybit')
	@$(BIN)/python -m tests.clients.run $(ARGS)

faults: $(VENV)/.dev ## the fault suite at length: 200 rounds, seed printed (ARGS='--rounds 20 --seed 7')
	@$(BIN)/python -m tests.faults $(ARGS)

properties: $(VENV)/.dev ## the simulated exchange's books over 5,000 random flows of every kind of account (about an hour)
	@$(BIN)/python -m pytest -q -m long exchange_simulator/tests/engine/test_properties.py $(ARGS)

accounts: $(VENV)/.dev ## hedge mode, isolated margin, USDC and fees in MNT at length: pages, guard, reconciliation against the exchange
	@$(BIN)/python -m pytest -q -n 0 tests/accounts risk_guard/tests/test_kinds_of_accounts.py trade_sync_service/tests/test_reconcile.py $(ARGS)

fence: $(VENV)/.dev ## freeze and takeover at length: 1,000 rounds, seed printed (ARGS='--rounds 100 --pairs 3')
	@$(BIN)/python -m tests.fence $(ARGS)
simulate: $(VENV)/.dev ## listener, bot and guard on a virtual clock with faults drawn from a seed (ARGS='--seeds 100000 --processes 2', ARGS='--seed 7 --trace')
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation $(ARGS)

fuzz: $(VENV)/.dev ## strange inputs at every border, seed printed (ARGS='--rounds 100000 --seed 7 env candles')
	@$(BIN)/python -m tests.fuzz $(ARGS)

test-ha: $(VENV)/.dev ## leaders of PostgreSQL and Redis and listeners killed, paused and cut off on loopback (ARGS='--rounds 7 --seed 1')
	@$(BIN)/python -m tests.ha $(ARGS)

bench: $(VENV)/.dev ## the benchmarks, each beside a floor measured in the same run
	@$(BIN)/python -m tests.benchmarks $(ARGS)

bench-history: $(VENV)/.dev ## the benchmark of the history, 10 million fills
	@$(BIN)/python -m tests.benchmarks.bench_history $(ARGS)

bench-growth: $(VENV)/.dev ## many bots on as many accounts of the simulated exchange (ARGS='--bots 60 --seconds 600')
	@$(BIN)/python -m tests.benchmarks.bench_growth $(ARGS)

lint: $(VENV)/.dev ## style, types and the rules of the house
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## put the code into its form
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev ## build the documents into site/
	@$(BIN)/python -m tests.docs.configuration
	@$(BIN)/python -m tests.docs.reference
	@$(BIN)/python -m tests.docs.diagrams
	@$(BIN)/python -m tests.docs.grafana
	@NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict && $(BIN)/python -m tests.docs.llms site && echo "site/index.html"

submodules: $(VENV)/.demo ## turn each strategy's folder into a submodule of its own repository
	@exec $(BIN)/python -m alpha_cli.submodules $(ARGS)

# django-htmx is here for the two files of htmx that it carries, which need no Django.
lock: $(VENV)/.dev ## resolve the locks anew, with hashes and without addresses
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@for group in dev demo models train strategy simulator dashboard api telegram backtest research ticks cli service; do \
	  extra=$$([ $$group = service ] || echo "--extra $$group"); \
	  constraint=$$([ $$group = dev ] || echo "-c locks/dev.lock"); \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-header --no-emit-package django --no-emit-package asgiref --no-emit-package sqlparse \
	    $$extra $$constraint pyproject.toml -o locks/$$group.lock || exit 1; done

images-pin: $(VENV)/.demo ## the digests of the base images, read from their registry (ARGS=--check)
	@$(BIN)/python docker/images_pin.py $(ARGS)

audit: | $(VENV)/pyvenv.cfg ## known weaknesses of every package in every lock; exits with 3 where nobody could be asked
	@test -x $(VENV)/audit/bin/pip-audit || { $(BIN)/python -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install \
	  --quiet --disable-pip-version-check pip-audit==2.10.1 || echo "pip-audit could not be installed" >&2; }
	@$(VENV)/audit/bin/python locks/audit.py

sbom: $(VENV)/.demo ## what is in each image of ours, a CycloneDX file each in build/sbom/
	@$(BIN)/python docker/sbom.py

clean: ## remove what was built and the demo's data
	@rm -rf $(VENV) .state .mypy_cache .ruff_cache .pytest_cache build *.egg-info
