# demo and test do all their own set-up: they make a virtual environment and install what they need.
# Re-running is fast: set-up is done again only when pyproject.toml or constraints.txt changed.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
OUT ?= cardioprecision-demo
# Two test processes with a thread each: two with two each would wait for one another.
WORKERS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
LOCK := constraints.txt

.PHONY: help demo test test-fast lint bench docs cmake clean
help:
	@echo "make demo   a synthetic patient through the analysis; prints the numbers and where the report is"
	@echo "make test   all tests (make test-fast leaves out the slow ones)"
	@echo "make lint   ruff, import-linter, mypy, CMake lists"
	@echo "make docs   the documentation site, in build/site"
	@echo "make bench  speed and memory beside plain peers"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "CardioPrecision needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Give one with: make PYTHON=/path/to/python3.12"; exit 2; }
	@echo "Making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 2; }

$(STAMP): pyproject.toml $(LOCK) | $(VENV)/bin/python
	@echo "Installing CardioPrecision and what it needs (some minutes the first time)"
	@$(PIP) install --quiet --constraint $(LOCK) torch 2>&1 | { grep -v '^WARNING: Location' || true; }; exit $${PIPESTATUS[0]}
	@$(PIP) install --quiet --constraint $(LOCK) --editable '.[mrml,web,train,fusion,test,lint,docs]' 2>&1 | { grep -v '^WARNING: Location' || true; }; exit $${PIPESTATUS[0]}
	@touch $@

demo: $(STAMP)
	@echo "The weights of the model cine_sax_ventricles are licensed CC BY-NC-SA 4.0 (no commercial use); this accepts that:"
	@echo "LVFunction/LVFunctionLib/bundles/cine_sax_ventricles/LICENSE"
	@$(BIN)/cardioprecision demo --accept-license cine_sax_ventricles -o $(OUT)

test: $(STAMP)
	@bash tools/setup_browser.sh
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-fast: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy -p CardioPrecisionLib -p LVFunctionLib -p CoronaryPlaqueLib -p FusionRiskLib
	@$(BIN)/python tools/cmake_lists.py --check

bench: $(STAMP)
	@$(BIN)/python Testing/Benchmarks/bench_lv.py
	@$(BIN)/python Testing/Benchmarks/bench_calcium.py
	@$(BIN)/python Testing/Benchmarks/bench_ccta.py
	@$(BIN)/python Testing/Benchmarks/bench_risk.py
	@$(BIN)/python Testing/Benchmarks/bench_fusion.py

docs: $(STAMP)
	@$(BIN)/python tools/docs_pages.py
	@$(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

cmake: $(STAMP)
	@$(BIN)/python tools/cmake_lists.py

clean:
	rm -rf $(VENV) build dist *.egg-info
