# Short commands, the same on a laptop and in CI. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
KERAS_VENV := .venv-keras
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# uv trusts whom the machine trusts, as pip does,
export UV_SYSTEM_CERTS := true
# compiles once what every process would, where Python may not write its bytecode
export UV_COMPILE_BYTECODE := true
# and looks for wheels where pip is told to look, such as a folder with a CPU build of torch
FIND_LINKS = $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
UI_PORT ?= 5000
SERVE_PORT ?= 5001
PIPELINE ?= pos
FUZZ_FILES ?= 2000
FUZZ_SECONDS ?= 300

.PHONY: help setup repro test test-cluster soak test-keras fuzz lint bench bench-full sweep serve reproduce cluster ui schema lock clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.done  ## install everything into .venv; does nothing the second time

$(VENV)/.done: requirements.lock pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	UV_FIND_LINKS="$(FIND_LINKS)" VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet -r requirements.lock
	UV_FIND_LINKS="$(FIND_LINKS)" VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --no-deps --editable .
	touch $@

repro: setup  ## corpora -> two registered models, every stage that is not up to date
	dvc repro

test: setup  ## unit tests, then the real stages on small corpora
	pytest

test-cluster: setup  ## what takes minutes: kills, lost nodes, full disks, S3, a killed dvc repro
	pytest -n 0 tests/cluster

soak: setup  ## the same with 200 kills of workers; an hour
	UNROLL_KILLS=200 pytest -n 0 tests/cluster/test_faults.py -k killed_at_random

test-keras: $(KERAS_VENV)/.done  ## hold the layers and their weights against Keras itself, in an environment of its own
	KERAS_HOME=$(KERAS_VENV) KERAS_BACKEND=torch OMP_NUM_THREADS=1 PYTHONPATH=.:tests/unit \
		$(KERAS_VENV)/bin/python tests/parity/check.py

$(KERAS_VENV)/.done: tests/parity/requirements.txt
	test -x $(KERAS_VENV)/bin/python || $(PYTHON) -m venv $(KERAS_VENV)
	$(KERAS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	UV_FIND_LINKS="$(FIND_LINKS)" VIRTUAL_ENV=$(KERAS_VENV) $(KERAS_VENV)/bin/uv pip install --quiet -r $<
	touch $@

fuzz: $(VENV)/.fuzz  ## mutated and guided input for every reader, ten minutes; FUZZ_FILES=100000 FUZZ_SECONDS=300 for more or less
	POLARS_MAX_THREADS=1 python tests/fuzz/readers.py --number $(FUZZ_FILES)
	POLARS_MAX_THREADS=1 python tests/fuzz/guided.py -max_total_time=$(FUZZ_SECONDS) -max_len=4000 -verbosity=0

$(VENV)/.fuzz: tests/fuzz/requirements.txt $(VENV)/.done
	UV_FIND_LINKS="$(FIND_LINKS)" VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet -r $<
	touch $@

lint: setup  ## format, rules, types, directions between the rooms
	ruff format --check .
	ruff check .
	mypy

bench: setup  ## ours beside plain torch: speed, memory, start-up, time to a score; quick
	python benchmarks/run.py

bench-full: setup  ## the same with whole epochs, all networks, accuracies over three seeds, and much data; long
	python benchmarks/run.py --full
	python benchmarks/scale.py

sweep: setup  ## search for the best network as params.yaml's `sweep` says
	dvc repro encode
	unroll sweep

reproduce: setup  ## make a registered version again and compare: VERSION=3, PIPELINE=topic (pos by default)
	@test -n "$(VERSION)" || { echo "make reproduce: names no version; fix: make reproduce VERSION=3"; exit 2; }
	unroll reproduce $(PIPELINE)/$(VERSION)

cluster: setup  ## a Ray cluster of two nodes on this machine, for trying things; Ctrl-C ends it
	exec unroll cluster --nodes 2

ui: setup  ## MLflow's pages on this machine
	@echo "MLflow: http://127.0.0.1:$(UI_PORT)  (Ctrl-C ends it)"
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --host 127.0.0.1 \
		--port $(UI_PORT) --workers 1 --backend-store-uri sqlite:///$(CURDIR)/mlflow.db --artifacts-destination $(CURDIR)/mlartifacts

serve: setup  ## answer texts over REST on this machine with a registered model: PIPELINE=topic
	@echo "curl http://127.0.0.1:$(SERVE_PORT)/invocations -H 'Content-Type: application/json' -d '{\"inputs\": [\"A text.\"]}'"
	MLFLOW_TRACKING_URI=$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db} MLFLOW_DISABLE_TELEMETRY=true \
		MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false UNROLL_REQUEST_CHARACTERS=1000000 mlflow models serve \
		--model-uri models:/$(PIPELINE)@champion --env-manager local --host 127.0.0.1 --port $(SERVE_PORT)

schema: setup  ## write the JSON Schemas of params.yaml and corpora.yaml for editors
	python -m pipeline.schema

lock: setup  ## pin all dependencies anew
	UV_FIND_LINKS="$(FIND_LINKS)" uv pip compile --quiet --no-header --no-annotate --extra dev pyproject.toml \
		| sed 's/^torch==\([^+]*\)+cpu/torch==\1/' > requirements.lock

clean:  ## remove what was built; corpora, models, the registry and what waits for MLflow stay
	rm -rf $(VENV) $(KERAS_VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	test ! -d .unroll || find .unroll -mindepth 1 -maxdepth 1 ! -name spool -exec rm -rf {} +
