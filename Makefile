# Brainstem: everything a person types. `make help` shows it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

PORT ?= 8080
DATA ?=
MBOX ?=
FILE ?=
BACKEND ?= embedded
PROVIDER ?=
MAILS ?=
MAILBOXES ?=
PROCESSES ?=
CHANGES ?= 100
KILLS ?= 0
NOW ?=
REFUSE ?= 0
FAULTS ?=
QUOTA ?=
OUTAGE ?= 0
SEED ?= 1
SEEDS ?= 100
FIRST ?= 1
CRASHES ?=
JSON ?=
T ?=
JOBS ?= 2
NEW ?=
DAYS ?= 365
WHO ?=
ROLE ?= admin

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONPATH := $(CURDIR)

##@ See it

.PHONY: run
run: $(VENV)/.runtime ## Start everything here and follow two mailboxes live (PORT=8080 DATA=.data/run MBOX=your mail PROVIDER=google BACKEND=emulators)
	@exec $(BIN)/python -m infra.local.run --port "$(PORT)" --data "$(DATA)" --mbox "$(MBOX)" --backend "$(BACKEND)" \
		--provider "$(PROVIDER)"

.PHONY: demo
demo: $(VENV)/.runtime ## Backfill under fire, then a verdict (MAILS=2000 CHANGES=100 KILLS=0 REFUSE=0 FAULTS=all QUOTA=2026 SEED=1 MBOX= PROVIDER=microsoft BACKEND=emulators OUTAGE=60 JSON=1)
	@exec $(BIN)/python -m infra.local.demo $(if $(MAILS),--mails "$(MAILS)") --changes "$(CHANGES)" --kills "$(KILLS)" \
		--refuse "$(REFUSE)" --faults "$(FAULTS)" --quota "$(QUOTA)" --seed "$(SEED)" --mbox "$(MBOX)" \
		--backend "$(BACKEND)" --outage "$(OUTAGE)" --provider "$(PROVIDER)" \
		$(if $(filter-out 0,$(JSON)),--json)

##@ Work on it

.PHONY: check
check: $(VENV)/.tests ## Lint, types, unit and docs tests: the one gate
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -n $(JOBS) tests/unit

.PHONY: test
test: $(VENV)/.tests $(if $(T),,check) ## The gate, then all other tests (T="tests/unit -k fold" runs just what pytest is told to)
	@$(BIN)/python -m pytest -n $(JOBS) $(or $(T),tests --ignore tests/unit)

.PHONY: chaos
chaos: $(VENV)/.tests ## Simulate crashes, races and faults, one run per seed (SEEDS=100 FIRST=1 JOBS=2 JSON=1 CRASHES=1)
	@$(BIN)/python -m tests.chaos.simulation --seeds "$(SEEDS)" --first "$(FIRST)" --jobs "$(JOBS)" \
		$(if $(filter-out 0,$(JSON)),--json)
ifneq ($(filter-out 0,$(CRASHES)),)
	@$(BIN)/python -m tests.chaos.crashes --jobs "$(JOBS)"
endif

.PHONY: bench
bench: $(VENV)/.tests ## Operations, CPU and latency per mail, beside a naive pipeline
	@exec $(BIN)/python -m tests.bench

.PHONY: soak
soak: $(VENV)/.tests ## Hours of 200 mailboxes under every fault, then a verdict (MAILS=100000 MAILBOXES=200 SEED=1 PROCESSES=2 JSON=1)
	@exec $(BIN)/python -m tests.soak --seed "$(SEED)" $(if $(MAILS),--mails "$(MAILS)") \
		$(if $(MAILBOXES),--mailboxes "$(MAILBOXES)") $(if $(PROCESSES),--processes "$(PROCESSES)") \
		$(if $(filter-out 0,$(JSON)),--json)

.PHONY: import-archive
import-archive: $(VENV)/.runtime ## An export as the beginning of a data folder of your own (FILE=archive.ndjson.gz DATA=.data/mine)
	@exec $(BIN)/python -m infra.local.import_archive "$(FILE)" --data "$(or $(DATA),.data/run)"

##@ Keep house

.PHONY: rotate-keys
rotate-keys: $(VENV)/.runtime ## A new key for our own access tokens (DATA=.data/run, or BACKEND=cloud; NOW=1 if the old one was stolen)
	@BACKEND="$(BACKEND)" $(BIN)/python -m infra.rotate_keys --data "$(or $(DATA),.data/run)" \
		$(if $(filter-out 0,$(NOW)),--now)

.PHONY: role
role: $(VENV)/.runtime ## Make somebody who signs in here an admin (WHO=user_id ROLE=admin, service or owner; DATA, BACKEND=cloud)
	@BACKEND="$(BACKEND)" $(BIN)/python -m infra.role "$(WHO)" "$(ROLE)" --data "$(or $(DATA),.data/run)"

.PHONY: rewrap
rewrap: $(VENV)/.runtime ## Wrap all data keys under the newest vault key (NEW=1 adds one first; DATA=.data/run, or BACKEND=cloud)
	@BACKEND="$(BACKEND)" $(BIN)/python -m infra.vault --data "$(or $(DATA),.data/run)" rewrap \
		$(if $(filter-out 0,$(NEW)),--new)

.PHONY: rotate-data-keys
rotate-data-keys: $(VENV)/.runtime ## New data keys for people whose key is old (DAYS=365; DATA=.data/run, or BACKEND=cloud)
	@BACKEND="$(BACKEND)" $(BIN)/python -m infra.vault --data "$(or $(DATA),.data/run)" rotate --days "$(DAYS)"

.PHONY: clean
clean: ## Remove the environment and all caches; what is in .data stays
	@rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-16s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo

$(VENV)/.python:
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "There is no $(PYTHON): install Python 3.11 or later, or name one with PYTHON=path." >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$("$(PYTHON)" -V): Brainstem needs 3.11 or later; name another with PYTHON=path." >&2; exit 2; }
	@echo "Creating $(VENV) and installing what is pinned; this takes a minute, once." >&2
	@"$(PYTHON)" -m venv --clear $(VENV) || { \
		echo "$(PYTHON) cannot create an environment: install its venv package (python3-venv on Debian)." >&2; exit 2; }
	@touch $@

# One line of progress on a terminal, nothing in a log file; pip's own words only if it fails.
define install
	@if [ -t 2 ]; then show='/^(Collecting|Downloading|Installing)/ {printf "\r\033[K  %.100s", $$0; fflush()}'; \
	else show='/^Successfully/ {n = NF - 2} END {if (n) print "  " n " packages"}'; fi; \
	$(BIN)/python -m pip install --progress-bar off -r $(1) | awk "$$show" >&2
	@if [ -t 2 ]; then printf '\r\033[K' >&2; fi
	@touch $@
endef

$(VENV)/.runtime: $(VENV)/.python requirements.txt
	$(call install,requirements.txt)

$(VENV)/.tests: $(VENV)/.runtime tests/requirements.txt
	$(call install,tests/requirements.txt)
