# make run: install, run what is stale, show the results.  make test: install, lint, the whole test suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help run tour serve cluster test lint bench clean

help:
	@echo "make run    the whole default pipeline, then the table of results and the path of the report"
	@echo "make tour   a handful of runs in under two minutes"
	@echo "make serve  Prefect's server, and the nightly run at CRON (every night at three), until it is ended"
	@echo "make test   ruff and the test suite"
	@echo "make cluster  what a coordinator or worker of a cluster needs (docs/cluster.md)"
	@echo "make bench  speed beside the libraries people use (an environment of its own)"

# torch first and alone: a later package must not pull another build of it
$(VENV)/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); set PYTHON=python3.11"; exit 2; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) || { echo "error: could not make $(VENV); on Debian: apt-get install python3-venv"; exit 2; }
	@echo "installing the pinned packages into $(VENV) (about 2 GB, two minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

# clusters and S3, which the tests need too
$(VENV)/.installed-cluster: requirements-cluster.lock $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-cluster.lock
	@touch $@

cluster: $(VENV)/.installed-cluster

run: $(VENV)/.installed
	@$(BIN)/python -m pipelines.repro

tour: $(VENV)/.installed
	@$(BIN)/python -m pipelines.repro evaluate@prod2vec evaluate@deepwalk evaluate@vae

CRON ?= 0 3 * * *
serve: $(VENV)/.installed
	@$(BIN)/python -m pipelines.nightly --cron "$(CRON)"

lint: $(VENV)/.installed
	@$(BIN)/ruff check .

test: lint $(VENV)/.installed-cluster
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

bench: $(VENV)/.installed
	@[ -x bench/.venv/bin/python ] || $(BIN)/python -m venv bench/.venv
	@echo "$(CURDIR)/$$(ls -d $(VENV)/lib/python3*/site-packages)" > "$$(ls -d bench/.venv/lib/python3*/site-packages)/project.pth"
	@bench/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r bench/requirements.txt
	@bench/.venv/bin/python -m bench --quick

clean:
	rm -rf data/raw data/clean data/quarantine data/prepared data/models/[!n]* data/checkpoints reports/samples reports/validation
