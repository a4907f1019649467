# Two commands: `make report` runs the main job, `make test` the tests. Both make the environment first.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: report test test-workflow test-cluster soak published lint lock clean

report: .venv/installed
	snakemake --cores all

# At most 4 minutes on two cores; what takes longer is marked slow and belongs to the next.
test: .venv/installed
	python -m pytest -n 2

# Whole workflows run and rerun, every benchmark reduced, and the slow cases of the units.
test-workflow: .venv/installed
	python -m pytest -n 2 -m slow

# On a real Slurm that it starts and stops; needs root and Debian's slurm-wlm and munge.
test-cluster: .venv/installed
	python -m pytest -m cluster tests/cluster

# Trainings of every method, killed again and again.
soak: .venv/installed
	python -m tests.soak.kill_and_resume

# Page, figures and details.zip of each published benchmark again, from its committed counts.
published: .venv/installed
	for config in config/published/*.yaml; do \
	  name=$$(basename $$config .yaml); \
	  results=results/published/$$name; \
	  python -m seglib compare --config $$config --data $$results/data --out $$results && \
	  python -m seglib report --config $$config --data $$results/data --results $$results \
	    --archive --out reports/published/$$name || exit 1; \
	done

lint: .venv/installed
	ruff check . && ruff format --check .
	lint-imports
	snakefmt --check Snakefile workflow
	snakemake --lint

# Newest versions within the bounds of pyproject.toml; `make lock UPGRADE=` keeps them and renews the hashes.
UPGRADE ?= --upgrade
lock:
	$(PYTHON) -m venv .lock-tool
	.lock-tool/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	.lock-tool/bin/python tools/lock.py $(UPGRADE)
	rm -rf .lock-tool

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "seglib needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[cluster,dev]"
	touch $@

clean:
	rm -rf .venv
