# make pipeline   does everything, on a machine with Python 3.11+, a C++ compiler and a package index.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_BENCH := $(VENV)/.installed-bench

# Passed on to `engine run` where set.
DATASET ?=
MEMORY ?=
WORKDIR ?=
PRESET ?=
WORKERS ?=
RUN_FLAGS = $(if $(DATASET),"$(DATASET)") $(if $(MEMORY),--memory "$(MEMORY)") \
	$(if $(WORKDIR),--workdir "$(WORKDIR)") $(if $(PRESET),--preset $(PRESET)) $(if $(WORKERS),--workers $(WORKERS))

INSTALLED_DOCS := $(VENV)/.installed-docs
# Told file by file while the inner loops are compiled.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --verbose

.PHONY: help pipeline wheel docs test lint format bench bench-full bench-model bench-kernels kernels-sanitized data clean

help:
	@echo "make pipeline           install if needed; then ratings.csv to RMSE and Recall@50"
	@echo "make test               the same set-up, then every test"
	@echo "make wheel              a wheel in dist/, for machines without a compiler"
	@echo "make docs               the pages of docs/ as a site in build/site"
	@echo "make lint               ruff, ruff format and mypy"
	@echo "make bench              time, memory and figures of a small run and of its peers"
	@echo "make bench-full         the same at ml-25m's size and four times that (hours)"
	@echo "make bench-model        what parts of the model bring, and what others reach"
	@echo "make bench-kernels      the compiled loops beside what the machine can do"
	@echo "make kernels-sanitized  their tests, with address and undefined-behaviour checks"
	@echo "make data               download MovieLens 25M (250 MB)"
	@echo "make clean              remove the environment and caches; runs and data stay"
	@echo
	@echo "variables: DATASET=ratings.csv MEMORY=512MiB WORKDIR=runs/mine"
	@echo "           PRESET=notebook WORKERS=2"

pipeline: $(INSTALLED)
	$(BIN)/engine run $(RUN_FLAGS) --report
	@ps -o etime= -p $$PPID 2>/dev/null | sed 's/^ */took     /; s/$$/ (minutes:seconds, installing included)/'

wheel: $(BIN)/python
	rm -f dist/*.whl
	$(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

docs: $(INSTALLED_DOCS)
	$(BIN)/python docs/configuration.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

# One more than processors: tests that wait for a process, a lock or a server leave one idle.
TESTERS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

test: $(INSTALLED_DEV)
	$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED_DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The kernels' tests with a build that tells of every access out of an array and of undefined behaviour. The interpreter is no
# sanitized program: the runtime is loaded before it, and what Python itself does not free is not looked at.
kernels-sanitized: $(INSTALLED_DEV)
	rm -rf build/sanitized && mkdir -p build/sanitized
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S engine/kernels -B build/sanitized -G Ninja -DSANITIZE=address,undefined \
		-DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" >/dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/sanitized
	ENGINE_KERNELS=build/sanitized ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libubsan.so)" \
		$(BIN)/python -m pytest tests/kernels

bench: $(INSTALLED_BENCH)
	$(BIN)/python -m bench.run
	$(BIN)/python -m bench.neighbors
	$(BIN)/python -m bench.memory

bench-full: $(INSTALLED_BENCH)
	$(BIN)/python -m bench.run --scale 1 --curve 0.1 0.3 4
	$(BIN)/python -m bench.neighbors --scale 1
	$(BIN)/python -m bench.memory --scale 1 --budgets 512MiB 384MiB 256MiB 192MiB
	$(BIN)/python -m bench.memory --scale 4 --budgets 512MiB
	$(BIN)/python -m bench.kill --kills 200
	$(BIN)/python -m bench.report

bench-model: $(INSTALLED_BENCH)
	$(BIN)/python -m bench.ablation
	$(BIN)/python -m bench.peers
	$(BIN)/python -m bench.report --scales

bench-kernels: $(INSTALLED_BENCH)
	$(BIN)/python -m bench.kernels

data: $(INSTALLED)
	$(BIN)/engine data fetch ml-25m

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is missing or older than 3.11; name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@{ command -v c++ || command -v g++ || command -v clang++; } >/dev/null || \
		{ echo "error: no C++ compiler, which the inner loops and hnswlib are built with; on Debian or Ubuntu: apt install g++ python3-dev;" \
			"on Fedora: dnf install gcc-c++ python3-devel; on macOS: xcode-select --install" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
		{ echo "error: no Python headers, which the inner loops and hnswlib are built with; on Debian or Ubuntu: apt install python3-dev" >&2; exit 1; }
	@echo "making the environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "error: no venv module; on Debian or Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }

KERNELS := $(wildcard engine/kernels/src/*) engine/kernels/CMakeLists.txt

$(INSTALLED): $(BIN)/python pyproject.toml $(KERNELS)
	@echo "installing the engine, its data sets and its report into $(VENV): some minutes, for the inner loops are compiled"
	$(INSTALL) -e '.[data,report,hnsw]'
	@touch $@

$(INSTALLED_DEV): $(BIN)/python pyproject.toml $(KERNELS)
	$(INSTALL) -e '.[dev]'
	@touch $@ $(INSTALLED)

$(INSTALLED_BENCH): $(BIN)/python pyproject.toml $(KERNELS)
	$(INSTALL) -e '.[bench]'
	@touch $@ $(INSTALLED)

$(INSTALLED_DOCS): $(INSTALLED)
	$(INSTALL) -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -exec rm -rf {} +
