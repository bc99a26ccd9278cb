# Every target sets up what it needs; a second run is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup demo test engine diarization demo-engine test-engines soak bench-reliability lint lock licences audit sbom image image-test docs clean

setup: $(STAMP)

# The locked libraries by hash, nothing that the lock does not name (a resolver may prefer a newer release to a pinned one, and
# fail), then the package itself, built by the locked hatchling.
$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) scripts/check_python.py
	@echo "Setting up $(VENV) (once, about half a minute) …" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) --no-deps --require-hashes --only-binary :all: -r requirements/dev.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# The main job on the bundled call with the embedded engine: the answer on stdout, the rest on stderr.
demo: setup
	@ENGINE=embedded $(BIN)/voxtral-serverless transcribe examples/call.ogg --job examples/call.json
	@echo "Next: this was the embedded self-test engine. For the real one (Voxtral and pyannote), see README.md, 'The real engine'." >&2

test: setup
	$(BIN)/python -m pytest -m "not soak"

# The real vLLM and the real pyannote on a CPU, each in an environment of its own (.venv-engine, .venv-diarization: links
# to environments that all clones share).
engine diarization:
	@PYTHON=$(PYTHON) scripts/set_up_torch.sh $@

# The bundled call through the real vLLM, on the processor, with the tiny Voxtral of the tests, which knows it by heart.
demo-engine: setup engine
	@mkdir -p .tiny-voxtral && cp tests/engines/tiny_voxtral/params.json tests/engines/tiny_voxtral/*.safetensors .tiny-voxtral
	@.venv-engine/bin/python tests/engines/tiny_voxtral/tokenizer.py .tiny-voxtral
	@ENGINE=vllm DIARIZER=embedded VOXTRAL_MODEL=.tiny-voxtral \
		$(BIN)/voxtral-serverless transcribe examples/call.ogg --job examples/call.json

# The whole way through the real vLLM, with a tiny Voxtral that hears the bundled calls, and through the real pyannote,
# with toy networks that tell tones apart.
test-engines: setup engine diarization
	$(BIN)/python -m pytest tests/engines -m "not soak"

# The long repetitions: every way of killing the engine, ten times; a job handed out with the signal to end, fifty times;
# and what is too slow for CI.
soak: setup engine diarization
	$(BIN)/python -m pytest tests/engines tests/runpod_worker tests/hostile tests/test_readme_commands.py -m soak
	scripts/image_test.sh

# The container's image, on vLLM's; IMAGE names it.
IMAGE := voxtral-serverless
image:
	docker build -t $(IMAGE) .

# The same Dockerfile on a stand-in for vLLM's image, without a Docker engine or a GPU: built, started, given a job, stopped.
image-test: setup engine diarization
	scripts/image_test.sh

# The scoreboard of reliability, a JSON object for each number.
bench-reliability: setup
	$(BIN)/python bench/reliability.py

lint: setup
	$(BIN)/python -m pip check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/configuration_docs.py --check
	$(BIN)/python scripts/licences.py --check
	$(BIN)/python scripts/hub_files.py --check
	$(BIN)/python scripts/gpu_figures.py --check
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --quiet --offline --no-progress .github/workflows

# Needs uv (pip install uv); no index address may end up in a lock. torch and its kin are no part of one.
COMPILE := uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock:
	$(COMPILE) --universal --extra embedded --extra dev pyproject.toml --output-file requirements/dev.txt
	$(COMPILE) --universal requirements/supply.in --output-file requirements/supply.txt
	$(COMPILE) --universal --constraint requirements/dev.txt pyproject.toml --output-file requirements/worker.txt
	$(COMPILE) --universal --constraint requirements/dev.txt --extra embedded pyproject.toml \
		--output-file requirements/worker-embedded.txt
	$(COMPILE) --universal --constraint requirements/dev.txt requirements/build.in --output-file requirements/build.txt
	for name in engine diarization; do \
		$(COMPILE) --python-platform x86_64-manylinux_2_28 --override requirements/torch-overrides.txt \
			--no-emit-package torch requirements/$$name.in --output-file requirements/$$name.txt; \
	done
	$(COMPILE) --no-deps requirements/scores.in --output-file requirements/scores.txt
	$(COMPILE) --universal --constraint requirements/engine.txt --no-emit-package numpy --no-emit-package typing-extensions \
		requirements/audio.in --output-file requirements/audio.txt

# After `make lock`: the licences of what is locked (with `make engine diarization` those of all of it).
licences: setup
	$(BIN)/python scripts/licences.py

# What looks at the locks has an environment and a lock of its own.
SUPPLY := .venv-supply
LOCKS := $(filter-out requirements/torch-overrides.txt,$(wildcard requirements/*.txt))
$(SUPPLY)/.installed: requirements/supply.txt
	@$(PYTHON) -m venv --clear $(SUPPLY)
	@$(SUPPLY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r $<
	@touch $@

# Known vulnerabilities, of every locked library or not at all. Asks PyPI; no part of CI, since the answer depends on the day.
audit: $(SUPPLY)/.installed
	@for lock in $(LOCKS); do $(SUPPLY)/bin/pip-audit --strict --disable-pip --require-hashes -r $$lock || failed=1; done; \
		test -z "$$failed"

# A bill of materials (CycloneDX) for each lock, in dist/.
sbom: $(SUPPLY)/.installed
	@mkdir -p dist
	for lock in $(LOCKS); do \
		$(SUPPLY)/bin/cyclonedx-py requirements $$lock --output-reproducible --of JSON -o dist/sbom-$$(basename $$lock .txt).json; \
	done

docs: setup
	$(BIN)/python scripts/configuration_docs.py
	$(BIN)/python scripts/hub_files.py
	$(BIN)/python scripts/gpu_figures.py

clean:
	rm -rf $(VENV) .venv-engine .venv-diarization $(SUPPLY) .tiny-voxtral .mypy_cache .pytest_cache .ruff_cache .hypothesis
