# imagenetfs: `make demo` and `make test` install what is missing and run. Everything goes into .venv/.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
LOCK    = flock $(VENV)/lock
# A small build for the CPU where the index has one; give another requirement if you have a GPU.
TORCH_REQUIREMENT       ?= torch==2.13.0
TORCHVISION_REQUIREMENT ?= torchvision==0.28.0
TORCH  ?=

.PHONY: demo test lint format bench clean

demo: $(VENV)/installed-demo
	@if [ -n "$(TORCH)" ]; then $(MAKE) --no-print-directory $(VENV)/installed-torch; fi
	@PYTHON="$(CURDIR)/$(BIN)/python" bash docs/examples/demo.sh

test: $(VENV)/installed-test
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-test
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Two makes side by side wait for each other here; what is installed already costs a moment.
$(VENV)/lock:
	@bash .ci/system-packages
	@mkdir -p $(VENV) && touch $(VENV)/lock

$(VENV)/installed-demo: pyproject.toml | $(VENV)/lock
	@$(LOCK) bash .ci/install "$(PYTHON)" "$(VENV)" demo ".[sample]"

$(VENV)/installed-torch: pyproject.toml | $(VENV)/installed-demo
	@$(LOCK) bash .ci/install "$(PYTHON)" "$(VENV)" torch "$(TORCH_REQUIREMENT)" --no-deps "$(TORCHVISION_REQUIREMENT)"

$(VENV)/installed-test: pyproject.toml $(VENV)/installed-demo $(VENV)/installed-torch
	@$(LOCK) bash .ci/install "$(PYTHON)" "$(VENV)" test ".[test]"
