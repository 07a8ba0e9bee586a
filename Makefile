# `make` alone prints the targets. ARGS reach the command: make demo ARGS="--peers 3", make test ARGS="-k ledger -x"
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint bench

help:
	@echo 'make demo       two organisations train one model on this machine (swarm demo)'
	@echo 'make test       the quick suite'
	@echo 'make test-slow  the rest of the tests'
	@echo 'make lint       ruff and mypy'
	@echo 'make bench      the numbers that the README quotes, and docs/BENCHMARKS.md anew'
	@echo 'make .venv      the environment of all of these, in .venv'
	@echo 'ARGS="..." goes to the command, as in: make demo ARGS="--peers 3 --seed 1"'

# The stamp is written last, so an installation that was interrupted is done again.
.venv: .venv/.installed
.venv/.installed: setup.cfg pyproject.toml constraints.txt
	@python=$$(.ci/python) && echo "installing into .venv with $$python: some minutes the first time" && $$python -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv
	@.venv/bin/swarm demo $(ARGS)

# Several tests at once, but for those marked `alone`; ARGS="-n 0" runs one after the other. The quick ones go to the
# processes by file, because files share what they start; of the slow ones, one file would hold up the end.
PYTEST = .venv/bin/python -m pytest -n auto

test: .venv
	$(PYTEST) --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test-slow: .venv
	$(PYTEST) --dist worksteal -m slow $(ARGS)

lint: .venv
	.venv/bin/ruff check .
	.venv/bin/mypy

bench: .venv
	.venv/bin/python benchmarks/startup.py
	.venv/bin/swarm bench stream $(ARGS)
	.venv/bin/swarm bench merge --peers 2 --mb 1
	.venv/bin/python benchmarks/lease.py
	.venv/bin/python benchmarks/rounds.py
	.venv/bin/python -m benchmarks.page
