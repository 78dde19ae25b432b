# `make demo` and `make test` set everything up in .venv; nothing else has to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test check format clean

help:
	@echo "make demo    the main job on a generated world: raw releases, shards, pictures, a trained model"
	@echo "make test    the tests"
	@echo "make check   formatting, lint, types, layers, spelling"
	@echo "make format  format and mend what can be mended"
	@echo "make clean   remove the environment and the demo"

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "multigrain needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'setuptools>=77' wheel 'torch>=2.9' 'torchvision>=0.24'
	# sam2 is built beside this torch: an isolated build would fetch and unpack a second one.
	SAM2_BUILD_CUDA=0 $(PIP) --no-build-isolation --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/multigrain demo --out demo
	rm -rf demo/run
	$(BIN)/ufvideo train recipes/train/tiny.toml --out demo/run

test: $(INSTALLED)
	$(BIN)/python -m pytest

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo *.egg-info
