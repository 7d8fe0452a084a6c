# Everything a person does with this project: `make help`.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
UV ?= uv
# Test processes of `make test`; many tests wait more than they work.
JOBS ?= 2
# How long `make fuzz` feeds each of its targets.
SECONDS_EACH ?= 60

# The first of these that requirements.lock serves makes the environment; PYTHON=… names another.
PYTHON ?=
PYTHONS := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11 python3.14)
# As in pyproject.toml. Beam has no wheel for another version or another kind of Python.
SERVED = sys.implementation.name == "cpython" and "t" not in sys.abiflags \
  and (3, 11) <= sys.version_info < (3, 15)

# The last line of a run is its figures, also where make was called by make.
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help run test fuzz check bench test-faults test-kills test-flink image image-lock lock \
  clean prism named
.DELETE_ON_ERROR:

help:
	@echo 'make run          a whole IoT backend on this machine; Ctrl-C stops it'
	@echo '                    DEVICES=25      simulated sensors, beside this machine itself'
	@echo '                    RATE=100        messages a second in all'
	@echo '                    DURATION=60     seconds; then it stops by itself and prints its figures'
	@echo '                    KEEP=1          keep what the last run stored'
	@echo '                    INPUT=file.csv  replay a recording in place of the simulated sensors'
	@echo 'make test         the tests'
	@echo '                    JOBS=2          in so many processes'
	@echo '                    TESTS=tests/mqtt  of a folder, or what else pytest takes'
	@echo 'make fuzz         looks for input that breaks the MQTT codec or the broker, for a minute each'
	@echo '                    SECONDS_EACH=60'
	@echo 'make check        ruff and mypy'
	@echo 'make test-faults  the long kill and outage runs'
	@echo 'make test-kills   the broker is killed 200 times in the midst of a load'
	@echo 'make test-flink   a Flink cluster whose processes are killed in turn; needs Java and Maven,'
	@echo '                    and says how to install them'
	@echo 'make bench        the measurements of bench/RESULTS.md'
	@echo 'make image        the image of the Dataflow templates, tried; without a container engine its'
	@echo '                    Dockerfile is linted, and its Python part executed and tried; its bill of'
	@echo '                    materials is then build/sbom.cdx.json'
	@echo 'make image-lock   templates/images.lock: asks the registries for the digests of base images'
	@echo 'make lock         the lock files from pyproject.toml (needs uv)'
	@echo 'make clean        remove what was built and what runs stored'

# Through the environment, as they are: in the line a quote or a $ of theirs would be the shell's.
run: override export DEVICES := $(value DEVICES)
run: override export RATE := $(value RATE)
run: override export DURATION := $(value DURATION)
run: override export INPUT := $(value INPUT)
run: $(STAMP) prism
	@exec $(BIN)/mqttbeam run \
	  $${DEVICES:+--devices "$$DEVICES"} $${RATE:+--rate "$$RATE"} \
	  $${DURATION:+--duration "$$DURATION"} $${INPUT:+--input "$$INPUT"} \
	  $(if $(filter-out 0 no false,$(KEEP)),--keep)

# Images of containers often ask for no bytecode, and each of hundreds of processes would compile
# all of our modules anew.
test test-faults test-kills test-flink: export PYTHONDONTWRITEBYTECODE :=

test: $(STAMP) prism
	@$(BIN)/python -m pytest -m "not faults and not kills and not flink and not image" \
	  --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

fuzz: $(STAMP)
	@for target in codec core; do \
	  $(BIN)/python -m tests.fuzz $$target $(SECONDS_EACH) || exit 1; \
	done

test-faults: $(STAMP) prism
	@$(BIN)/python -m pytest -m faults $(TESTS)

test-kills: $(STAMP)
	@$(BIN)/python -m pytest -m kills --numprocesses $(JOBS) $(TESTS)

test-flink: $(STAMP) prism
	@$(BIN)/python -m localcloud.flink.jars
	@$(BIN)/python -m pytest -m flink $(TESTS)

# -rs: says plainly where no image was built, and why.
image: $(STAMP) prism
	@BILL=build/sbom.cdx.json $(BIN)/python -m pytest -rs tests/templates/image

image-lock: $(STAMP)
	@$(BIN)/python -m templates.image.pin

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(STAMP) prism
	@$(BIN)/python -m bench

# Says nothing and takes a tenth of a second once Prism is there.
prism: $(STAMP)
	@$(BIN)/python -m localcloud.prism

# Looks at the environment even if it is there where a Python is named, which may be another one.
$(STAMP): requirements.lock pyproject.toml $(if $(PYTHON),named)
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys; sys.exit(not ($(SERVED)))' 2>/dev/null; then \
	    exec "$$python" -P localcloud/environment.py $(VENV); \
	  fi; \
	done; \
	echo 'mqttbeam needs CPython 3.11, 3.12, 3.13 or 3.14, which none of these is: $(PYTHONS).' >&2; \
	echo 'Install one, or name it: make PYTHON=/path/to/python3.13 $(MAKECMDGOALS)' >&2; \
	exit 1

named:

LOCKED = --generate-hashes --no-emit-find-links --no-emit-index-url \
  --custom-compile-command 'make lock'

lock:
	$(UV) pip compile --quiet --universal --python-version 3.11 pyproject.toml --extra dev \
	  -o requirements.lock $(LOCKED)
	$(UV) pip compile --quiet --universal --python-version 3.11 pyproject.toml \
	  -c requirements.lock --no-annotate -o templates/requirements.lock $(LOCKED)
	echo setuptools | $(UV) pip compile --quiet --universal --python-version 3.11 - \
	  -c requirements.lock --no-annotate -o templates/build.lock $(LOCKED)

clean:
	rm -rf $(VENV) .mqttbeam build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
