# Every target makes the virtual environment that it needs first; the second time that takes no time.
VENV ?= .venv
PYTHON ?= python3
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt
# In this mode, type checkers find the packages too.
EDITABLE := --config-settings editable_mode=compat --editable

.PHONY: demo test lint docs bench clean

demo: $(VENV)/.demo
	$(VENV)/bin/python examples/mnist.py

test: $(VENV)/.dev
	$(VENV)/bin/python -m pytest -n 2 -m "not slow" -q

lint: $(VENV)/.dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

docs: $(VENV)/.docs
	$(VENV)/bin/sphinx-build -W -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.dev
	$(VENV)/bin/python benchmarks/step_time.py
	$(VENV)/bin/python benchmarks/capture_time.py
	$(VENV)/bin/python benchmarks/capture_models.py
	$(VENV)/bin/python benchmarks/scan_time.py
	$(VENV)/bin/python benchmarks/objective_time.py
	$(VENV)/bin/python benchmarks/evaluate_memory.py
	$(VENV)/bin/python benchmarks/evaluation_time.py
	$(VENV)/bin/python benchmarks/growth.py
	$(VENV)/bin/python benchmarks/big_data.py
	$(VENV)/bin/python benchmarks/spread.py
	$(VENV)/bin/python benchmarks/guide_error_time.py
	$(VENV)/bin/python benchmarks/edvae_information.py
	$(VENV)/bin/python benchmarks/edvae_limits.py
	$(VENV)/bin/python benchmarks/compression.py
	$(VENV)/bin/python benchmarks/closed_form_variances.py --output benchmarks/closed_form_variances.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Stamps, so that a changed pin or dependency installs again and nothing else does.
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) $(EDITABLE) ".[all]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) $(EDITABLE) ".[dev]"
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) $(EDITABLE) ".[docs]"
	@touch $@ $(VENV)/.dev $(VENV)/.demo

clean:
	rm -rf $(VENV) out docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
