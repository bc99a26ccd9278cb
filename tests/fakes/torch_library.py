"""A Python whose torch and transformers are stand-ins: enough to load an aligner that is asked about nothing, and to count
how often the GPU's memory is given back.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fakes.hub import write

TORCH = """
from pathlib import Path
from types import SimpleNamespace
float16 = float32 = "float"
class device(str):
    type = "cpu"
def empty_cache():
    with Path({counted!r}).open("a") as file:
        file.write("given back\\n")
    if {broken}:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
cuda = SimpleNamespace(is_available=lambda: False, empty_cache=empty_cache)
"""
TRANSFORMERS = """
from types import SimpleNamespace
class AutoModelForCTC:
    config = SimpleNamespace(
        pad_token_id=0, vocab_size=1, feat_extract_norm="layer", conv_kernel=[10], conv_stride=[5]
    )
    @classmethod
    def from_pretrained(cls, folder, **_):
        return cls()
    def eval(self):
        return self
    def to(self, *_):
        return self
class AutoFeatureExtractor(AutoModelForCTC):
    pass
"""


def python_with_torch(folder: Path, *, broken: bool = False) -> str:
    """The interpreter, in `folder`; `broken` is the GPU, once its memory is given back."""
    libraries = write(
        folder / "libraries",
        {
            "torch/__init__.py": TORCH.format(counted=str(folder / "given-back"), broken=broken).encode(),
            "torch/nn/utils/rnn.py": b"def pad_sequence(*_, **__): ...\n",
            "transformers/__init__.py": TRANSFORMERS.encode(),
            "transformers/utils/logging.py": b"def disable_progress_bar(): ...\n",
        },
    )
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{libraries}" exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


def released(folder: Path) -> int:
    """How often memory was given back."""
    file = folder / "given-back"
    return file.read_text().count("given back") if file.is_file() else 0
