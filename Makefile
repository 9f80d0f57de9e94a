# The user's commands. `make benchmark` and `make test` make .venv on first use and keep it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

ADAPTERS ?=
DATASETS ?=
TASKS    ?=
BACKBONE ?=
HYPER    ?=
SEED     ?= 0
RECORDS  ?=
ROWS     ?=
OUT      ?= runs
JOBS     ?= 2
IMAGES   ?=
BENCHMARK ?= pocket

OPTIONS = --seed $(SEED) --out "$(OUT)" \
	$(if $(ADAPTERS),--adapters "$(ADAPTERS)") $(if $(DATASETS),--datasets "$(DATASETS)") \
	$(if $(TASKS),--tasks $(TASKS)) $(if $(BACKBONE),--backbone "$(BACKBONE)") \
	$(if $(HYPER),--hyper $(HYPER)) $(if $(RECORDS),--records "$(RECORDS)")

# Idle threads sleep instead of spinning, so that processes do not steal each other's cores.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help benchmark benchmark-images leaderboard report plan records check pretrain ls test test-conformance test-faults bench coverage lint docs pocket-records pretrain-pocket pretrain-sur clean

help: ## list the targets
	@grep -hE '^[a-z-]+[a-z%-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 28

benchmark: $(READY) ## run the pocket benchmark; ADAPTERS="ncc url" DATASETS="mnist icons" TASKS=50 BACKBONE=... HYPER=fixed SEED=...
	@$(BIN)/metabench run pocket $(OPTIONS)

# Where the processor multiplies bfloat16 itself this takes half the time; the columns of the table say which it was.
DTYPE ?= $(shell grep -qEm1 'amx_bf16|avx512_bf16' /proc/cpuinfo 2>/dev/null && echo bf16)
INSIDE = $(if $(DTYPE),(dtype=$(DTYPE)))

benchmark-images: ADAPTERS := ncc url copa tsa$(INSIDE) copa-tsa$(INSIDE)
benchmark-images: TASKS := 40
benchmark-images: $(READY) ## five way, five shot, with the methods that work inside the network: seconds an episode; DTYPE=auto for float32
	@$(BIN)/metabench run pocket-5w5s $(OPTIONS)

benchmark-%: $(READY) ## run another benchmark: make benchmark-meta-dataset-mdl RECORDS=/path BACKBONE=url.safetensors
	@$(BIN)/metabench run $* $(OPTIONS)

leaderboard: $(READY) ## print the last run's leaderboard again and write its files (CSV, Parquet, Markdown, LaTeX)
	@$(BIN)/metabench leaderboard --out "$(OUT)"

report: $(READY) ## write the last run's results as one page, runs/report.html
	@$(BIN)/metabench report --out "$(OUT)" $(if $(RECORDS),--records "$(RECORDS)")

plan: $(READY) ## say what a run takes, from specs alone: make plan BENCHMARK=meta-dataset-mdl RECORDS=/path
	@$(BIN)/metabench plan $(BENCHMARK) --dry-run $(if $(TASKS),--tasks $(TASKS)) $(if $(RECORDS),--records "$(RECORDS)") \
		$(if $(DATASETS),--datasets "$(DATASETS)") $(if $(BACKBONE),--backbone "$(BACKBONE)")

records: $(READY) ## make records from folders of images: make records IMAGES=photos RECORDS=records
	@test -n "$(IMAGES)" || { echo 'error: say which images: make records IMAGES=photos RECORDS=records' >&2; exit 2; }
	@$(BIN)/metabench records build "$(IMAGES)" --out "$(or $(RECORDS),records)"

check: $(READY) ## look at this machine and, with RECORDS=/path, at every record
	@$(BIN)/metabench doctor --out "$(OUT)" $(if $(RECORDS),--records "$(RECORDS)")
	@$(if $(RECORDS),$(BIN)/metabench records check "$(RECORDS)",true)

ls: $(READY) ## list benchmarks, adapters and backbones
	@$(BIN)/metabench ls

test: $(READY) lint ## lint, type check and run the tests
	@$(BIN)/pytest -n $(JOBS) -m "not faults" --ignore tests/conformance tests

test-faults: $(READY) ## tests with a browser, killed processes or a cluster; those that lack their program say so
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,ray]"
	@$(BIN)/pytest -n $(JOBS) --dist loadfile -m faults --ignore tests/conformance tests

test-conformance: $(READY) ## hold every method to the published implementations' numbers (reads ../shared)
	@$(BIN)/pytest tests/conformance

bench: $(READY) ## measure speed against textbook forms; ROWS="stream_cold read_records"
	@$(BIN)/python -m benches $(ROWS) --out "$(OUT)/bench.csv"

coverage: $(READY) ## measured coverage of both intervals, by simulation
	@$(BIN)/python -m benches.coverage && $(BIN)/python -m benches.coverage_ncc

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: $(READY) ## build the guide and the reference into build/docs
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/docs/index.html"

pocket-records: $(READY) ## rebuild the shipped records of the pocket suite (needs npm and apt)
	@$(BIN)/pip install --quiet -c constraints.txt -e ".[records]"
	@$(BIN)/python -m episodes.sources.pocket_build --work build/pocket --out episodes/sources/pocket_records

pretrain: pretrain-pocket ## the same as pretrain-pocket

pretrain-pocket: $(READY) ## train the shipped backbone again
	@OMP_NUM_THREADS=1 $(BIN)/metabench pretrain --steps 4000 --precision bf16 --seed 0 --out build/resnet18-pocket.safetensors

SUR_DOMAINS := icons emoji clipart glyphs
pretrain-sur: $(READY) ## train a small backbone per seen pocket domain, for sur (about 8 minutes on one core)
	@for domain in $(SUR_DOMAINS); do OMP_NUM_THREADS=1 $(BIN)/metabench pretrain --domains $$domain --widths 8,16,32,64 \
		--steps 600 --batch-size 64 --precision bf16 --seed 0 --out build/sur/resnet18-$$domain.safetensors || exit 1; done
	@echo "use them with: make benchmark ADAPTERS=sur BACKBONE=\
	$$(echo $(SUR_DOMAINS:%=build/sur/resnet18-%.safetensors) | tr ' ' +)"

clean: ## remove the environment (results in runs/ stay)
	rm -rf $(VENV) build *.egg-info

$(READY): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; run: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "error: $(PYTHON) cannot make a virtual environment (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "installing into $(VENV) (first use, or requirements changed) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch setuptools
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY)
