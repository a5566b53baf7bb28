# Everything runs in .venv, made from pyproject.toml and constraints.txt.
# Needs make, Python 3.11 or newer and libgomp (Debian: libgomp1), which LightGBM loads.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PERENNIAL_HOME ?= var/completejourney
PORT ?= 3000
SERVE ?= 1
PYTEST_ARGS ?=
COPIES ?= 1 10 40
MEMBERS ?= 2500 25000 100000

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
NOTEBOOKS := $(wildcard notebooks/*.py)

# Libraries do not report home, and no stored model may run code.
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PERENNIAL := PERENNIAL_HOME="$(abspath $(PERENNIAL_HOME))" $(BIN)/python -m perennial
# Tests make their own homes: a setting of the person who runs them must not reach in.
PYTEST := env $(foreach name,$(filter PERENNIAL_%,$(.VARIABLES)),-u $(name)) $(BIN)/python -m pytest
# Two files at a time: the tests of a file stay in one process, beside what was made for them.
# Libraries that would use both cores in each process wait for each other more than they work.
AT_ONCE := --numprocesses 2 --dist loadfile --no-loadscope-reorder
test soak: export OMP_NUM_THREADS := 1
test soak: export OPENBLAS_NUM_THREADS := 1

.PHONY: help setup lock demo serve test soak check licences licenses bench bench-features bench-tags bench-points bench-serving bench-batch bench-models bench-uplift bench-allocation bench-scale closed-loop client notebooks clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make .venv and install the locked releases into it

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No python3.11 and no python3 was found. Nothing was installed. Install Python 3.11, or name one: make PYTHON=/path/to/python3.11"; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) does not run, or is older than Python 3.11. Nothing was installed. Install Python 3.11, or name one: make PYTHON=/path/to/python3.11"; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --constraint constraints.txt --no-build-isolation --editable ".[demo,dev]"
	$(BIN)/python -m pip check
	@$(BIN)/python -c 'import lightgbm' || { echo "LightGBM does not load; most often libgomp is missing (Debian: apt-get install libgomp1). Install it, then run make again."; exit 2; }
	@touch $@

lock: ## Resolve pyproject.toml anew and rewrite constraints.txt
	rm -rf build/lock
	"$(PYTHON)" -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade setuptools
	build/lock/bin/python -m pip install --quiet --no-build-isolation --editable ".[demo,dev]"
	build/lock/bin/python -m pip check
	grep '^#' constraints.txt > build/constraints.txt
	build/lock/bin/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+[A-Za-z0-9.]*$$//' >> build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/lock

demo: setup ## Complete Journey from raw purchases to a running service (SERVE=0 ends before serving)
	$(PERENNIAL) ingest completejourney
	$(PERENNIAL) features
	$(PERENNIAL) train
	$(PERENNIAL) score
ifneq ($(SERVE),0)
	$(PERENNIAL) serve --port $(PORT)
endif

serve: setup ## Start the service on what PERENNIAL_HOME holds (PORT=3000)
	$(PERENNIAL) serve --port $(PORT)

test: setup ## Run the tests that take seconds
	$(PYTEST) $(AT_ONCE) -m "not slow" $(PYTEST_ARGS)

soak: setup ## Run the tests that take minutes
	$(PYTEST) $(AT_ONCE) -m slow $(PYTEST_ARGS)

check: setup licences ## Check format, lint, types, the direction of imports, and licences
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

licences: setup ## Refuse a run-time dependency under the GPL or AGPL
	$(BIN)/python .ci/licences.py

licenses: licences

bench: bench-features bench-tags bench-points ## Run every benchmark

bench-features: setup ## Time features on 1, 10 and 40 copies of Complete Journey (COPIES="1 10")
	$(BIN)/python -m experiments.bench_features --copies $(COPIES)

bench-tags: setup ## Time all tags on forty copies of Complete Journey, a hundred thousand members
	$(BIN)/python -m experiments.bench_tags

bench-points: setup ## Time postings beside TPC-B, balances, and expiry at size (ONLY="sqlite balance")
	$(BIN)/python -m experiments.bench_points $(if $(ONLY),--only $(ONLY))

bench-serving: setup ## Put answers beside a bare service on the same model, and under load (ONLY="one half")
	$(BIN)/python -m experiments.bench_serving --home "$(PERENNIAL_HOME)" $(if $(ONLY),--only $(ONLY))

bench-batch: setup ## Score 25,000, 250,000 and 1,000,000 members and print rate and memory (COPIES="10 100")
	$(BIN)/python -m experiments.bench_batch --trained "$(PERENNIAL_HOME)" $(if $(filter command line,$(origin COPIES)),--copies $(COPIES))

bench-models: setup ## Print every model beside its rivals, forward in time (ONLY="churn value", TAFENG=folder)
	$(BIN)/python -m experiments.bench_models $(if $(ONLY),--only $(ONLY)) $(if $(TAFENG),--tafeng "$(TAFENG)")

bench-uplift: setup ## Judge uplift, policies and the gate on the Hillstrom experiment (HILLSTROM=path)
	$(BIN)/python -m experiments.bench_uplift $(if $(HILLSTROM),--hillstrom "$(HILLSTROM)") $(if $(ONLY),--only $(ONLY))

bench-allocation: setup ## Time the plan of a hundred thousand members beside the exact program, and a million priced
	$(BIN)/python -m experiments.bench_allocation

bench-scale: setup ## Time training and its memory on made-up programmes (MEMBERS="2500 25000")
	$(BIN)/python -m experiments.bench_scale --members $(MEMBERS)

closed-loop: setup ## Run six campaigns in a world whose effects are known (WORLDS="a.toml b.toml" SEEDS=2)
	$(BIN)/python -m experiments.closed_loop $(if $(WORLDS),--world $(WORLDS)) $(if $(SEEDS),--seeds $(SEEDS))

client: setup ## Write docs/client/perennial_client.py anew from the description of the API
	$(BIN)/python docs/client/generate.py

notebooks: setup ## Run each notebook from top to bottom; the results land in var/notebooks
	@test -f "$(PERENNIAL_HOME)/perennial.toml" || $(MAKE) demo SERVE=0
	@mkdir -p var/notebooks
	@set -e; for source in $(NOTEBOOKS); do \
		result="var/notebooks/$$(basename "$$source" .py).ipynb"; \
		echo "$$source -> $$result"; \
		$(BIN)/jupytext --quiet --to ipynb --output "$$result" "$$source"; \
		PERENNIAL_HOME="$(abspath $(PERENNIAL_HOME))" $(BIN)/jupyter-execute --inplace --timeout=600 "$$result"; \
	done

clean: ## Remove .venv, caches and built files; var/ and its data stay
	rm -rf $(VENV) build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +
