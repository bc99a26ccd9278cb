# syntax=docker/dockerfile:1
#
# The worker on the official image of vLLM: docker build -t voxtral-serverless .
# docs/container.md says what is in it, why, and what has been tried of it.

# The vLLM that the tests run. Any image will do in which python3 has that vLLM and torch, and `vllm` is on the PATH.
ARG BASE=vllm/vllm-openai:v0.32.0
# hadolint ignore=DL3006
FROM ${BASE}

# 1: with the embedded self-test engine.
ARG EMBEDDED=0
# 1: with the models that the arguments below name, in the image. They are what a container of it then asks for.
ARG BAKE=0
ARG VOXTRAL_MODEL=mistralai/Voxtral-Mini-3B-2507
ARG DIARIZATION_MODEL=pyannote/speaker-diarization-3.1
ARG ALIGNMENT_LANGUAGES=

# For the steps below alone: arguments are no part of the image. PIP_NO_CACHE_DIR keeps pip's cache out of it (DL3042).
ARG DEBIAN_FRONTEND=noninteractive
ARG PIP_BREAK_SYSTEM_PACKAGES=1
ARG PIP_DISABLE_PIP_VERSION_CHECK=1
ARG PIP_NO_CACHE_DIR=1
ARG PIP_ROOT_USER_ACTION=ignore
ARG PYTHONDONTWRITEBYTECODE=1

# PID 1 reaps what a killed engine leaves. Its version is the distribution's.
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log

# Each step sees its own lock alone: a change of another one leaves its layer as it is.

# vLLM's image cannot hear: what its audio extra and mistral-common's ask for, beside vLLM. Nothing of its own is changed.
# hadolint ignore=DL3042
RUN --mount=type=bind,source=requirements/audio.txt,target=/requirements/audio.txt \
    python3 -m pip install --quiet --no-deps --require-hashes --only-binary :all: --requirement /requirements/audio.txt \
    && python3 -c "import av, scipy.signal, soundfile, soxr, mistral_common.audio"

# pyannote and the aligners, with the torch of vLLM's image: a second one would be gigabytes. Everything else is their own.
# HOME: what is imported for a look writes caches.
RUN --mount=type=bind,source=requirements/diarization.txt,target=/requirements/diarization.txt \
    python3 -m venv --without-pip --system-site-packages /opt/voxtral-serverless/diarization \
    && python3 -m pip --python /opt/voxtral-serverless/diarization/bin/python install --quiet --no-deps --require-hashes \
        --only-binary :all: --requirement /requirements/diarization.txt \
    && HOME=/tmp/home PYANNOTE_METRICS_ENABLED=0 /opt/voxtral-serverless/diarization/bin/python -W ignore \
        -c "import pyannote.audio, transformers" \
    && rm -rf /tmp/home /tmp/torchinductor_*

# What `voxtral-serverless qualify` counts word errors with comes as its source. A compiler that was not there does not stay.
# hadolint ignore=DL3008
RUN --mount=type=bind,source=requirements/scores.txt,target=/requirements/scores.txt \
    dpkg-query --show --showformat '${Package}\n' >/tmp/before \
    && apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends g++ \
    && { python3 -c "import sysconfig as s; open(s.get_path('include') + '/Python.h')" 2>/dev/null \
        || apt-get install -y -qq --no-install-recommends python3-dev; } \
    && python3 -m pip --python /opt/voxtral-serverless/diarization/bin/python install --quiet --no-deps --require-hashes \
        --no-build-isolation --requirement /requirements/scores.txt \
    && dpkg-query --show --showformat '${Package}\n' >/tmp/after \
    && { grep -vxFf /tmp/before /tmp/after >/tmp/added || true; } \
    && xargs --no-run-if-empty --arg-file /tmp/added apt-get purge -y -qq \
    && rm -rf /tmp/before /tmp/after /tmp/added /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
    && /opt/voxtral-serverless/diarization/bin/python -c "import meeteval.wer"

# The worker: an environment without torch and without vLLM, whose FastAPI is another than the RunPod SDK's.
RUN --mount=type=bind,source=requirements/worker.txt,target=/requirements/worker.txt \
    --mount=type=bind,source=requirements/worker-embedded.txt,target=/requirements/worker-embedded.txt \
    python3 -m venv --without-pip /opt/voxtral-serverless/worker \
    && if [ "$EMBEDDED" = 1 ]; then lock=worker-embedded; else lock=worker; fi \
    && python3 -m pip --python /opt/voxtral-serverless/worker/bin/python install --quiet --no-deps --require-hashes \
        --only-binary :all: --requirement "/requirements/$lock.txt"

# Whoever may not be root; on RunPod the worker is root, to whom its volumes belong.
RUN useradd --create-home --uid 10001 voxtral \
    && install -d -o voxtral -g voxtral /home/voxtral/.cache \
    && mkdir -m 1777 /data

# Our own code, built with the locked hatchling, which does not stay.
RUN --mount=type=bind,source=.,target=/source \
    python3 -m venv --without-pip /tmp/build \
    && python3 -m pip --python /tmp/build/bin/python install --quiet --no-deps --require-hashes --only-binary :all: \
        --requirement /source/requirements/build.txt \
    && python3 -m pip --python /tmp/build/bin/python wheel --quiet --no-deps --no-build-isolation --wheel-dir /tmp/dist /source \
    && python3 -m pip --python /opt/voxtral-serverless/worker/bin/python install --quiet --no-deps --no-index /tmp/dist/*.whl \
    && rm -rf /tmp/build /tmp/dist \
    && ln -s /opt/voxtral-serverless/worker/bin/voxtral-serverless /usr/local/bin/voxtral-serverless \
    && voxtral-serverless --version

# What differs in a container: who transcribes, where pyannote is, who may reach the API. No library tells its makers
# anything, and the SDK does not log transcripts.
ENV ENGINE=vllm \
    VOXTRAL_MODEL=${VOXTRAL_MODEL} \
    DIARIZATION_MODEL=${DIARIZATION_MODEL} \
    ALIGNMENT_LANGUAGES=${ALIGNMENT_LANGUAGES} \
    DIARIZATION_PYTHON=/opt/voxtral-serverless/diarization/bin/python \
    HOST=0.0.0.0 \
    ALLOW_ANONYMOUS=true \
    DATA_DIR=/data \
    RUNPOD_LOG_LEVEL=INFO \
    DO_NOT_TRACK=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    ORT_DISABLE_TELEMETRY=1 \
    PYANNOTE_METRICS_ENABLED=0 \
    VLLM_NO_USAGE_STATS=1 \
    PYTHONUNBUFFERED=1

# With --build-arg BAKE=1 --secret id=hf_token,src=…: the models themselves. The token is in no layer.
RUN --mount=type=secret,id=hf_token,required=false \
    if [ "$BAKE" = 1 ]; then \
        if [ -e /run/secrets/hf_token ]; then HF_TOKEN=$(cat /run/secrets/hf_token); export HF_TOKEN; fi; \
        voxtral-serverless download; \
    fi

LABEL org.opencontainers.image.title="Voxtral Serverless Worker" \
      org.opencontainers.image.description="Who said what when, a summary, and the sentiment of a call" \
      org.opencontainers.image.licenses="Apache-2.0"

EXPOSE 8000
WORKDIR /opt/voxtral-serverless
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["voxtral-serverless", "start"]
