# The developer's front door. Everything runs in .venv; VENV=path puts it elsewhere, PYTHON=python3.12 picks another Python.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-browser test-ray check fix bench ablation sweeps clean
.DEFAULT_GOAL = demo

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@

demo: $(VENV)/.installed        ## install, then run the main job on the built-in model and data
	$(BIN)/semples demo --out demo-out --overwrite

# label-studio-sdk pins OpenCV, and with it an old numpy: it lies beside the rest, for its own tests alone.
$(VENV)/label-studio: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --target $@ "label-studio-sdk>=1.0.16"

test: $(VENV)/.installed-dev $(VENV)/label-studio    ## install, then pass the tests
	$(BIN)/python -m pytest
	PYTHONPATH=$(VENV)/label-studio $(BIN)/python -m pytest -m label_studio tests

test-browser: $(VENV)/.installed-dev    ## the HTML report in a real headless Chromium (apt-get install chromium)
	$(BIN)/python -m pip install --quiet -e ".[browser]"
	$(BIN)/python -m pytest -m browser tests

test-ray: $(VENV)/.installed-dev    ## --backend ray on a cluster of two nodes on this machine
	$(BIN)/python -m pip install --quiet -e ".[ray]"
	$(BIN)/python -m pytest -m ray tests

check: $(VENV)/.installed-dev   ## static: format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.installed-dev     ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev   ## measure; see benchmarks/README.md
	$(BIN)/python benchmarks/run_all.py

ablation: $(VENV)/.installed-dev ## what each part of the method adds, on worlds that nothing was tuned on (about an hour)
	$(BIN)/python benchmarks/ablation.py --worlds 1 2 3 --seeds 0 1 2 --jobs 2 --json build/ablation.json

sweeps: $(VENV)/.installed-dev  ## what happens around the demo's settings, one at a time (about an hour and a half)
	$(BIN)/python benchmarks/sweeps.py --worlds 1 --seeds 0 1 --jobs 2 --json build/sweeps.json

clean:
	rm -rf $(VENV) build dist *.egg-info demo-out
