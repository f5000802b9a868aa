# Two commands do everything: `make demo` runs the built-in nights, `make test` passes the tests.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
REALDATA ?= ../shared/realdata
STAMP := $(VENV)/.installed

.PHONY: demo test lab lint real bench bench-label bench-classifier lock clean

demo: $(STAMP)
	$(BIN)/gmadet-nb demo

test: $(STAMP)
	$(BIN)/python -m pytest

lab: $(STAMP)
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(LAB_OPTIONS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/nbstripout --verify notebooks/*.ipynb

real: $(STAMP)
	REALDATA=$(REALDATA) $(BIN)/python -m benchmarks.real

# Beside the tools of the field where they are installed; SECTION picks one table.
bench: $(STAMP)
	REALDATA=$(REALDATA) $(BIN)/python -m benchmarks.physics $(SECTION)

# The labelling grid in JupyterLab, in a browser; needs Debian's chromium.
bench-label: $(STAMP)
	$(BIN)/python -m benchmarks.label

# Ours beside cuts and the networks of others; hours, and goes on where it stopped.
bench-classifier: $(STAMP)
	REALDATA=$(REALDATA) $(BIN)/python -m benchmarks.classifier
	$(BIN)/python -m benchmarks.classifier_page

lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  -o requirements.lock

clean:
	rm -rf $(VENV) runs

# The lock holds a hash of every file; the package itself is added without looking anything up.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
