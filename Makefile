# Two commands on a fresh machine: make demo, make test. Both create .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The suite shares the machine with nobody it knows of: one thread is never much slower and often much faster.
export OMP_NUM_THREADS ?= 2
# Threads that wait do not spin: on a shared machine spinning costs more than it saves.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test check docs bench clean

# One install for everything: extras differ only in size, and a second resolver run would cost a minute.
$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("robustseg needs Python 3.11 or newer; this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/python examples/demo.py

test: $(VENV)/.ready
	$(MAKE) --no-print-directory check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.overhead

clean:
	rm -rf $(VENV) runs build dist
