# Everything from an empty clone, with Python 3.11 or newer (with venv), git and make.
#
#   make demo         three agencies on this machine, from start to end
#   make test         lint, then every test against real Kafka and PostgreSQL
#   make test-docker  the same against both in containers, of images pulled or else made here
#   make lint         ruff, strict types, who may import whom
#   make example      27,780 prison transfers from a file to two databases; FILE=… names another
#   make bench        what it costs, measured here; ONLY=materialise for one part
#   make chaos        faults on real processes, and a judge; SEED=… again, ONLY=… a part, HOURS=…
#   make chaos-selftest  steps broken on purpose, each of which that judge must catch
#   make clean        remove what these commands made in this folder

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PYTEST := $(BIN)/pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.PHONY: demo test test-docker lint example bench chaos chaos-selftest clean
.DEFAULT_GOAL := test

demo: $(READY)
	$(BIN)/sinergi demo

test: lint
	$(PYTEST)

test-docker: lint
	$(PYTEST) --services containers

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

example: $(READY)
	$(BIN)/python examples/inter-prison-transfers/run.py $(FILE)

bench: $(READY)
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python benchmarks/run.py $(if $(ONLY),--only $(ONLY))

chaos: $(READY)
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python tests/chaos/run.py $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) \
	  $(if $(HOURS),--hours $(HOURS)) --plot build/chaos.svg

chaos-selftest: $(READY)
	$(BIN)/python tests/chaos/selftest.py $(if $(ONLY),--only $(ONLY))

# Installed anew only when what it is made of has changed; an editable install follows the sources.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is older than 3.11 or lacks venv; name another: make PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[producers,consumers,local]' --group dev
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
