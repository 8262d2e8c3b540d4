# Everything that is done with this tree is a target here, and CI runs the same ones. `make help` lists them.
#
# A step that succeeded leaves a stamp, so that a second `make setup` does nothing. All tools live in .venv (Python's, and
# links to node, npm, kubectl, docker-registry, wrk, gcc, podman and postgres), so no target depends on what else is on
# the PATH.

# Which Python to take; without a word scripts/python.sh chooses.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
ENGINE := js-engine/dist/skerry-js-engine.wasm
NODE_MODULES := js-engine/node_modules/.package-lock.json
PLUGINS := examples/wasmplugin
ASC_MODULES := .cache/wasm/add-header.wasm .cache/wasm/probe.wasm
C_MODULES := .cache/wasm/sentry.wasm
FUNCTIONS := tests/wasm/functions
FUNCTION_MODULES := $(addprefix .cache/wasm/,command-c.wasm command-go.wasm function-python.wasm filter-python.wasm \
	http-js.wasm)
HOST := $(wildcard src/skerry/engine/*.py src/skerry/engine/upstream/*.py)
WORLD := docs/reference/wit/skerry-function.wit
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Tests start hundreds of processes of ours: each would compile a thousand modules anew where no bytecode is kept.
unexport PYTHONDONTWRITEBYTECODE

# One room, for `make unit ROOM=api`; more arguments for pytest, for `make system ARGS="-k hello -x"`.
ROOM ?=
ARGS ?=
# How many processes run the tests: most of a system test is waiting, so two more than there are cores. JOBS=0 for one
# process, as a debugger wants it.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
# Files of tests begin in the order that tests/conftest.py gives them.
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-header pyproject.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
# Most of the set-up is waiting for servers: what does not need each other goes on side by side.
MAKEFLAGS += --jobs=3
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

say = @printf '\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1|/' \
		| while IFS='|' read -r target text; do printf '  make %-10s %s\n' "$$target" "$$text"; done

# ---- set up ----------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(STAMPS)/run $(ENGINE)  ## prepare .venv with the `skerry` command, and the engine component

.PHONY: compiled
compiled: $(STAMPS)/compiled  ## compile what each request goes through, where there is a C compiler

.PHONY: setup-dev
setup-dev: setup $(STAMPS)/dev $(STAMPS)/kubectl $(STAMPS)/registry $(STAMPS)/wrk $(STAMPS)/gcc $(STAMPS)/podman $(STAMPS)/postgres $(STAMPS)/s3 \
		$(ASC_MODULES) $(C_MODULES) $(FUNCTION_MODULES)  ## setup, and what the tests need

.PHONY: js-engine
js-engine: $(ENGINE)  ## build the engine component

$(STAMPS)/venv: scripts/python.sh scripts/python_build.py
	$(call say,Python environment)
	@PYTHON="$(PYTHON)" scripts/python.sh $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: $(STAMPS)/venv requirements.lock pyproject.toml
	$(call say,Python packages: this takes a minute the first time)
	@$(PIP) pip==25.3  # an older one takes a third of its time to compare what wheels are for
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps --editable .
	@$(BIN)/python -m compileall -q src  # pip leaves that to processes that start side by side, each for itself
	@touch $@

$(STAMPS)/dev: $(STAMPS)/run requirements-dev.lock
	$(call say,Python packages of the tests)
	@$(PIP) --no-compile -r requirements-dev.lock  # most of it is never imported
	@touch $@

# What is edited after this is interpreted until it is compiled again: `run`, `test` and `bench` do so, `unit` does not.
$(STAMPS)/compiled: $(STAMPS)/run requirements-compile.lock scripts/compile_host.py $(HOST)
	$(call say,Host of functions: this takes most of a minute)
	@$(PIP) -r requirements-compile.lock
	@$(BIN)/python scripts/compile_host.py
	@touch $@

$(STAMPS)/node: $(STAMPS)/run scripts/node.sh requirements-node.lock
	$(call say,Node.js)
	@scripts/node.sh $(VENV)
	@touch $@

$(NODE_MODULES): $(STAMPS)/node js-engine/package.json js-engine/package-lock.json
	$(call say,npm packages of js-engine)
	@cd js-engine && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(ENGINE): $(NODE_MODULES) $(wildcard js-engine/*.js js-engine/*.mjs js-engine/*.wit js-engine/web/*)
	$(call say,JavaScript engine component)
	@cd js-engine && npm run --silent build
	@touch $@

$(PLUGINS)/node_modules/.package-lock.json: $(STAMPS)/node $(PLUGINS)/package.json $(PLUGINS)/package-lock.json
	$(call say,npm packages of the plugins)
	@cd $(PLUGINS) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.cache/wasm/add-header.wasm: $(PLUGINS)/add-header.ts
.cache/wasm/probe.wasm: tests/wasm/probe.ts
$(ASC_MODULES): $(PLUGINS)/node_modules/.package-lock.json
	$(call say,Proxy-Wasm module $(notdir $@))
	@mkdir -p $(dir $@)
	@npm run --silent --prefix $(PLUGINS) asc -- $(CURDIR)/$(filter %.ts,$^) -b $(CURDIR)/$@

tests/wasm/node_modules/.package-lock.json: $(STAMPS)/node tests/wasm/package.json tests/wasm/package-lock.json
	$(call say,Clang)
	@cd tests/wasm && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.cache/wasm/%.wasm: tests/wasm/%.c tests/wasm/clang.mjs tests/wasm/node_modules/.package-lock.json
	$(call say,Proxy-Wasm module $(notdir $@))
	@mkdir -p $(dir $@)
	@node tests/wasm/clang.mjs $< $@

# Programs in four languages, for the tests of Wasm functions.
.cache/wasm/command-c.wasm: $(FUNCTIONS)/command.c tests/wasm/clang.mjs tests/wasm/node_modules/.package-lock.json
	$(call say,Wasm function $(notdir $@))
	@mkdir -p $(dir $@)
	@node tests/wasm/clang.mjs $< $@ command

.cache/wasm/command-go.wasm: $(FUNCTIONS)/command.go $(STAMPS)/dev
	$(call say,Wasm function $(notdir $@))
	@mkdir -p $(dir $@)
	@GOOS=wasip1 GOARCH=wasm GOCACHE=$(CURDIR)/.cache/go GOFLAGS= GO111MODULE=off \
		$(BIN)/go build -ldflags="-s -w" -o $@ $<

.cache/wasm/%-python.wasm: $(FUNCTIONS)/%_app.py $(WORLD) $(STAMPS)/dev
	$(call say,Wasm function $(notdir $@))
	@mkdir -p $(dir $@)
	@$(BIN)/componentize-py -q -d $(WORLD) -w $* componentize -p $(FUNCTIONS) $*_app -o $@

.cache/wasm/http-js.wasm: $(FUNCTIONS)/http.js $(FUNCTIONS)/componentize.mjs $(NODE_MODULES)
	$(call say,Wasm function $(notdir $@))
	@mkdir -p $(dir $@)
	@$(BIN)/node $(FUNCTIONS)/componentize.mjs js-engine/node_modules $@

# A server of S3's API, for the tests of artifacts in a bucket.
$(STAMPS)/s3: $(STAMPS)/node tests/s3/package.json tests/s3/package-lock.json
	$(call say,s3rver)
	@cd tests/s3 && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(STAMPS)/kubectl: $(STAMPS)/venv scripts/kubectl.sh scripts/debian.sh
	$(call say,kubectl)
	@scripts/kubectl.sh $(BIN)/kubectl
	@touch $@

$(STAMPS)/registry: $(STAMPS)/venv scripts/registry.sh scripts/debian.sh
	$(call say,docker-registry)
	@scripts/registry.sh $(BIN)/docker-registry
	@touch $@

$(STAMPS)/wrk: $(STAMPS)/venv scripts/wrk.sh scripts/debian.sh
	$(call say,wrk)
	@scripts/wrk.sh $(BIN)/wrk
	@touch $@

$(STAMPS)/etcd: $(STAMPS)/venv scripts/etcd.sh scripts/debian.sh
	$(call say,etcd)
	@scripts/etcd.sh $(BIN)/etcd
	@touch $@

$(STAMPS)/gcc: $(STAMPS)/venv scripts/gcc.sh scripts/debian.sh
	$(call say,gcc)
	@scripts/gcc.sh $(BIN)/gcc
	@touch $@

$(STAMPS)/postgres: $(STAMPS)/venv scripts/postgres.sh scripts/debian.sh
	$(call say,PostgreSQL)
	@scripts/postgres.sh $(BIN)
	@touch $@

$(STAMPS)/podman: $(STAMPS)/venv scripts/podman.sh scripts/debian.sh
	$(call say,podman)
	@scripts/podman.sh $(BIN)/podman
	@touch $@

# ---- run -------------------------------------------------------------------------------------------------

.PHONY: run
run: setup compiled  ## start Skerry, apply examples/hello, print the URLs, stay in the foreground
	@exec $(BIN)/skerry up --apply examples/hello

# ---- check -----------------------------------------------------------------------------------------------

.PHONY: test
test: lint setup-dev compiled  ## everything: lint, then all tests, with real Envoy, Wasm and kubectl
	$(call say,tests)
	@$(PYTEST) $(ARGS)

.PHONY: lint
lint: $(STAMPS)/dev  ## formatting, ruff, mypy --strict, import contracts
	$(call say,lint)
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

.PHONY: format
format: setup-dev  ## rewrite the sources as ruff formats them, and apply its safe fixes
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: unit
unit: setup-dev  ## the tests without processes, in under a minute; ROOM=store for one room
	@$(PYTEST) $(if $(ROOM),$(wildcard tests/unit/$(ROOM) tests/contract/$(ROOM) tests/golden/$(ROOM)),\
		$(wildcard tests/unit tests/contract tests/golden)) $(ARGS)

.PHONY: system
system: setup-dev  ## the tests with real processes
	@$(PYTEST) tests/system $(ARGS)

.PHONY: fuzz
fuzz: setup-dev  ## whatever input, for long: schemathesis and hypothesis with 50 times the examples
	@$(BIN)/pytest --hypothesis-profile=fuzz --timeout=0 tests/system/clients/test_openapi.py tests/system/clients/test_fleet_openapi.py \
		tests/unit/server/kube tests/unit/server/verbs tests/unit/api $(ARGS)

.PHONY: bench
bench: setup-dev compiled $(STAMPS)/etcd  ## measure, and print the figures (bench/README.md)
	@$(BIN)/python bench $(ARGS)

# ---- keep ------------------------------------------------------------------------------------------------

.PHONY: lock
lock: $(STAMPS)/node  ## make the lock files again from pyproject.toml and package.json
	@$(PIP) uv
	@$(COMPILE) --output-file requirements.lock
	@$(COMPILE) --group dev --constraints requirements.lock --output-file requirements-dev.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --no-header \
		--group bench --output-file requirements-bench.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --no-header \
		--group compile --constraints requirements-dev.lock --output-file requirements-compile.lock
	@$(COMPILE) --extra node --constraints requirements.lock --output-file requirements-node.lock
	@cd js-engine && npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund
	@$(BIN)/python scripts/complete_package_lock.py js-engine/package-lock.json
	@for folder in $(PLUGINS) tests/wasm tests/s3; do (cd $$folder && \
		npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund); done

.PHONY: clean
clean:  ## remove everything that was built or installed; data in .skerry stays
	rm -rf $(VENV) $(PLUGINS)/node_modules $(PLUGINS)/build tests/wasm/node_modules tests/s3/node_modules js-engine/node_modules js-engine/dist .cache \
		.pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist src/skerry/_compiled
