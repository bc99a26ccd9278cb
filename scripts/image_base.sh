#!/usr/bin/env bash
# Makes an image that stands in for vLLM's own, which needs a GPU and tens of gigabytes: image_base.sh NAME
#
# Debian with its Python, and in that, as in vLLM's image, torch, torchaudio and vLLM, built for processors, and no
# audio libraries: those of .venv-engine and .venv-diarization (make engine diarization). What it cannot stand in for:
# CUDA, Ubuntu and its Python 3.12. Needs root, buildah and debootstrap; BASE_MIRROR names another mirror of Debian.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
python=python$(.venv-engine/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$python" = python3.11 ] || { echo "image_base.sh: .venv-engine has $python, and Debian 12 has python3.11" >&2; exit 1; }

container=$(buildah from scratch)
trap 'buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")
debootstrap --variant=minbase --include=ca-certificates,libnuma1,python3,python3-pip bookworm "$root" \
  "${BASE_MIRROR:-http://deb.debian.org/debian}" >&2
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*

site=$root/usr/local/lib/$python/dist-packages
cp -a ".venv-engine/lib/$python/site-packages/." "$site"
cp -a ".venv-diarization/lib/$python/site-packages/"torchaudio* "$site"
sed -n 's/^\([a-z]*\)$/\1/p' requirements/audio.in | while read -r library; do
  rm -rf "$site/$library" "$site/$library".py "$site/$library"-*.dist-info "$site/$library.libs" "$site/_$library"*
done
sed '1s|.*|#!/usr/bin/python3|' .venv-engine/bin/vllm >"$root/usr/local/bin/vllm"
chmod +x "$root/usr/local/bin/vllm"

buildah config --entrypoint '["vllm", "serve"]' "$container"
buildah commit --quiet "$container" "$name" >&2
