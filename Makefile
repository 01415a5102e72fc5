# `make demo` and `make test` need python3 (>= 3.11), pip and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet
# All cores; a worker that has run its share takes over part of another's.
PARALLEL := -n auto --dist worksteal
# Pyright takes the packages of the first `python` on the path
PYRIGHT := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/basedpyright

.PHONY: help demo docs recipes test test-wheel test-upstream coverage test-lowest test-newest fuzz lint types layers check release \
  dependents drop-in bench-remote bench-facility bench oracle ngff napari napari-pictures clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1\t/p' $(MAKEFILE_LIST) | expand -t 18

# --- environment: one .venv, grown by stamp files that are as new as pyproject.toml -------------

# Where the standard library's ensurepip is left out (Debian), the pip that runs $(PYTHON) fills the environment.
# pip 25.1 is the first that knows `--group`.
$(VENV)/.base: pyproject.toml
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV) 2>/dev/null \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(INSTALL) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.base
	$(INSTALL) --editable '.[plot]'
	@touch $@

$(VENV)/.test: $(VENV)/.base
	$(INSTALL) --editable '.[all]' --group test
	@touch $@

# Types are checked against the packages that the tests use, so the test environment comes first.
$(VENV)/.lint: $(VENV)/.test
	$(INSTALL) --group lint
	@touch $@

# The readers of OME-Zarr that the tests use have a separate environment.
.venv-ngff/.done: pyproject.toml $(VENV)/.base
	@test -d .venv-ngff || $(PYTHON) -m venv --without-pip .venv-ngff
	$(PIP) --python .venv-ngff/bin/python install --quiet --group ngff
	@touch $@

# napari installs a window toolkit, and has its own pins.
.venv-napari/.done: pyproject.toml $(VENV)/.base
	@test -d .venv-napari || $(PYTHON) -m venv --without-pip .venv-napari
	$(PIP) --python .venv-napari/bin/python install --quiet --editable '.[napari,remote]' --group napari
	@touch $@

$(VENV)/.docs: $(VENV)/.test
	$(INSTALL) --group docs
	@touch $@

$(VENV)/.fuzz: $(VENV)/.test
	$(INSTALL) --group fuzz
	@touch $@

$(VENV)/.release: $(VENV)/.base
	$(INSTALL) --group release
	@touch $@

# --- what to run ---------------------------------------------------------------------------------

demo: $(VENV)/.demo ## write a small ND2 file, open it in every way, save a picture
	$(BIN)/python examples/demo.py

test: $(VENV)/.test ## run the tests (7 minutes on 2 cores); some need sample files, see CONTRIBUTING.md
	$(BIN)/python -m pytest $(PARALLEL)

# The environment has no link to src: files missing from the wheel make tests fail.
test-wheel: $(VENV)/.release ## run the tests on the built wheel, in a separate environment
	rm -rf dist && $(BIN)/python -m build --quiet --wheel
	$(BIN)/uv venv --quiet --clear --no-python-downloads --python $(NEWEST_PYTHON) .venv-wheel
	$(BIN)/uv pip install --quiet --python .venv-wheel/bin/python "$$(echo dist/*.whl)[all]" --group test
	.venv-wheel/bin/python -c 'import nd2, xarray_nd2; assert "site-packages" in nd2.__file__, nd2.__file__'
	.venv-wheel/bin/python -m pytest $(PARALLEL)

# Pre-releases of the dependencies, and the nightly wheels of NumPy, pandas and xarray.
NIGHTLY := https://pypi.anaconda.org/scientific-python-nightly-wheels/simple
test-upstream: $(VENV)/.release ## run the tests with pre-releases of the dependencies
	$(BIN)/uv venv --quiet --clear --no-python-downloads --python $(NEWEST_PYTHON) .venv-upstream
	$(BIN)/uv pip install --quiet --python .venv-upstream/bin/python --prerelease allow --editable '.[all]' --group test
	$(BIN)/uv pip install --quiet --python .venv-upstream/bin/python --prerelease allow --upgrade --no-deps \
	  --index $(NIGHTLY) numpy pandas xarray || echo "no nightly wheels: pre-releases on PyPI only"
	.venv-upstream/bin/python -m pytest $(PARALLEL)

coverage: $(VENV)/.test ## run the tests, fail if they reach fewer than 95 % of lines; pages in htmlcov
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term --cov-report=html

# Separate, new environments: the oldest direct dependencies that pyproject.toml allows, and the newest.
# Interpreters that are on the path but do not run (pyenv's) are skipped.
NEWEST_PYTHON ?= $(shell for python in python3.13 python3.12 $(PYTHON); do \
  $$python -c '' 2>/dev/null && { echo $$python; break; }; done)
test-lowest: RESOLUTION := lowest-direct
test-lowest: SET_PYTHON := python3.11
test-newest: RESOLUTION := highest
test-newest: SET_PYTHON = $(NEWEST_PYTHON)
test-lowest test-newest: SET = .venv-$(RESOLUTION)
test-lowest: ## run the tests with the oldest packages that are allowed, on Python 3.11
test-newest: ## run the tests with the newest packages, on the newest Python that is found
test-lowest test-newest: $(VENV)/.release
	$(BIN)/uv venv --quiet --clear --no-python-downloads --python $(SET_PYTHON) $(SET)
	$(BIN)/uv pip install --quiet --python $(SET)/bin/python --resolution $(RESOLUTION) --editable '.[all]' --group test
	$(SET)/bin/python -m pytest $(PARALLEL)

docs: $(VENV)/.docs ## build the documentation into docs/_build; with Chromium, check the layout of its pages
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	$(BIN)/python tools/check_pages.py docs/_build

# The line under "Install" in the README.
README_INSTALL = $(shell sed -n 's/^pip install "\.\[\(.*\)\]"$$/\1/p' README.md)
recipes: $(VENV)/.test $(VENV)/.release ## run the README's recipes, each alone and twice, in the environment that it installs
	$(BIN)/uv venv --quiet --clear --no-python-downloads --python $(NEWEST_PYTHON) .venv-readme
	$(BIN)/uv pip install --quiet --python .venv-readme/bin/python '.[$(README_INSTALL)]'
	rm -rf build/recipes && mkdir -p build/recipes
	cd build/recipes && ../../$(BIN)/python ../../tools/run_recipes.py ../../README.md --python ../../.venv-readme/bin/python --times 2

FUZZ_SECONDS ?= 600
fuzz: $(VENV)/.fuzz ## mutate files and look for errors that no reader may raise, for FUZZ_SECONDS
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

lint: $(VENV)/.lint ## style of the code (ruff), spelling (codespell), words that we avoid (tools/check_words.py)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files -z | xargs -0 $(BIN)/codespell
	$(BIN)/python tools/check_words.py

types: $(VENV)/.lint ## types (mypy --strict), and whether the public API is typed as a whole (Pyright)
	$(BIN)/mypy
	$(PYRIGHT)
	$(PYRIGHT) --verifytypes nd2 --ignoreexternal
	$(PYRIGHT) --verifytypes xarray_nd2 --ignoreexternal

layers: $(VENV)/.lint ## imports go down only (import-linter)
	$(BIN)/lint-imports

release: $(VENV)/.release ## build sdist and wheel into dist, check them, use the wheel with each extra, and together with PyPI's nd2
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tools/check_release.py dist
	$(BIN)/python tools/check_install_orders.py dist

# Two new environments for each program: with PyPI's nd2, and with this project.
dependents: $(VENV)/.release $(VENV)/.test ## compare what bioio-nd2, cellpose and others return with PyPI's nd2 and with this project
	$(BIN)/python tools/dependents.py --uv $(BIN)/uv --python $(NEWEST_PYTHON)

# The tests of nd2 itself, in an environment with it and in one with this project.
drop-in: $(VENV)/.release $(VENV)/.test ## run the tests of PyPI's nd2 0.12.0 with it and with this project
	$(BIN)/python -m tools.drop_in --uv $(BIN)/uv --python $(NEWEST_PYTHON)

check: lint types layers test ## everything that the gate runs

bench-remote: $(VENV)/.test ## requests, bytes and seconds of remote reads, into docs/cloud.md (needs `make oracle`)
	$(BIN)/python -m bench.remote

bench-facility: $(VENV)/.test ## thousands of files and a file of 4 GB on a cluster, into docs/collections.md (needs `make oracle`; 9 GB of temporary files)
	$(BIN)/python -m bench.facility --write

# for example: make bench BENCH="local -n 3 -k asarray"
bench: $(VENV)/.test ## measure time and memory, compared with nd2 0.12.0 and NumPy; writes 11 GB of files once (BENCH: options; --write: into docs/benchmarks.md)
	@test -x .venv-oracle/bin/python || bench/oracle_venv.sh
	$(BIN)/python -m bench $(BENCH)

oracle: ## environment of the independent readers that parity work compares with
	bench/oracle_venv.sh

ngff: .venv-ngff/.done ## environment of other people's readers of OME-Zarr, which the tests then ask

# Without a display, a virtual one and OpenGL in software. Debian's packages: xvfb libgl1 libgl1-mesa-dri libegl1
# libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxcb-xinerama0 libxcb-image0
# libxcb-render-util0
SCREEN := $(if $(DISPLAY)$(WAYLAND_DISPLAY),,$(if $(shell command -v xvfb-run),LIBGL_ALWAYS_SOFTWARE=1 \
  xvfb-run -a -s "-screen 0 1400x900x24 +extension GLX"))
napari: .venv-napari/.done ## test the napari plugin in a separate environment; without a display, on a virtual one
	$(SCREEN) .venv-napari/bin/python -m pytest -p no:napari -o filterwarnings=default tests/napari \
	  tests/integration/test_napari_manifest.py

napari-pictures: .venv-napari/.done ## take the pictures of docs/napari.md
	$(SCREEN) .venv-napari/bin/python docs/napari_pictures.py

clean: ## remove the environment, caches and products
	rm -rf $(VENV) build dist demo-output .venv-highest .venv-lowest-direct .venv-wheel .venv-upstream .venv-readme .venv-ngff .venv-napari .venv-dependents .venv-drop-in docs/_build docs/jupyter_execute htmlcov .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests examples bench -name __pycache__ -type d -prune -exec rm -rf {} +
