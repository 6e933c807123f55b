# Every target works from a clean checkout and is safe to repeat. Needs Python 3.11 or newer, and make.
.PHONY: setup test soak lint clean lock
PYTHON ?=
export PYTHON
MINUTES ?= 30

setup:
	@sh deploy/environment.sh

test: setup
	@.venv/bin/python -m tests.servers.install
	@.venv/bin/python -m pytest

soak: setup
	@.venv/bin/python -m tests.servers.install
	@.venv/bin/python -m tests.soak --minutes $(MINUTES)

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy .
	@.venv/bin/lint-imports

clean:
	@rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Pins everything anew from requirements/*.in (needs uv).
lock:
	uv pip compile --universal --python-version 3.11 --no-header requirements/base.in -o requirements/base.txt
	uv pip compile --universal --python-version 3.11 --no-header requirements/dev.in -o requirements/dev.txt
