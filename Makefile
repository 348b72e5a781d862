# Two commands to begin with: `make demo` and `make test`. Both set up first what is missing.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint bench clean

BIN := .venv/bin
STAMP := .venv/.qts-ready

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## .venv with everything, Java and the Delta jars checked

$(STAMP): setup.py pyproject.toml scripts/setup.sh
	@scripts/setup.sh
	@touch $@

demo: $(STAMP)  ## the whole pipeline on packaged real data (ARGS="--json --workdir DIR")
	@$(BIN)/qts demo $(ARGS)

test: $(STAMP)  ## all tests but the long ones (ARGS="-k settings")
	@$(BIN)/python -m pytest -m "not slow and not system and not kafka and not browser" $(ARGS)

test-all: $(STAMP)  ## all tests: crashes, clusters and brokers too; property tests draw new examples
	@HYPOTHESIS_PROFILE=random $(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)  ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)  ## every benchmark: ratios against a peer in the same run (ARGS="--quick")
	@set -e; for script in tests/bench/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script" $(ARGS); done

clean:  ## removes what was built; keeps work/ and .env
	@rm -rf .venv .tools build dist lib/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
