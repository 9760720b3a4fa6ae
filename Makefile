# Everything from an empty clone, with Python 3.11 or newer (with venv), git and make.
#
#   make demo         three agencies on this machine, from start to end
#   make test         lint, then the tests, against real Kafka and PostgreSQL
#   make test-long    the tests that take long: floods, brokers of their own, demo and tutorials,
#                     further cases of those of `make test`, and more examples of each property
#   make test-docker  all of them against both in containers, of images pulled or else made here
#   make lint         ruff, strict types, who may import whom
#   make example      27,780 prison transfers from a file to two databases; FILE=… names another
#   make bench        what it costs, measured here; ONLY=materialise for one part
#   make chaos        faults on real processes, and a judge; SEED=… again, ONLY=… a part, HOURS=…
#   make chaos-selftest  steps broken on purpose, each of which that judge must catch
#   make clean        remove what these commands made in this folder

PYTHON ?= python3
VENV := .venv
# Modules and not scripts: a script names its Python in its first line, where not every path fits.
PYTHON_HERE := $(VENV)/bin/python
READY := $(VENV)/ready
# Each worker imports all test modules, and finds them compiled once one of them has done it.
PYTEST := PYTHONDONTWRITEBYTECODE= $(PYTHON_HERE) -m pytest -q --numprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# Of each property; HYPOTHESIS_PROFILE=thorough asks for still more.
MORE_EXAMPLES := HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-long}

.PHONY: demo test test-long test-docker lint example bench chaos chaos-selftest clean
.DEFAULT_GOAL := test

demo: $(READY)
	$(PYTHON_HERE) -m sinergi demo

test: lint
	$(PYTEST) -m 'not long'

test-long: $(READY)
	$(MORE_EXAMPLES) $(PYTEST) -m 'long or hypothesis'

test-docker: lint
	$(MORE_EXAMPLES) $(PYTEST) --services containers

lint: $(READY)
	$(PYTHON_HERE) -m ruff check .
	$(PYTHON_HERE) -m ruff format --check .
	$(PYTHON_HERE) -m mypy
	$(PYTHON_HERE) -c 'from importlinter.cli import lint_imports_command as lint; lint()'

example: $(READY)
	$(PYTHON_HERE) examples/inter-prison-transfers/run.py $(FILE)

bench: $(READY)
	$(PYTHON_HERE) -m pip install --quiet --group bench
	$(PYTHON_HERE) benchmarks/run.py $(if $(ONLY),--only $(ONLY))

chaos: $(READY)
	$(PYTHON_HERE) -m pip install --quiet --group bench
	$(PYTHON_HERE) tests/chaos/run.py $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) \
	  $(if $(HOURS),--hours $(HOURS)) --plot build/chaos.svg

chaos-selftest: $(READY)
	$(PYTHON_HERE) tests/chaos/selftest.py $(if $(ONLY),--only $(ONLY))

# Installed anew only when what it is made of has changed; an editable install follows the sources.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is older than 3.11 or lacks venv; name another: make PYTHON=python3.12"; exit 2; }
	test -x $(PYTHON_HERE) || $(PYTHON) -m venv $(VENV)
	$(PYTHON_HERE) -m pip install --quiet --upgrade 'pip>=25.1'
	$(PYTHON_HERE) -m pip install --quiet --editable '.[producers,consumers,local]' --group dev
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
