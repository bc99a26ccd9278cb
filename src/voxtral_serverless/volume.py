"""RunPod's network volume, which outlives a worker: where it is mounted, whatever is large or slow to make is kept on it."""

from __future__ import annotations

import os
from pathlib import Path

VOLUME = Path("/runpod-volume")
"""Where RunPod mounts it; its cached models lie below the same folder, whether or not there is a volume."""


def volume_folder(*names: str) -> Path | None:
    """A folder of ours on the volume; None where there is no volume that we may write."""
    if VOLUME.is_mount() and os.access(VOLUME, os.W_OK):
        return VOLUME.joinpath("voxtral-serverless", *names)
    return None
