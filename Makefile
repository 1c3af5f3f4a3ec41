# Holdfast and Stockroom: `make run` and `make test` are all a newcomer needs.
#
# `make setup` needs Python 3.11 or newer with pip and venv (Debian: python3 python3-pip python3-venv).
# It builds two virtual environments: .tools/ holds uv, pinned and hashed; .venv/ holds everything
# else, from requirements.txt, pinned and hashed, with both packages editable. Stamps make a second
# run instant. Where there is no `uv` on PATH and /usr/local/bin can be written to, it links one there,
# so that `uv run holdfast` works from this folder; otherwise it says what to do.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# Goals are steps of one build in one environment; pytest and mypy find their own parallelism.
.NOTPARALLEL:

export UV_PYTHON_DOWNLOADS := never
# Compiled once, not by each of the hundreds of processes that the tests start: an environment which
# forbids Python to keep bytecode more than doubles what the start of a command costs.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE
# An environment that happens to be active must not be taken for ours.
unexport VIRTUAL_ENV

TOOLS := .tools
VENV := .venv
BIN := $(VENV)/bin
# The full path: the same program, whether or not one is on PATH.
UV := $(CURDIR)/$(TOOLS)/bin/uv
LINK_DIR ?= /usr/local/bin
PYTEST_ARGS ?=
# Most tests wait for processes that they have started, and leave half of a core idle: three run at a time
# on two cores. `WORKERS=0`: one after another.
WORKERS ?= 3
# What is quick waits for nobody.
FAST_WORKERS ?= 2
FAST_TESTS := engine/tests/unit engine/tests/conformance engine/tests/system stockroom/tests/unit
MODULES := browser/node_modules
WEB := stockroom/web
WEB_MODULES := $(WEB)/node_modules
# The app brings the replica program of its schema: what compiles it is a source of it, too.
WEB_PROGRAM = engine/src/holdfast/schema engine/src/holdfast/sql engine/src/holdfast/core stockroom/src/stockroom
WEB_SOURCES = $(shell find $(WEB)/src $(WEB)/public $(WEB)/tools browser/src -type f) $(shell find $(WEB_PROGRAM) -name '*.py') \
	$(wildcard $(WEB)/*.ts $(WEB)/*.js $(WEB)/index.html)
# What `make run` serves; kept between runs, and removed by `make distclean`.
SHOP := .shop
PORT ?= 8040
BENCH_ARGS ?=
# `make soak SOAK_SECONDS=60 SEED=7 SOAK_ARGS="--on sqlite --json soak.json"`
SOAK_SECONDS ?= 600
SEED ?=
SOAK_ARGS ?=
# `make search MINUTES=60 SEED=7`
MINUTES ?= 10
SEARCH_ARGS ?=

# The first Python on PATH that is new enough and complete; looked for only when it is needed.
FIND_PYTHON = for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys, venv, ensurepip; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)' \
		2>/dev/null && exit 0; \
	done; \
	echo 'make setup needs Python 3.11 or newer with pip and venv (Debian: apt-get install python3 python3-pip python3-venv)' >&2; \
	exit 1

.PHONY: help
help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

# --- set-up -------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.stamp-packages uv-on-path browser-setup $(WEB_MODULES)/.stamp ## Install everything that is needed (instant when done before)

$(TOOLS)/.stamp-uv: tools/requirements-uv.txt
	@echo "Installing uv into $(TOOLS)/"
	python="$$($(FIND_PYTHON))"
	test -x $(TOOLS)/bin/python || "$$python" -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

$(VENV)/.stamp-requirements: $(TOOLS)/.stamp-uv requirements.txt
	@echo "Installing the pinned requirements into $(VENV)/"
	python="$$($(FIND_PYTHON))"
	test -x $(BIN)/python || UV_PYTHON="$$python" $(UV) venv --quiet --clear $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.txt
	touch $@

# Built with the pinned backend that is already there. The lock is made here too: `uv run` then starts
# at once, and finds the environment exactly as it wants it.
$(VENV)/.stamp-packages: $(VENV)/.stamp-requirements pyproject.toml engine/pyproject.toml stockroom/pyproject.toml
	@echo "Installing holdfast and stockroom, editable"
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e engine -e stockroom
	$(UV) lock --quiet
	touch $@

.PHONY: uv-on-path
uv-on-path: $(TOOLS)/.stamp-uv
	@if ! command -v uv >/dev/null; then \
		if [ -w '$(LINK_DIR)' ]; then \
			ln -sfn '$(UV)' '$(LINK_DIR)/uv' && echo 'Linked $(LINK_DIR)/uv -> $(UV)'; \
		else \
			echo 'No uv on PATH: use $(BIN)/holdfast and $(BIN)/stockroom, or put $(UV) on PATH for "uv run".'; \
		fi; \
	fi

# The browser replica needs Node and npm, and for its tests a Chromium; the app has a story in Firefox, too.
# Where they are missing and this is Debian's root, they are installed; otherwise what needs them says so and is
# left out.
.PHONY: browser-setup
browser-setup: $(MODULES)/.stamp
	@for browser in chromium firefox-esr; do
		if command -v $$browser >/dev/null; then continue; fi
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
			echo "Installing $$browser, for the tests in browsers"
			{ timeout 120 apt-get update && timeout 300 apt-get install -y --no-install-recommends $$browser; } >/dev/null 2>&1 \
				|| echo "$$browser could not be installed: tests in it will be skipped" >&2
		else
			echo "No $$browser (Debian: apt-get install $$browser): tests in it will be skipped" >&2
		fi
	done

$(MODULES)/.stamp: browser/package.json browser/package-lock.json
	@if ! command -v npm >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo 'Installing Node and npm, for the browser replica'
		{ apt-get update && apt-get install -y --no-install-recommends nodejs npm; } >/dev/null 2>&1 || true
	fi
	if ! command -v npm >/dev/null; then
		echo 'No npm (Node 20 or newer): the browser replica cannot be built or tested' >&2
		exit 0
	fi
	echo 'Installing the packages of the browser replica'
	cd browser && npm ci --silent --ignore-scripts
	touch node_modules/.stamp

$(WEB_MODULES)/.stamp: $(WEB)/package.json $(WEB)/package-lock.json $(MODULES)/.stamp
	@if ! command -v npm >/dev/null; then exit 0; fi
	echo 'Installing the packages of the web app'
	cd $(WEB) && npm ci --silent --ignore-scripts
	touch node_modules/.stamp

# --- use ----------------------------------------------------------------------------------------

# The server takes the place of make's shell, so that a signal reaches it and its exit code counts.
.PHONY: run tour web
run: setup web ## Open the app: the demo of an invented retailer, in the browser
	@mkdir -p $(SHOP)
	exec $(BIN)/stockroom serve --demo --database $(SHOP)/demo.db --port $(PORT)

web: setup $(WEB)/dist/index.html ## Build the web app (only when something of it has changed)

$(WEB)/dist/index.html: $(WEB_MODULES)/.stamp $(WEB_SOURCES)
	@if [ ! -f $(WEB_MODULES)/.stamp ]; then echo 'The web app cannot be built: there is no npm' >&2; exit 0; fi
	echo 'Building the web app'
	cd $(WEB) && npm run --silent build -- --logLevel warn
	touch dist/index.html

tour: setup ## The eight steps, one after another, on this machine
	$(BIN)/stockroom tour

# --- check --------------------------------------------------------------------------------------

.PHONY: test test-fast lint format bench soak search
test: setup web ## Every test, all tiers; what fails runs once more, alone, at the end
	$(BIN)/python tools/run_tests.py -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-fast: setup ## While you work: what is quick of the unit, property and conformance tests, on SQLite
	HOLDFAST_EXAMPLES=0.25 $(BIN)/pytest -n $(FAST_WORKERS) --dist worksteal -m 'not acceptance and not slow' \
		$(PYTEST_ARGS) $(FAST_TESTS)

# Every check runs and reports, also when an earlier one has failed.
lint: setup ## Style, types and the rules of the house
	@failed=0
	$(BIN)/ruff check . || failed=1
	$(BIN)/ruff format --check . || failed=1
	$(BIN)/mypy || failed=1
	$(BIN)/python tools/check_house.py || failed=1
	$(BIN)/python tools/protocol_schema.py --check && $(BIN)/python tools/protocol_types.py --check || failed=1
	$(BIN)/python tools/app_schema.py --check || failed=1
	if [ -f $(MODULES)/.stamp ]; then
		(cd browser && npm run --silent check && npm run --silent lint) || failed=1
	else
		echo 'browser/ was not checked: there is no npm'; failed=1
	fi
	if [ -f $(WEB_MODULES)/.stamp ]; then
		(cd $(WEB) && npm run --silent check && npm run --silent lint) || failed=1
	else
		echo '$(WEB) was not checked: there is no npm'; failed=1
	fi
	$(EXPORT) | diff requirements.txt - || { echo 'requirements.txt is stale: run make requirements'; failed=1; }
	exit $$failed

format: setup ## Format, sort imports, fix what can be fixed safely
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .
	if [ -f $(MODULES)/.stamp ]; then (cd browser && npm run --silent format); fi
	if [ -f $(WEB_MODULES)/.stamp ]; then (cd $(WEB) && npm run --silent format); fi

bench: setup ## Measure the workloads and print ratios
	$(BIN)/python engine/benchmarks/run.py $(BENCH_ARGS)

soak: setup ## Ten minutes of real processes while everything goes wrong: is anything lost or doubled?
	exec $(BIN)/python engine/soak/soak.py --seconds $(SOAK_SECONDS) --seed $(or $(SEED),1) $(SOAK_ARGS)

search: setup web ## Ten minutes of properties, worlds and monkeys drawn anew: is there a counterexample?
	exec $(BIN)/python tools/search.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(SEARCH_ARGS)

# --- keep ---------------------------------------------------------------------------------------

# No header and no index lines: the list names packages and hashes, never the place they come from.
EXPORT = UV_FIND_LINKS= $(UV) export --quiet --all-packages --no-emit-workspace --no-header --no-annotate

.PHONY: requirements upgrade protocol clean distclean
protocol: setup ## Write the schemas, their TypeScript types and the vectors anew
	$(BIN)/python tools/protocol_schema.py
	$(BIN)/python tools/protocol_types.py
	$(BIN)/python tools/app_schema.py
	cd tools && ../$(BIN)/python -m golden


requirements: $(TOOLS)/.stamp-uv ## Write requirements.txt anew after a dependency was added or removed
	UV_FIND_LINKS= $(UV) lock
	$(EXPORT) > requirements.txt.new
	mv requirements.txt.new requirements.txt

upgrade: $(TOOLS)/.stamp-uv ## Move to the newest versions of a week ago
	sed -i -E "s/^exclude-newer = .*/exclude-newer = \"$$(date -u -d '7 days ago' +%Y-%m-%dT00:00:00Z)\"/" pyproject.toml
	UV_FIND_LINKS= $(UV) lock --upgrade
	$(MAKE) requirements setup

clean: ## Remove caches and build output
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist engine/dist stockroom/dist
	rm -rf browser/dist browser/tests/.build $(WEB)/dist $(WEB)/tests/.build
	find engine stockroom tools browser/tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the environments too: as freshly cloned
	rm -rf $(VENV) $(TOOLS) $(MODULES) $(WEB_MODULES) $(SHOP) uv.lock
