# The developer's front door. Everything runs in .venv; VENV=path puts it elsewhere, PYTHON=python3.12 picks another Python.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-browser test-ray test-faults test-oldest fuzz coverage mutants audit check fix bench ablation sweeps clean
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

test-faults: $(VENV)/.installed-dev    ## kills every command at random, fills small disks (as root, on Linux), two at once
	$(BIN)/python -m pytest -m faults tests/faults

test-oldest:    ## the tests with the lowest versions that pyproject allows, in .venv-oldest (3 GB)
	$(PYTHON) -m venv $(VENV)-oldest
	$(PYTHON) .ci/lowest_versions.py yolo test > $(VENV)-oldest/lowest.txt
	$(VENV)-oldest/bin/python -m pip install --quiet -r $(VENV)-oldest/lowest.txt -e .
	$(VENV)-oldest/bin/python -m pytest -W ignore::DeprecationWarning -W "ignore:OpenCV:UserWarning"

SECONDS ?= 60
fuzz: $(VENV)/.installed-dev    ## every parser fuzzed, guided by coverage, SECONDS each: about half an hour
	$(BIN)/python -m pip install --quiet -e ".[fuzz]"
	$(BIN)/python tests/fuzz/fuzz_parsers.py --all $(SECONDS)

coverage: $(VENV)/.installed-dev    ## lines and branches of functional/ and artifacts/ that the tests reach
	$(BIN)/coverage run -m pytest tests/functional tests/artifacts semples_cli/functional
	$(BIN)/coverage report -m --skip-covered --include="semples_cli/functional/*" --fail-under=95
	$(BIN)/coverage report -m --skip-covered --include="semples_cli/artifacts/*" --fail-under=95

MUTATED = losses masks metrics cam
mutants: $(VENV)/.installed-dev    ## defects planted in the formulas, which the tests must find (about ten minutes)
	OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children 1 $(foreach name,$(MUTATED),"semples_cli.functional.$(name)*")
	$(BIN)/mutmut results

audit: $(VENV)/.installed-dev   ## known holes of what is installed; needs a network
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/installed.txt
	$(BIN)/pip-audit --strict --disable-pip --no-deps -r $(VENV)/installed.txt

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
