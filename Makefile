# `make` lists the targets. Needs Python 3.11-3.13 with venv or pip, make and git; nothing as root.

# These count on make's command line only, because names so common are also exported by chance. They
# reach the commands through the environment, where no quoting gets lost.
GIVEN := DATE TODAY RECORDED ARGS PYTHON DEADLINE_MINUTES
unexport $(foreach name,$(GIVEN),$(if $(filter command,$(origin $(name))),,$(name)))

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

BIN := .venv/bin
READY := .venv/.ready
# -E ignores the caller's Python settings, which belong to another project. local/environment.py says
# what else reaches the programs. -B keeps root from leaving files in somebody's checkout.
PYTHON_HERE := $(BIN)/python -E -B
LOCAL := $(PYTHON_HERE) -m local
# A whole suite runs in several processes, each with a database server of its own.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadgroup

# A virtual environment holds its own path, so it is made again if the checkout was moved or copied.
ifneq ($(file <$(READY)),$(CURDIR))
  .PHONY: $(READY)
endif

# With -w, make prints "Entering directory" before the first command's output, into the eval of `env`.
# It prints nothing if it collects output and there is none. So the commands write past make.
ifeq ($(MAKECMDGOALS) $(findstring w,$(firstword -$(MAKEFLAGS))),env w)
  MAKEFLAGS += -j2 --output-sync
  PAST_MAKE := >>/proc/$$PPID/fd/1 2>>/proc/$$PPID/fd/2
endif

.DEFAULT_GOAL := help
.PHONY: help run warehouse up down env load dbt docs doctor prove takeover upgrade report roles test test-faults test-report test-workers test-image bench lint fmt audit clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: $(READY) ## run the history, then a week of increments, through Airflow; print a summary
	@$(LOCAL) run

warehouse: $(READY) ## start PostgreSQL, create the tables, leave it running
	@$(LOCAL) warehouse

up: $(READY) ## start PostgreSQL, the report API stand-in and Airflow with its UI, leave them running
	@$(LOCAL) up

down: $(READY) ## stop what the commands here have started
	@$(LOCAL) down

env: $(READY) ## print the settings of psql, dbt and the loader: eval "$(make -s env)"
	@$(LOCAL) env $(PAST_MAKE)

load: $(READY) ## load the history, or one day: make load DATE=2024-02-25
	@$(LOCAL) load

dbt: $(READY) ## run dbt: make dbt ARGS='run --vars "{ds: 2024-02-25}"'
	@$(LOCAL) dbt

docs: $(READY) ## write dbt's documentation as one HTML file, print where it is
	@ARGS='--quiet docs generate --static' $(LOCAL) dbt
	@echo $(CURDIR)/dbt_project/target/static_index.html

doctor: $(READY) ## how everything is, and what mends it; changes nothing: make doctor ARGS=--json
	@$(LOCAL) doctor

prove: $(READY) ## run the last days again, build the marts afresh, compare row for row
	@$(LOCAL) prove

takeover: $(READY) ## take over a warehouse of the old pipeline: make takeover ARGS=--plan
	@settings=$$($(LOCAL) env) && eval "$$settings" && $(PYTHON_HERE) -m migrations takeover $$ARGS

upgrade: $(READY) takeover ## the name that takeover had in version 0.1

report: $(READY) ## write the page for analysts again: .local/report.html
	@settings=$$($(LOCAL) env) && eval "$$settings" && $(PYTHON_HERE) -m report --output "$${REPORT_PAGE:-.local/report.html}"

roles: $(READY) ## make the accounts loader, transformer and reader, or update their rights
	@settings=$$($(LOCAL) env) && eval "$$settings" && $(PYTHON_HERE) -m migrations roles

test: $(READY) ## run the tests: make test ARGS='-k refund'
	@ARGS="$${ARGS:-$(SIDE_BY_SIDE)}" $(LOCAL) test

test-faults: $(READY) ## run the tests of kills, races and faults, which take minutes
	@ARGS="-m faults $${ARGS:-$(SIDE_BY_SIDE)}" $(LOCAL) test

bench: $(READY) ## measure what runs cost, compared with other tools: make bench ARGS=--quick
	@$(BIN)/python -m bench $$ARGS

test-report: $(READY) ## test the page for analysts in a browser
	@ARGS="-m browser $${ARGS:-$(SIDE_BY_SIDE)}" $(LOCAL) test

test-workers: $(READY) ## test both DAGs on two workers that share no disk; needs redis-server
	@ARGS="-m workers $$ARGS" $(LOCAL) test

test-image: $(READY) ## check deploy/: its files by their rules, the image's build in a clean root
	@ARGS="-m image $$ARGS" $(LOCAL) test

lint: $(READY) ## check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(PYTHON_HERE) -m mypy
	@$(LOCAL).lint_sql

fmt: $(READY) ## format, and fix what can be fixed
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

audit: $(READY) ## check the locked dependencies for known vulnerabilities
	@$(LOCAL) audit

clean: ## stop everything and remove .venv, .local (the data too) and dbt's output
	@if [ -d .local/processes ]; then $(MAKE) down; fi
	@rm -rf .venv .local dbt_project/target dbt_project/logs logs

$(READY): pyproject.toml uv.lock local/bootstrap.sh local/install.py local/uv-requirements.txt
	@local/bootstrap.sh $@ $(PAST_MAKE)
