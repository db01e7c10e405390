# All commands, the same on a laptop and in CI. They need Python 3.11 or newer and make.

# The first of these that is Python 3.11 or newer.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
# Each file is newer than the requirement file whose packages are installed.
MADE = $(VENV)/.made
RUN = $(VENV)/.run
TEST = $(VENV)/.test
LINT = $(VENV)/.lint
# The packages of the built-in recogniser. LOCAL_RECOGNISER=off, also in .env, leaves them out.
RECOGNISER = $(VENV)/.recogniser
LOCAL_RECOGNISER ?= $(shell sed -n 's/^LOCAL_RECOGNISER=//p' .env 2>/dev/null)
# checkov pins another boto3 than the project, so it has its own environment. The packages that the
# benchmarks compare with also have one, because they are not part of the product.
CHECKOV = $(VENV)/checkov
CHECKOV_INSTALLED = $(CHECKOV)/.installed
ANCHORS = $(VENV)/anchors
ANCHORS_INSTALLED = $(ANCHORS)/.installed
# Its own cache folder, so that nothing is written outside of the environment.
DENO = DENO_DIR=$(VENV)/deno DENO_NO_UPDATE_CHECK=1 $(BIN)/deno
LINTS = lint-code lint-types lint-front lint-templates lint-policies lint-scripts
.PHONY: run test parts test-fast bench simulate chaos lint $(LINTS) requirements deploy verify-gemini verify-aws caption-quality fuzz mutants images-check mysql chromium exiftool clean help

help:  ## list all commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# Nothing that runs needs pip and uv, which take 55 MB. requirements/install.py gets them again.
run: $(RUN) $(if $(filter off,$(LOCAL_RECOGNISER)),,$(RECOGNISER))  ## run the whole system at http://127.0.0.1:8000 (PORT=… changes the port); Ctrl-C stops it
	@test -e $(TEST) || ! test -e $(BIN)/uv || \
		$(BIN)/uv pip uninstall --quiet --python $(BIN)/python pip uv || true
	@exec $(BIN)/python -m local_cloud

# Four processes run one file at a time, the long files first. Many tests wait for a running system, so
# four processes keep two processors busy.
test: $(TEST) $(RECOGNISER) $(if $(ARGS),,parts)  ## run all tests (ARGS=… is passed to pytest: a path, or path::test_name)
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(TEST) $(RECOGNISER)  ## run the unit tests without the slow ones (ARGS=… is a path, or path::test_name)
	$(BIN)/python -m pytest -m "not slow" $(or $(ARGS),tests/unit --numprocesses 2 --dist loadfile)

bench: $(TEST) $(ANCHORS_INSTALLED)  ## measure each part beside an alternative, ten minutes (ARGS=… chooses benchmarks)
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: $(TEST)  ## cause every fault at length, ten minutes (CHAOS_UPLOADS=500, CHAOS_SEED=1; ARGS=… chooses scenarios)
	@$(BIN)/python -m tests.faults.chaos $(ARGS)

lint: $(LINTS)  ## ruff, mypy, deno, djlint, cfn-lint, Guard, checkov, hadolint, shellcheck (with --jobs 2 side by side)

lint-code: $(LINT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

lint-types: $(LINT)
	$(BIN)/mypy

lint-front: $(LINT)
	$(DENO) fmt --check
	$(DENO) lint
	$(DENO) check --quiet --no-remote --no-npm web_app/static/modules web_app/static/root/share_worker.js tests/unit/static
	$(BIN)/djlint --check --quiet web_app/templates
	$(BIN)/djlint --lint web_app/templates

lint-templates: $(LINT)
	$(BIN)/cfn-lint --include-checks I -- deployment/*.yaml

lint-policies: $(TEST) $(CHECKOV_INSTALLED)
	$(BIN)/python -m deployment.guard
	$(CHECKOV)/bin/checkov --directory deployment --framework cloudformation --skip-download --quiet --compact

lint-scripts: $(LINT)
	git ls-files '*Dockerfile' | xargs -r $(BIN)/hadolint
	$(BIN)/shellcheck .ci/run $$(git ls-files '*.sh')

images-check: $(TEST)  ## build the three container images without a daemon and use them (as root on Debian)
	$(BIN)/python -m pytest tests/images/check_images.py $(ARGS)

# mutmut copies the sources and the tests into mutants/. A run that was ended continues the next time.
MUTANTS_SECONDS ?= 1800
mutants: $(TEST)  ## change critical code in small ways, and list the changes that no test notices (MUTANTS_SECONDS=1800)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/mutants \
		--require-hashes --requirement requirements/mutants.txt
	@PYTHONPATH=$(VENV)/mutants timeout $(MUTANTS_SECONDS) $(BIN)/python -m mutmut run; \
		PYTHONPATH=$(VENV)/mutants $(BIN)/python -m mutmut results

FUZZ_SECONDS ?= 300
fuzz: $(TEST)  ## run the fuzzers, FUZZ_SECONDS each (TARGETS=… chooses some)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/fuzz \
		--require-hashes --requirement requirements/fuzz.txt || { \
		echo "The fuzzers need atheris, which has no wheel for this Python. Linux with CPython 3.11 to 3.14 has one:"; \
		echo "make fuzz PYTHON=/path/to/python3.11 VENV=.venv-fuzz"; exit 1; }
	@PYTHONPATH=$(VENV)/fuzz $(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(TARGETS)

simulate: $(TEST)  ## simulate the queues of larger environments on AWS, ten seconds
	@$(BIN)/python -m benchmarks.simulation

deploy: $(RUN)  ## deploy to AWS (ARGS=… is another command than up; see deployment/README.md)
	@$(BIN)/python -m deployment $(or $(ARGS),up)

verify-gemini: $(TEST)  ## check the assumptions about Gemini with real requests, for less than one US cent (needs GEMINI_API_KEY)
	@$(BIN)/python -m tests.verify.gemini

verify-aws: $(TEST)  ## check the assumptions about AWS in your account, for less than US$ 2 (needs credentials and GEMINI_API_KEY)
	@$(BIN)/python -m tests.verify.aws $(ARGS)

caption-quality: $(TEST) $(RECOGNISER)  ## caption the photos of DIR=… and compare them with its reference.csv
	@$(BIN)/python -m tests.verify.captions $(or $(DIR),tests/photos)

# What cannot be had is named, and `make test` lists the tests that it skipped for that at its end.
parts:
	@$(MAKE) --no-print-directory mysql || echo "Tests that need MySQL will be skipped."
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory chromium || echo "Tests that need a browser will be skipped."
	@$(MAKE) --no-print-directory exiftool || echo "Tests that need ExifTool will be skipped."

mysql:  ## unpack a MySQL server for the tests; nothing is installed
	@bash tests/support/install_mysql.sh

# Chromium without windows does the same work in less than half of the processor time.
chromium:  ## install a browser for the tests (as root on Debian and Ubuntu)
	@if command -v chromium-headless-shell >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		if command -v chromium >/dev/null; then exit 0; fi; \
		echo "Chromium is missing. Install it with the packages of your system."; exit 1; fi; \
	install() { DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$$@" >/dev/null; }; \
	echo "Installing Chromium, once …"; apt-get -qq update; \
	install chromium-headless-shell fonts-dejavu-core || command -v chromium >/dev/null || \
		install chromium fonts-dejavu-core

exiftool:  ## install a reader of metadata for the tests (as root on Debian and Ubuntu)
	@if command -v exiftool >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "ExifTool is missing. Install it with the packages of your system."; exit 1; fi; \
	echo "Installing ExifTool, once …"; apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
			libimage-exiftool-perl >/dev/null

clean:  ## remove the virtual environment and caches (.local/ with your images stays)
	rm -rf $(VENV) mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis

requirements: $(TEST)  ## write the requirement files again, after a change of a .in file (ARGS=… is passed to uv)
	@bash requirements/compile.sh $(BIN)/uv $(ARGS)

$(MADE): requirements/installer.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found. Install it, or give its path: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Creating an environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "This Python cannot create a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# Python compiles a module when it is first imported. Without these imports, the first start and the
# first photo would wait for that. The functions and the web application import the last three when
# they first use them.
IMPORTED = lambda_functions.annotation.handler web_app.app lambda_functions.thumbnail.handler \
	local_cloud.supervisor local_cloud.gemini_emulator snowballstemmer httpcore2 truststore
$(RUN): requirements/run.txt $(MADE)
	@$(BIN)/python requirements/install.py $<
	@printf '%s\n' $(IMPORTED) | xargs -P 2 -I module $(BIN)/python -c 'import module'
	@touch $@

# Without these packages captions name colours, so a computer for which there are none is no error.
# Why they cannot be used is said with the first caption.
$(RECOGNISER): requirements/recogniser.txt $(RUN)
	@$(BIN)/python requirements/install.py $< || \
		echo "Captions name colours only, because the recogniser was not installed. To try again: rm $@"
	@$(BIN)/python -c 'from local_cloud.captions.recogniser import load_networks; load_networks()' 2>/dev/null || true
	@touch $@

# Without this, each of the four processes of the first `make test` would compile all tests.
$(TEST): requirements/test.txt $(RUN)
	@$(BIN)/python requirements/install.py $<
	@echo "Compiling the tests …"
	@$(BIN)/python -m pytest --collect-only --quiet >/dev/null 2>&1 || true
	@touch $@

$(LINT): requirements/lint.txt $(TEST)
	@$(BIN)/python requirements/install.py $<
	@touch $@

$(CHECKOV_INSTALLED): requirements/checkov.txt | $(MADE)
	@$(BIN)/python -m venv --without-pip $(CHECKOV)
	@$(BIN)/python requirements/install.py --into $(CHECKOV) $<
	@touch $@

$(ANCHORS_INSTALLED): requirements/anchors.txt | $(TEST)
	@$(BIN)/python -m venv --without-pip $(ANCHORS)
	@$(BIN)/python requirements/install.py --into $(ANCHORS) $<
	@touch $@
