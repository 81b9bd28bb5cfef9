# Two commands: `make book` (environment, executed chapters, static site) and `make test`.
# PROFILE is smoke, quick or full. `make help` lists the rest.

PROFILE ?= quick
PORT ?= 8000

# An active conda environment (other than base) is used as it is, else .venv is made. `make PYTHON=...` uses that
# interpreter and installs nothing into it. Paths are quoted, since they may have spaces, and scripts are run by name of
# their interpreter, since an unpacked archive may have lost the right to run them.
ifeq ($(origin PYTHON),command line)
INSTALL := @:
else
PYTHON := $(if $(and $(CONDA_PREFIX),$(filter-out base,$(CONDA_DEFAULT_ENV))),$(CONDA_PREFIX)/bin/python,.venv/bin/python)
INSTALL := @bash tools/environment.sh "$(PYTHON)"
endif

# The scripts in tools/ import one another from their own folder.
unexport PYTHONSAFEPATH

.PHONY: help book test lint format chapter student instructor slides weights sealed bench publish release serve clean environment packages
.DELETE_ON_ERROR:

help:
	@echo 'make book [PROFILE=quick] [JOBS=1]   environment, executed chapters and the site in build/PROFILE/html'
	@echo 'make test [ARGS="-k build"]      all tests'
	@echo 'make chapter CHAPTER=11_training [PARAMS="-p steps 100"]   one chapter, and those it needs'
	@echo 'make student | make instructor   notebooks for a class with all that runs them, in build/student.zip'
	@echo 'make slides [PROFILE=quick]      a deck for each of eight sessions, from executed chapters, in build/slides'
	@echo 'make weights                     train weights/full.safetensors from step 0, or go on with a stopped run'
	@echo 'make sealed WEIGHTS=FILE         measure weights once on the sealed test, into results/sealed.json'
	@echo 'make bench                       speed as ratios, into results/benchmarks.json (an idle machine, 25 minutes)'
	@echo 'make lint | make format          check, or mend, the style of the code'
	@echo 'make serve [PORT=8000]           look at the built site in a browser'
	@echo 'make publish                     take the results of a build into results/, README.md and book/intro.md'
	@echo 'make release [PROFILE=full]      site, PDF, packs, weights, cards and checksums, in build/release'
	@echo 'make clean                       remove everything that was built (not the environment)'

book: packages
	"$(PYTHON)" tools/execute_chapter.py --profile $(PROFILE)$(JOBS:%= -j %)
	"$(PYTHON)" tools/build_site.py --profile $(PROFILE)

test: environment
	@bash tools/system_packages.sh "$(PYTHON)" test
	"$(PYTHON)" -m pytest -n auto --dist loadfile $(ARGS)

lint: environment
	"$(PYTHON)" -m ruff check
	"$(PYTHON)" -m ruff format --check
	"$(PYTHON)" tools/environment_check.py

format: environment
	"$(PYTHON)" -m ruff check --fix
	"$(PYTHON)" -m ruff format

chapter: packages
	"$(PYTHON)" tools/execute_chapter.py --profile $(PROFILE)$(JOBS:%= -j %) $(PARAMS) $(CHAPTER)

student instructor: environment
	"$(PYTHON)" tools/packs.py $@ $(CHAPTER)

slides: environment
	"$(PYTHON)" tools/slides.py --profile $(PROFILE)

weights: packages
	@bash tools/system_packages.sh "$(PYTHON)" weights
	"$(PYTHON)" -m ast_lib train --folder build/weights -o weights/full.safetensors

sealed: packages
	@bash tools/system_packages.sh "$(PYTHON)" sealed
	"$(PYTHON)" -m benchmarks.sealed "$(WEIGHTS)"

bench: packages
	"$(PYTHON)" -m benchmarks $(ARGS)

publish: environment
	@mkdir -p results
	cp build/$(PROFILE)/results/*.json results/
	"$(PYTHON)" tools/readme_figures.py

release: book
	$(MAKE) student instructor slides
	"$(PYTHON)" tools/release.py --profile $(PROFILE)

serve: environment
	"$(PYTHON)" -m http.server --bind 127.0.0.1 --directory build/$(PROFILE)/html $(PORT)

clean:
	rm -rf build

environment:
	$(INSTALL)

packages: environment
	@bash tools/system_packages.sh "$(PYTHON)"
