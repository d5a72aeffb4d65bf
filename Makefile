# make demo: build, convert a trained model, run it on real input, show the result.
# make test: build and run the tests. Both work on a fresh machine with Python >= 3.10, a C
# compiler and make; what else they need goes into a virtual environment in .venv.
# make lib: the core as a library for C, in build/lib; make install PREFIX=/usr/local puts it there.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py $(wildcard src/*.[ch] src/*/*.[ch] src/cflags.txt lstm_rt/*.py lstm_rt/*/*.py lstm_rt/*.pyi lstm_rt/_lrt.pxd lstm_rt/_core.pyx lstm_rt/_runtime/* \
	lstm_rt/py.typed tools/lstm_rt_tools/*.py tools/lstm_rt_tools/*/*.py tools/lstm_rt_tools/*/*/*.py)

.PHONY: demo test build live lint lib install uninstall clean

build: $(VENV)/.built

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.built: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install --quiet --editable ".[convert,test]"
	touch $@

demo: build
	$(BIN)/python examples/demo.py

test: build
	$(BIN)/pytest -n auto tests

# The tests that ask the frameworks that models come from: they are the judges.
LIVE = $(wildcard tests/tools/*_reader) tests/tools/export tests/bench $(shell grep -rlE --include='test_*.py' \
	--exclude-dir=*_reader --exclude-dir=export 'importorskip..(torch|keras|onnxruntime)' tests)
live: build
	$(BIN)/python -m pip install --quiet torch==2.13.0 "keras>=3" onnxruntime
	KERAS_BACKEND=torch $(BIN)/pytest -n auto $(LIVE)

lint: build
	$(BIN)/python -m pip install --quiet ruff mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

lib install uninstall:
	$(MAKE) -f packaging/c/lib.mk $@

clean:
	rm -rf $(VENV) build dist *.egg-info lstm_rt/_core.c lstm_rt/*.so demo-output
