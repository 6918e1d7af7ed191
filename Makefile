# Each target sets itself up on a machine that has Python 3.11 or newer, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Telemetry of every tool is off; DO_NOT_TRACK=false turns it on.
export DO_NOT_TRACK ?= true
ifneq ($(DO_NOT_TRACK),false)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
endif
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help run demo doctor report real identify test test-all torture check serve dashboard environment clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "With the environment active (. $(BIN)/activate), \`people --help\` lists the commands of the project."

run: $(READY) ## the whole pipeline, from rendered people to the registered model: people run (FLAGS="report@dmt")
	@people run $(or $(FLAGS),--jobs auto)

demo: $(READY) ## the same on the smallest sizes, in a copy of the project: a few minutes
	@people demo

doctor: $(READY) ## whether this machine and this folder are ready, and what to do if not
	@people doctor

report: $(READY) ## open the report in a browser
	@people report --open

real: $(READY) ## the same on recordings of real walks: make real ARCHIVE=path/to/kinect-gait.tar.xz [MOTION=kinectgait]
	@test -n "$(ARCHIVE)" || { echo "make real wants ARCHIVE=path/to/kinect-gait.tar.xz (or a folder with its contents)"; exit 2; }
	python -m stages.configure --profile real $(foreach dataset,tumgaid casiab market1501 fvg coco,--set datasets.$(dataset).source=$(or $(MOTION),kinectgait) --set "datasets.$(dataset).archive=$(ARCHIVE)")
	@people run

identify: $(READY) ## the people in a video of your own: make identify VIDEO=path/to/video.mp4 [GALLERY=name] (or a folder of images, a camera)
	@test -n "$(VIDEO)" || { echo "make identify wants VIDEO=path/to/video.mp4, a folder of images, or a camera's address"; exit 2; }
	python -m stages.identify "$(VIDEO)" $(if $(GALLERY),--gallery "$(GALLERY)")

test: $(READY) ## every test but those of servers and workers; those on real recordings skip where the recordings are absent
	python -m pytest --numprocesses auto -m "not servers and not torture"

test-all: test ## then these, which have the cores for themselves: Prefect, MLflow, PostgreSQL, OpenSSH and workers as real processes
	python -m pytest -m servers

torture: $(READY) ## stages killed at random moments, a disk that fills, hostile models, 200 flow runs: some twenty minutes
	python -m pytest -m torture -s

check: $(READY) ## format, lint, types, architecture
	ruff format --check .
	ruff check .
	pyright
	lint-imports

serve: $(READY) ## Prefect, MLflow, Optuna dashboard and a worker on 127.0.0.1: docs/operations.md (FLAGS="--limit 4")
	@python -m pipelines.serve $(FLAGS)

dashboard: $(READY) ## the Optuna dashboard on the studies of this project, http://127.0.0.1:8080
	@python -m stages.dashboard $(FLAGS)

environment: $(READY) ## Python's packages in .venv, and the command people there

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(f'Python 3.11 or newer is needed, this is {sys.version.split()[0]}; name another one with PYTHON=...' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement requirements.txt
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c "import dvc.commands.repro, mlflow, optuna, prefect, sklearn" & \
	    env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c "import stages.evaluate, torchvision" && wait
	$(BIN)/python -m pipelines.plots_page
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean: ## what the pipeline made, not the environment: a fresh start
	rm -rf .state data/raw data/index data/valid data/flow data/silhouettes data/poses data/crops data/foregrounds data/models \
	    data/compare data/studies data/metrics data/plots data/registry data/report data/scenes data/annotations
