# Two commands matter: `make book` and `make test`. Each sets up all that it needs in .venv first.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find code -name '*.py' -o -name '*.js' -o -name '*.css') $(wildcard book/*.css book/*.js book/stages.py book/pages.py book/reference.py book/favicon.svg chapters/results/*.json) code $(wildcard code/metacalc) benchmarks/results.md
PAGES := $(shell find chapters -not -path "*/.*" -not -name "*.mo") $(wildcard *.yml *.md book/*.* book/python/* book/templates/* hub/*.py code/metacalc/locale/*/*/*.po)
# Changes when a package is installed or removed: a page compares with the frameworks that are there.
PACKAGES := $(wildcard .venv/lib/python*/site-packages)

.PHONY: book zh zh-texts test pdf lab hub serve notebooks studies requirements oracles budgets bench mutants page-cells publish matrix clean

book: _build/html/.built
	@echo "The book is in _build/html/index.html"

# Two processes, each with a processor to itself.
test: book
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/pytest --nbval --nbval-current-env --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The Chinese pages alone, for who translates.
zh: .venv/installed
	$(BIN)/python book/execute.py
	$(BIN)/python book/editions.py zh

# Brings the Chinese catalogues up to date with the English texts: what is new or has changed waits for a translation.
zh-texts: book
	$(BIN)/python book/texts.py

lab: .venv/installed
	$(BIN)/jupyter lab --notebook-dir chapters

# A trial of the JupyterHub for a class: any name, the password gradient-descent, homes in .hub, all users one account.
hub: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[hub]'
	@mkdir -p .hub
	@echo "http://127.0.0.1:8000 (stop with Ctrl-C)"
	cd .hub && $(CURDIR)/$(BIN)/jupyterhub --config $(CURDIR)/hub/jupyterhub_config.py --Authenticator.allow_all=True \
	  --JupyterHub.authenticator_class=shared-password --SharedPasswordAuthenticator.user_password=gradient-descent \
	  --JupyterHub.spawner_class=simple --SimpleLocalProcessSpawner.home_dir_template='$(CURDIR)/.hub/{username}'

serve: book
	@echo "http://localhost:8000 (stop with Ctrl-C)"
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

# Prints the whole book with Chromium, from its pages, the first of which then offers it: some minutes.
pdf: _build/html/_downloads/metacalc.pdf

_build/html/_downloads/metacalc.pdf: _build/html/.built book/pdf.py book/pdf.css
	$(BIN)/python -m pip install --quiet --editable '.[pdf]'
	$(BIN)/python book/pdf.py

# Lays the pages out for any host of static files, in _build/publish; sizes, file by file, are in _build/publish.md.
publish: book
	$(BIN)/python book/publish.py

# Runs the notebooks and stores their text outputs, which the tests compare.
notebooks: .venv/installed
	$(BIN)/python book/notebooks.py

# Reruns the long studies whose results the chapters draw, and rewrites chapters/results/. Ctrl-C, and again, goes on; what is
# finished is kept in .studies/, which `rm -r .studies` forgets. One of them spreads its work over a Dask cluster, one has a net
# of PyTorch's.
studies: oracles
	for study in studies/*.py; do $(BIN)/python $$study || exit 1; done

# Measures page weight, times and latencies, and rewrites the table in CONTRIBUTING.md.
budgets: book
	$(BIN)/python book/budgets.py

# The frameworks and the cluster that the tests compare with where they are installed, and the hub that they start. By uv, as
# they are gigabytes: in half a minute, and without compiling files of which few are imported.
oracles: .venv/installed
	$(BIN)/python -m pip install --quiet uv
	UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[hub,oracles]'

# Compares the meta-learning loops with the peers, in an environment of its own, and rewrites benchmarks/results.md.
bench:
	$(PYTHON) -m venv benchmarks/.venv
	benchmarks/.venv/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt '.[figures,studies]'
	benchmarks/.venv/bin/python benchmarks/bench.py
	benchmarks/.venv/bin/python benchmarks/bench.py --quality

requirements: .venv/installed
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra book --extra lab --extra test --no-annotate \
	  --custom-compile-command "make requirements" --output-file requirements.txt --upgrade pyproject.toml

# Runs every chapter's cells in the built pages and notes which do not run there, or for how long: a quarter of an hour.
page-cells: book
	$(BIN)/python book/python/trial.py

# Puts small faults into the code, one at a time, and counts which the tests notice: hours. Rewrites the table in CONTRIBUTING.md.
mutants: .venv/installed
	$(BIN)/python tests/mutants.py

# The package's tests on every Python that is found, with the oldest versions that are allowed, and from the source archive: some
# minutes for each. What runs is in pyproject.toml, [tool.tox].
matrix: .venv/installed
	$(BIN)/python -m pip install --quiet tox tox-uv build
	$(BIN)/tox run

clean:
	rm -rf _build .venv .tox

.venv/installed: requirements.txt pyproject.toml code/metacalc/__init__.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

_build/html/.built: _build/code $(PAGES)
	$(BIN)/python book/execute.py
	$(BIN)/python book/editions.py
	@touch $@

# The cache of executed notebooks knows the notebooks only: what they import or read has changed, so all of it goes.
_build/code: .venv/installed $(SOURCES) $(PACKAGES)
	rm -rf _build
	@mkdir -p _build && touch $@
