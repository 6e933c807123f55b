# Every target works from a clean checkout and is safe to repeat. Needs Python 3.11 or newer, and make.
.PHONY: production setup develop run demo test soak bench lint clean lock
PYTHON ?= python3
MINUTES ?= 30
RUN := .venv/bin/python

# The processes alone, beside a PostgreSQL and a Redis of your own: see docs/operating.md
production:
	@$(PYTHON) deploy/bootstrap.py prod

setup:
	@$(PYTHON) deploy/bootstrap.py base

develop:
	@$(PYTHON) deploy/bootstrap.py dev

run: setup
	@exec $(RUN) manage.py up

# ONCE=1: ends after the summary, and leaves nothing running
demo: setup
	@exec $(RUN) manage.py demo $(if $(filter-out 0,$(ONCE)),--once)

test: develop
	@$(RUN) -m tests.servers.install
	@$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

soak: develop
	@$(RUN) -m tests.servers.install
	@$(RUN) -m tests.soak --minutes $(MINUTES)

bench: develop
	@$(RUN) -m tests.servers.install
	@$(RUN) -m benchmarks

lint: develop
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy .
	@.venv/bin/lint-imports

clean:
	@$(PYTHON) deploy/clean.py

# Pins everything anew from requirements/*.in; what is pinned stays unless UPGRADE=1.
lock: develop
	@$(RUN) -m pip install --disable-pip-version-check -qq uv
	@for name in prod base dev; do \
	  .venv/bin/uv pip compile -q --universal --python-version 3.11 --no-header $(if $(UPGRADE),--upgrade) \
	    requirements/$$name.in -o requirements/$$name.txt >/dev/null || exit 1; \
	done
