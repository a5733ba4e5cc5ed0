# make demo                      the whole program on sample photos
# make demo PHOTOS=~/Pictures    the same on your own; nothing is written into that folder
# make test                      ruff, mypy and the quick tests
# make test-all                  the slow ones too: processes killed, packages installed, benchmarks guarded
#
# make bench                     how fast each part is, against what bounds it; written into docs/results.md
# make bench AUTOFAISS=/path/to/python
#                                compares with autofaiss too, which that Python has (not this one: it needs an older NumPy)
#
# make model CLONES=FOLDER TINY=tiny-imagenet-200
#                                the built-in model again: hours; after an interruption the same command resumes. CLONES
#                                holds clones of the repositories that docs/make_training_photos.py --list names;
#                                with ORDINARY=FOLDER, as for the model in the package, probabilities are brought
#                                into line with photos there too
#
# Each does its own set-up in .venv. Where PyPI's torch is a large CUDA build (Linux), `make test` takes a smaller one
# from any index that has it, for instance by PIP_EXTRA_INDEX_URL.

PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PHOTOS ?=
export PHOTOS
RUN ?= runs/builtin
TERMS := for research and testing only, as the pictures of ImageNet that it learned from
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow test-all bench model docs clean

demo: $(VENV)/.stamp-demo
	$(BIN)/python docs/demo.py "$$PHOTOS"

test: $(VENV)/.stamp-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet --numprocesses auto --dist loadfile -m "not slow"
	@echo "Proven: style, types, and every quick test. make test-all runs the slow ones too."

test-slow: $(VENV)/.stamp-test
	$(BIN)/python -m pytest --quiet --numprocesses auto --dist loadfile -m slow
	@echo "Proven: what survives kills, what is installed, what the benchmarks hold."

test-all: test test-slow

# What the built-in model learns from: of $(LABELLED) the labels too.
SETS := build/sets
LABELLED := scenes mini-imagenet tiny-imagenet-200 imagenette imagewoof
UNLABELLED := cats-dogs cats-dogs-unlabelled scenes-unlabelled intel-scenes cars-unlabelled butterflies groceries \
	groceries-unlabelled landscapes dog-cat-breeds dog-cat-breeds-unlabelled clothing trash ikea-unlabelled \
	houses-unlabelled pacs-photo dishes bsds-unlabelled
# What its probabilities are brought into line with. Ordinary photos, called <WordNet id>_<name>, are the best judges.
HELD_OUT := $(foreach set,imagenette mini-imagenet scenes,$(SETS)/$(set)/val)
ORDINARY ?=
SEVENTH := cats-dogs cats-dogs-unlabelled
HALF := tiny-imagenet-200 $(SEVENTH)
THIRD := $(filter-out mini-imagenet $(SEVENTH),$(LABELLED) $(UNLABELLED))
# Sharp photos with labels: in them it is seen which names a sharp photo gets too often.
SHARP := scenes imagenette imagewoof
weights = $(foreach set,$(1),--weight $(SETS)/$(set) $(2))
TEACHER := build/models/efficientnet-lite0-160.onnx
FOLDERS = $(addprefix $(SETS)/,$(LABELLED)) $(foreach set,$(UNLABELLED),--unlabelled $(SETS)/$(set))

model: $(VENV)/.stamp-test
	@test -d "$(CLONES)" -a -d "$(TINY)" || { \
	echo "name the folder of clones, and that of Tiny-ImageNet-200: make model CLONES=FOLDER TINY=FOLDER" >&2; exit 1; }
	$(BIN)/python docs/make_training_photos.py "$(CLONES)" $(SETS)
	test -e $(SETS)/tiny-imagenet-200 || ln -s "$(abspath $(TINY))" $(SETS)/tiny-imagenet-200
	mkdir -p $(dir $(TEACHER))
	$(BIN)/fc7 import efficientnet-lite0 --size 160 -o $(TEACHER)
	$(BIN)/fc7 train $(FOLDERS) -o $(RUN) $(if $(wildcard $(RUN)/last.pt),--resume,--teacher $(TEACHER) \
		--cache build/cache --evidence 40 --epochs 6 --warmup 0.2 $(call weights,$(HALF),0.5))
	$(BIN)/fc7 train $(FOLDERS) -o $(RUN)-further $(if $(wildcard $(RUN)-further/last.pt),--resume,--from $(RUN)/best.pt \
		--teacher $(TEACHER) --cache build/cache --evidence 40 --squash --scale 0.75 --dropout 0 --imitation 5 --epochs 11 \
		--warmup 0.2 --lr 0.08 --schedule linear --grow 0:80,0.5:96,0.8:112 $(call weights,$(THIRD),0.33) \
		$(call weights,$(SEVENTH),0.15))
	$(BIN)/fc7 export $(RUN)-further/best.pt -o retrieval/models/builtin.onnx --name builtin --names docs/scenes.tsv \
		--resize-mode trim --logit-adjustment 0.5 \
		$(foreach set,$(SHARP),--prior-photos $(SETS)/$(set)/train) --licence '$(TERMS)'
	$(BIN)/python benchmarks/confidence.py --write $(foreach folder,$(ORDINARY) $(HELD_OUT),--photos $(folder)) builtin
	$(BIN)/python benchmarks/models.py --names $(SETS)/imagenette/val --neighbours $(SETS)/judge-corel builtin

bench: $(VENV)/.stamp-test
	$(BIN)/python benchmarks/network.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/indexing.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/loading.py
	$(BIN)/python benchmarks/peers.py $(if $(AUTOFAISS),--autofaiss $(AUTOFAISS))
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/report.py --write

docs: $(VENV)/.stamp-test
	$(BIN)/python docs/make_cli.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The build tool is pinned and installed first, so that building fc7 itself fetches nothing unpinned.
$(VENV)/.stamp-python: constraints.txt
	@test -n "$(PYTHON)" || { \
	echo "fc7 needs Python 3.11 or newer and found none. Install it, or name it: make PYTHON=/path/to/python3.11" >&2; \
	exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "fc7 needs Python 3.11 or newer; $(PYTHON) is older or no Python. Name another: make PYTHON=/path/to/python3.11" >&2; \
	exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) setuptools
	@touch $@

$(VENV)/.stamp-demo: pyproject.toml $(VENV)/.stamp-python
	@echo "Installing what the demo needs into $(VENV): one or two minutes"
	$(INSTALL) --no-build-isolation --editable '.[cpu,demo]'
	@touch $@

$(VENV)/.stamp-test: pyproject.toml $(VENV)/.stamp-python
	@echo "Installing what the tests need into $(VENV): a few minutes"
	$(INSTALL) --no-build-isolation --editable '.[cpu,demo,heif,raw,jxl,tiff,parquet,ray,watch,web,train,efficientnet,dev]'
	@touch $@
