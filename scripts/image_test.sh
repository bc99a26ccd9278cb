#!/usr/bin/env bash
# Builds the image on a stand-in for vLLM's (image_base.sh) and tries it, without a Docker engine: image_test.sh
#
# Needs root, buildah, debootstrap, .venv-engine and .venv-diarization; where one of them is missing it says so, and is
# content. Everything lies in a folder of its own, 12 GB (twice that where overlayfs cannot be had: STORAGE_DRIVER=vfs),
# and goes at the end. A pip.conf of this machine is lent to the build's steps, and its certificates; neither stays.
set -euo pipefail
cd "$(dirname "$0")/.."

for need in buildah debootstrap .venv-engine/bin/vllm .venv-diarization/bin/python; do
  if ! command -v "$need" >/dev/null; then
    echo "image-test: skipped, there is no $need (apt-get install buildah debootstrap; make engine diarization)" >&2
    exit 0
  fi
done

store=$(mktemp -d "${IMAGE_TEST_DIR:-/var/tmp}/image-test.XXXXXX")
finish() {
  buildah rm --all >/dev/null 2>&1 || true
  buildah rmi --all --force >/dev/null 2>&1 || true
  umount "$store/graph/overlay" 2>/dev/null || true
  rm -rf --one-file-system "$store"
}

cat >"$store/storage.conf" <<CONF
[storage]
driver = "${STORAGE_DRIVER:-overlay}"
graphroot = "$store/graph"
runroot = "$store/run"
CONF
unset STORAGE_DRIVER
export CONTAINERS_STORAGE_CONF=$store/storage.conf BUILDAH_ISOLATION=chroot TMPDIR=$store
trap finish EXIT # not before: it empties the store that buildah is told of here

lent=()
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  if [ -e "$file" ]; then lent+=(-v "$file:$file:ro"); fi
done

scripts/image_base.sh stand-in
buildah build --network host --layers=false --build-arg BASE=localhost/stand-in "${lent[@]}" -t voxtral-serverless .
VOXTRAL_TEST_IMAGE=localhost/voxtral-serverless VOXTRAL_TEST_BASE=localhost/stand-in \
  "${PYTHON:-.venv/bin/python}" -m pytest tests/image -m soak -s
