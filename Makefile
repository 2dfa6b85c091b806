# The targets of the project; `make help` lists them.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed.lock
PEERS := .venv-peers
# A file's tests share what they have set up, so that they stay in one process.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help setup demo docs pictures test test-fast soak bench test-versions release-rehearsal lint format lock protos clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## build .venv from requirements.lock (only when the lock changed)

# The copy of the lock is written last: a set-up that was cut short is done again from the start.
$(INSTALLED): FORCE
	@if ! cmp -s requirements.lock $@; then \
		test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed, and none is on the PATH; install it, or call make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
		"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11; call make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
		echo "Setting up $(VENV) from requirements.lock (once; a few minutes)" >&2 && \
		rm -rf $(VENV) && "$(PYTHON)" -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && \
		cp requirements.lock $@; \
	fi
# An editable install holds copies of the package tfkmeans and of what pyproject.toml says.
	@if ! cmp -s pyproject.toml $(VENV)/installed.toml || \
	! diff -rq -x __pycache__ serving/face $(VENV)/lib/python3*/site-packages/tfkmeans >/dev/null 2>&1; then \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && \
		cp pyproject.toml $(VENV)/installed.toml; \
	fi

demo: setup ## train, publish, serve, ask and score on the penguins, end to end
	@$(BIN)/python examples/demo.py

docs: setup ## build site/: README, the guides and the reference of the Python names
	@rm -rf site && $(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs -d build/doctrees . site \
		&& cp site/README.html site/index.html && echo "site/index.html"

pictures: setup ## draw the pictures of README and docs/ anew, and the outputs of the notebook
	@$(BIN)/python -m scripts.draw_demo
	@$(BIN)/python -m scripts.draw_report
	@$(BIN)/python -m scripts.draw_notebook
	@$(BIN)/python -m benchmarks.fit_report benchmarks/results/fit.json benchmarks/results/fit.png

test: setup ## run the test suite
	@$(PYTEST)

test-fast: setup ## run the tests that are not marked slow, one of each main behaviour
	@$(PYTEST) -m "not slow"

soak: setup ## run the test suite with every kill point, soak and fuzz case whole
	@TFKMEANS_SOAK=1 $(PYTEST) --timeout=3600

test-versions: setup ## the tests of what touches TensorFlow, with the lowest and the highest
	@scripts/test_tensorflow_versions.sh

release-rehearsal: setup ## every command of docs/release.md, against the embedded server
	@$(BIN)/python -m scripts.release_rehearsal

bench: setup $(PEERS)/installed.lock ## measure fits against scikit-learn, intelex and faiss; BENCH="--help" lists the options
	@$(BIN)/python -m benchmarks.fit $(BENCH)

# What the fits are measured against, in an environment of its own.
$(PEERS)/installed.lock: benchmarks/peers.lock
	@rm -rf $(PEERS) && "$(PYTHON)" -m venv $(PEERS) && \
		$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< && \
		cp $< $@

lint: setup ## ruff, mypy --strict, the import direction and the generated clients
	@$(BIN)/python scripts/generate_sync_clients.py --check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## rewrite the code in the house's form, and the generated clients
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python scripts/generate_sync_clients.py

lock: setup ## write requirements.lock, and those of docker/, anew from pyproject.toml
	@$(COMPILE) --all-extras pyproject.toml -o requirements.lock
	@$(COMPILE) --constraint requirements.lock --extra all pyproject.toml -o docker/requirements-scorer.lock
	@$(COMPILE) --constraint requirements.lock pyproject.toml -o docker/requirements-tools.lock
	@$(COMPILE) benchmarks/peers.in -o benchmarks/peers.lock

protos: ## write export/wire/*_pb2.py anew from the .proto files
	@scripts/make_protos.sh

clean: ## remove .venv and the caches; models/ stays
	rm -rf $(VENV) $(PEERS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build site

FORCE:
