# `make` lists the targets. Needs Python 3.11-3.13 with venv or pip, make and git; nothing as root.

# The caller's own Python settings belong to another project; make's own chatter spoils `env`.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHONSTARTUP VIRTUAL_ENV
MAKEFLAGS += --no-print-directory

# What is given on make's command line (TODAY=, RECORDED=, DATE=, ARGS=, PYTHON=) reaches the commands
# through the environment: any quoting survives that. So does DEADLINE_MINUTES= of `run`.

BIN := .venv/bin
READY := .venv/.ready
LOCAL := $(BIN)/python -m local
# Whole suites run in several processes, each with a database server of its own.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help run warehouse up down env load dbt prove takeover upgrade roles test test-faults lint fmt audit clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: $(READY) ## the whole thing: history, then a week of increments, through Airflow; a summary
	@$(LOCAL) run

warehouse: $(READY) ## start PostgreSQL, create the tables, leave it running
	@$(LOCAL) warehouse

up: $(READY) ## start PostgreSQL, the report API stand-in and Airflow with its UI, leave them running
	@$(LOCAL) up

down: $(READY) ## stop what the commands here have started
	@$(LOCAL) down

env: $(READY) ## print the settings of psql, dbt and the loader: eval "$(make -s env)"
	@$(LOCAL) env

load: $(READY) ## load the history, or one day: make load DATE=2024-02-25
	@$(LOCAL) load

dbt: $(READY) ## run dbt: make dbt ARGS='run --vars "{ds: 2024-02-25}"'
	@$(LOCAL) dbt

prove: $(READY) ## run the last days again, build the marts afresh, compare row for row
	@$(LOCAL) prove

takeover: $(READY) ## take over a warehouse of the old pipeline: make takeover ARGS=--plan
	@settings=$$($(LOCAL) env) && eval "$$settings" && $(BIN)/python -m migrations takeover $$ARGS

upgrade: $(READY) takeover ## the name of takeover in version 0.1

roles: $(READY) ## make the accounts loader, transformer and reader, or update their rights
	@settings=$$($(LOCAL) env) && eval "$$settings" && psql -X -q -v ON_ERROR_STOP=1 -c 'call staging.create_roles()'

test: $(READY) ## run the tests: make test ARGS='-k refund'
	@ARGS="$${ARGS:-$(SIDE_BY_SIDE)}" $(LOCAL) test

test-faults: $(READY) ## run the tests of kills, races and faults, which take minutes
	@ARGS="-m faults $${ARGS:-$(SIDE_BY_SIDE)}" $(LOCAL) test

lint: $(READY) ## check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

fmt: $(READY) ## format, and fix what can be fixed
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

audit: $(READY) ## check the locked dependencies for known vulnerabilities
	@local/audit.sh

clean: ## stop everything and remove .venv, .local (the data too) and dbt's output
	@if [ -d .local/processes ]; then $(MAKE) down; fi
	@rm -rf .venv .local dbt_project/target dbt_project/logs logs

$(READY): pyproject.toml uv.lock local/bootstrap.sh local/uv-requirements.txt
	@local/bootstrap.sh $@
