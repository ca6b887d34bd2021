# Two commands do most: `make book` and `make test`. Everything they need is set up in .venv.
# GNU make 3.81 (macOS) is enough.

PYTHON ?= python3
VENV ?= .venv
NOTEBOOK ?=
PARAMETERS ?=
PORT ?= 8000
OPTIONS ?=

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
STAMP := $(VENV)/.installed
PEERS := $(VENV)/.peers
PY := $(BIN)/python
HTML := book/_build/html

.DEFAULT_GOAL := help
.PHONY: help setup book pdf site links lab serve test bounds peers notebooks portable flower run study benchmark mixedmodels timings sabotage lint format lock address clean FORCE

help:  ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | \
	  while IFS='|' read -r target text; do printf 'make %-10s %s\n' "$$target" "$$text"; done

setup: $(STAMP)  ## install the locked packages and laplace into .venv

# Only .venv itself is ever made or emptied: without the stamp, or without its Python, it is half
# made. An environment holds the path of its folder in many files, so that one that was copied or
# moved is of no use: the stamp says where it was made. Any other environment, such as conda's, is
# taken as it is, and this folder is installed into it.
HERE := $(shell test "$$(cat "$(STAMP)" 2>/dev/null)" = "$$(pwd -P)" && echo yes)

$(STAMP): requirements.lock pyproject.toml $(if $(and $(wildcard $(PY)),$(HERE)),,FORCE)
ifeq ($(VENV),.venv)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(None if (3, 11) <= v <= (3, 13) else "Python 3.11, 3.12 or 3.13 is needed, but " \
	  "$(PYTHON) is %d.%d. Name another one: make setup PYTHON=python3.12" % v)'
	@test -n "$(HERE)" -a -e $(PY) || $(PYTHON) -m venv --clear $(VENV)
endif
	@test -e $(PY) || { echo "There is no $(PY); VENV has to name an environment." >&2; exit 1; }
	@echo "Installing the packages of requirements.lock into $(VENV), a minute or two ..."
	@rm -f $(STAMP) $(PEERS)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@pwd -P > $(STAMP)

# What the benchmarks compare with; nothing else needs it.
$(PEERS): $(STAMP) benchmarks/requirements.lock
	@echo "Installing the peers of the benchmarks into $(VENV) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r benchmarks/requirements.lock
	@touch $(PEERS)

# After a failed build Sphinx would call what it has already read good, so it has to forget it.
book: $(STAMP)  ## render the book into book/_build/html; a second call does only what changed
	@echo "Rendering the book ..."
	@$(BIN)/jupyter-book build book -W -n --keep-going -q >/dev/null || \
	  { rm -rf book/_build/.doctrees; echo "The book could not be rendered without a warning; see above." >&2; exit 1; }
	@echo "Open $(CURDIR)/$(HTML)/index.html"

# All pages as one, printed by a browser: the builder for LaTeX would lose every figure.
pdf: book  ## print the book into book/_build/book.pdf
	@echo "Printing the book, a minute or two ..."
	@$(BIN)/jupyter-book build book --builder singlehtml -W -n --keep-going -q >/dev/null
	@$(PY) book/pdf.py

# GitHub Pages leaves out folders whose names begin with an underscore, unless this file says not to.
site: pdf  ## what is published: the book with its PDF, in book/_build/html
	@cp book/_build/book.pdf $(HTML)/book.pdf
	@touch $(HTML)/.nojekyll

links: $(STAMP)  ## follow every link within the book, without a network
	@$(PY) -m pytest -q tests/test_links.py

# An environment of its own, on top of .venv: nobody else needs its half a hundred packages.
LAB := runs/lab
$(LAB)/.installed: $(STAMP) lab.lock
	@echo "Installing JupyterLab into $(LAB), a minute or two ..."
	@$(PY) -m venv --clear $(LAB)
	@$(LAB)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r lab.lock
	@$(PY) -m ipykernel install --prefix $(LAB) --name python3 --display-name "laplace" >/dev/null 2>&1
	@touch $@

lab: $(LAB)/.installed  ## open the chapters in JupyterLab; without a browser: make lab OPTIONS="--no-browser"
	@$(LAB)/bin/jupyter lab --ServerApp.root_dir=notebooks $(OPTIONS)

serve: book  ## show the book at http://localhost:8000 (PORT=8000)
	@$(PY) -m http.server --bind localhost --directory $(HTML) $(PORT)

test: $(STAMP)  ## run all tests, and every notebook against its stored outputs
	@$(PY) -m pytest -q -n auto --dist loadscope --durations 10 \
	  --doctest-modules --nbval --nbval-current-env \
	  tests laplace notebooks/compendium notebooks/*.ipynb

# The package's own tests: they need neither a notebook, nor a figure, nor a book.
PACKAGE := $(addprefix tests/test_,$(addsuffix .py,batch bootstrap derivatives families family_fits fit formula \
  grouped inference kernels likelihood newton penalties quadrature random_designs simulate))

bounds: $(STAMP)  ## test the package with the lowest versions that pyproject.toml allows
	@$(PY) -m uv venv --quiet --clear --python $(PY) runs/bounds
	@$(PY) -m uv pip install --quiet --python runs/bounds/bin/python --resolution lowest-direct \
	  -e ".[test,study]"
	@runs/bounds/bin/python -m pytest -q -n auto --dist loadscope --doctest-modules $(PACKAGE) laplace

peers: $(PEERS)  ## test that the benchmarks' peers in Python fit the same data
	@TEST_PEERS=gpboost,gpboost-tight,statsmodels $(PY) -m pytest -q -rs tests/test_benchmarks.py

portable: $(STAMP)  ## test as if on three other processors; the notebooks alone: OPTIONS="--notebooks"
	@$(PY) tests/portable.py $(OPTIONS)

notebooks: $(STAMP)  ## compute every notebook again, in place
	@$(PY) -m nbconvert --config notebooks/nbconvert_config.py --to notebook \
	  --execute --inplace notebooks/*.ipynb

# An environment of its own: what carries letters between sites needs half a hundred packages, and other
# versions of some.
FLOWER := runs/flower
$(FLOWER)/.installed: flower/requirements.lock pyproject.toml
	@echo "Installing Flower into $(FLOWER), a minute or two ..."
	@$(PYTHON) -m venv --clear $(FLOWER)
	@$(FLOWER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r flower/requirements.lock
	@$(FLOWER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation -e .
	@touch $@

flower: $(FLOWER)/.installed  ## fit over three sites by Flower, on this machine, in its own environment
	@$(FLOWER)/bin/python flower/loopback.py $(OPTIONS)

run: $(STAMP)  ## run one with other values: make run NOTEBOOK=03_two_sites PARAMETERS="-p tau 2"
	@$(PY) notebooks/run.py $(NOTEBOOK) $(PARAMETERS)

benchmark: $(PEERS)  ## measure ours and the peers, half an hour: make benchmark OPTIONS="--quick"
	@$(PY) -m benchmarks $(OPTIONS)
	@$(PY) -m nbconvert --config notebooks/nbconvert_config.py --to notebook \
	  --execute --inplace notebooks/B_speed.ipynb

# An environment of its own: it is for one table, and nothing else needs these packages.
MIXED := runs/mixed_models
$(MIXED)/.installed: benchmarks/mixed_models.lock
	@echo "Installing Python's packages for mixed models into $(MIXED), a minute or two ..."
	@$(PYTHON) -m venv --clear $(MIXED)
	@$(MIXED)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r benchmarks/mixed_models.lock
	@touch $@

mixedmodels: $(STAMP) $(MIXED)/.installed  ## fit toenail by Python's packages for mixed models; no times
	@$(PY) -m benchmarks.mixed_models --python $(MIXED)/bin/python
	@$(PY) -m nbconvert --config notebooks/nbconvert_config.py --to notebook \
	  --execute --inplace notebooks/B_speed.ipynb

timings: $(STAMP)  ## time the engine's parts, beside the last time; for its developers
	@$(PY) -m pytest -q benchmarks --benchmark-autosave --benchmark-compare

study: $(STAMP)  ## run the Monte Carlo study, an hour on two cores; stopped, it goes on
	@$(PY) -m compendium.study --output notebooks/data/monte_carlo.parquet $(OPTIONS)

sabotage: $(STAMP)  ## alter what is stored, line by line, and see that a check notices each
	@$(PY) tests/sabotage.py $(OPTIONS)

lint: $(STAMP)  ## check format, style and types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

format: $(STAMP)  ## format the code, and mend what can be mended
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

# The extras are named, so that no other one enters the lock of the readers by itself.
COMPILE = $(PY) -m uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
  --no-emit-find-links --python-version 3.11 --no-emit-package laplace-glmm \
  --custom-compile-command "make lock" pyproject.toml

lock: $(STAMP)  ## write all locks anew from pyproject.toml
	@$(COMPILE) $(foreach extra,notebooks book test lint build,--extra $(extra)) -o requirements.lock
	@$(COMPILE) --extra benchmarks -c requirements.lock -o benchmarks/requirements.lock
	@$(COMPILE) --extra mixed_models -c requirements.lock -c benchmarks/requirements.lock \
	  -o benchmarks/mixed_models.lock
	@$(COMPILE) --extra flower --extra build -o flower/requirements.lock
	@$(COMPILE) --extra lab -c requirements.lock -o lab.lock

address: $(STAMP)  ## write the address of pyproject.toml, and the version, into CITATION.cff and README.md
	@$(PY) book/address.py

clean:  ## delete the built book and the caches; .venv and runs stay
	@rm -rf book/_build book/notebooks dist .pytest_cache .mypy_cache .ruff_cache
	@find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

FORCE:
