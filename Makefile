# make search | test | test-slow | test-extras | notebook | docs | lint | bench; each sets up .venv first, once.
PYTHON ?= python3
# For a CPU build of torch: make setup PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
BIN := .venv/bin
READY := .venv/ready

.PHONY: setup search test test-slow test-extras notebook docs lint format bench clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e ".[dev]"
	touch $@

search: setup
	$(BIN)/python -m hybridsearch --strategy rl

# All but a few that take half a minute each; `make test-slow` runs those.
test: setup
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow and not extras"

test-slow: setup
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m slow

# In an environment of its own, so that `make test` stays what the core install can do.
test-extras: .venv-extras/ready
	.venv-extras/bin/python -m pytest -q -m extras

# Runs runs/analysis.ipynb in place, on the runs that are there; without any it makes some first.
notebook: .venv-extras/ready
	.venv-extras/bin/jupyter-execute --inplace runs/analysis.ipynb

# The site of guides, settings and reference, into site/.
docs: .venv-extras/ready
	NO_MKDOCS_2_WARNING=1 .venv-extras/bin/mkdocs build -q

.venv-extras/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-extras
	.venv-extras/bin/python -m pip install -q --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt \
	  -e ".[dask,dev,docs,jax,models,notebook,onnx,ray,tensorboard]"
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/genome.py --quick
	$(BIN)/python benchmarks/controller.py --quick
	$(BIN)/python benchmarks/strategies.py --quick
	$(BIN)/python benchmarks/reliability.py --quick
	$(BIN)/python benchmarks/evaluator.py --quick
	$(BIN)/python benchmarks/profile_step.py --quick
	$(BIN)/python benchmarks/efficiency.py --quick
	$(BIN)/python benchmarks/fidelity.py --quick
	$(BIN)/python benchmarks/scaling.py --quick

clean:
	rm -rf .venv .venv-extras site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
