# Each of demo, test, check and docs sets itself up: a virtual environment in .venv, filled from pyproject.toml with the
# versions of constraints.txt. Only Python 3.11 or newer and make are expected of the machine.
# Another Python: make test PYTHON=python3.12

PYTHON ?= python3
IN_VENV = .venv/bin/python

.NOTPARALLEL:
.PHONY: help demo test check docs dist slow bench faults honesty clean

help:
	@echo 'make demo    real Whisper weights, real speech, frozen against fine-tuned: ends with the paths of the pages'
	@echo 'make test    the tests, less the slow ones'
	@echo 'make check   format, lint (security too), types, known vulnerabilities of the dependencies'
	@echo 'make docs    the documentation as a website, in site/'
	@echo 'make dist    source distribution and wheel, in dist/'
	@echo 'make slow    the tests that take minutes or gigabytes'
	@echo 'make bench   every benchmark in bench/, one by one'
	@echo 'make faults  kills, full disks, power cuts, damage, nonsense, injected and survived (docs/reliability.md); needs cc'
	@echo 'make honesty do intervals and p-values hold what they claim? an hour of simulated studies (docs/honesty.md)'
	@echo 'make clean   remove .venv, the demo'\''s workspace and every cache'
	@echo
	@echo 'Each sets up what it needs in .venv. Another Python: make test PYTHON=python3.12'

.venv/installed-dev .venv/installed-demo: .venv/installed-%: pyproject.toml constraints.txt .ci/venv
	@sh .ci/venv '$(PYTHON)' $*

demo: .venv/installed-demo
	@$(IN_VENV) -m demo.prepare
	@$(IN_VENV) -m demo.run

# One torch thread a process, or the processes get in each other's way.
test: .venv/installed-dev
	@sh .ci/browser
	@OMP_NUM_THREADS=1 $(IN_VENV) -m pytest -m 'not slow' -n auto --maxprocesses 4 --dist worksteal

check: .venv/installed-dev
	@$(IN_VENV) -m ruff format --check .
	@$(IN_VENV) -m ruff check .
	@$(IN_VENV) -m mypy
	@.venv/bin/lint-imports --no-logo --no-cache
	@$(IN_VENV) .ci/audit.py

# Nothing is fetched while it builds. Material announces its successor at each start.
docs: .venv/installed-dev
	@NO_MKDOCS_2_WARNING=1 $(IN_VENV) -m mkdocs build --strict --quiet
	@echo 'site/index.html; its search wants a server: python3 -m http.server -d site'

dist: .venv/installed-dev
	@$(IN_VENV) -m build --no-isolation --outdir dist . >dist.log 2>&1 || { cat dist.log; exit 1; }
	@rm -f dist.log && ls dist

slow: .venv/installed-dev
	@$(IN_VENV) -m pytest -m slow

bench: .venv/installed-dev
	@for script in bench/*.py; do echo "== $$script"; $(IN_VENV) "$$script" || exit 1; done

faults: .venv/installed-dev
	@$(IN_VENV) -m faults --write

honesty: .venv/installed-dev
	@OMP_NUM_THREADS=1 $(IN_VENV) -m honesty --write

clean:
	@rm -rf .venv build dist site demo/workspace *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
