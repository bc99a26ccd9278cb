"""Write a local pipeline folder that the real pyannote.audio loads: with toy networks, or full-size random ones.

    PYTHON tests/engines/toy_pyannote/make.py {ahc,vbx} {toy,full} FOLDER

Run with the Python that has pyannote.audio. `ahc` has the form of pyannote/speaker-diarization-3.1, without a PLDA
(whoever loads it gives one, or the library asks the hub); `vbx` that of pyannote/speaker-diarization-community-1. The
random networks are as large as the real ones and the same for the same torch: they serve to measure, not to tell
voices apart.
"""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from pyannote.audio.core.model import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.embedding import WeSpeakerResNet34
from pyannote.audio.models.segmentation import PyanNet
from torch import Tensor

if TYPE_CHECKING:
    from tests.engines.toy_pyannote.dialogue import VOICES_HZ, random_turns, toy_dialogue
    from tests.engines.toy_pyannote.networks import ToyEmbedding, ToySegmentation
else:  # by these names a checkpoint knows them
    from dialogue import VOICES_HZ, random_turns, toy_dialogue
    from networks import ToyEmbedding, ToySegmentation

WINDOW_S = 10.0
SEGMENTATION = Specifications(
    problem=Problem.MONO_LABEL_CLASSIFICATION,
    resolution=Resolution.FRAME,
    duration=WINDOW_S,
    classes=["speaker#1", "speaker#2", "speaker#3"],
    powerset_max_classes=2,
    permutation_invariant=True,
)
EMBEDDING = Specifications(
    problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=WINDOW_S, classes=["nobody"]
)
LSTM = {"hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True, "dropout": 0.5}
PARAMETERS: dict[str, Any] = {
    "segmentation": "$model/segmentation",
    "segmentation_batch_size": 32,
    "embedding": "$model/embedding",
    "embedding_batch_size": 32,
    "embedding_exclude_overlap": True,
}
NAME = "pyannote.audio.pipelines.SpeakerDiarization"
STYLES: dict[str, dict[str, Any]] = {
    "ahc": {
        "version": "3.1.0",
        "pipeline": {"name": NAME, "params": {**PARAMETERS, "clustering": "AgglomerativeClustering"}},
        "params": {
            "clustering": {"method": "centroid", "min_cluster_size": 12, "threshold": 0.7045654963945799},
            "segmentation": {"min_duration_off": 0.0},
        },
    },
    "vbx": {
        "dependencies": {"pyannote.audio": "4.0.0"},
        "pipeline": {"name": NAME, "params": {**PARAMETERS, "clustering": "VBxClustering", "plda": "$model/plda"}},
        "params": {
            "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
            "segmentation": {"min_duration_off": 0.0},
        },
    },
}


def networks(arch: str, voices_hz: Sequence[float]) -> tuple[Model, Model]:
    """The segmentation and the embedding network."""
    if arch == "toy":
        return ToySegmentation(voices_hz), ToyEmbedding(voices_hz)
    torch.manual_seed(0)
    return PyanNet(lstm=LSTM), WeSpeakerResNet34()


def centre(segmentation: PyanNet) -> None:
    """Move a random classifier's bias so that what is heard decides: as drawn, it finds the same set everywhere."""
    inputs: list[Tensor] = []
    handle = segmentation.classifier.register_forward_hook(lambda _, given, __: inputs.extend(given))
    audio = torch.from_numpy(toy_dialogue(random_turns(3, WINDOW_S, seed=0), WINDOW_S))
    with torch.inference_mode():
        segmentation.eval()(audio[None, None])
    handle.remove()
    segmentation.classifier.bias.data = -segmentation.classifier.weight.data @ inputs[0].mean(dim=(0, 1))


def save(model: Model, specifications: Specifications, folder: Path) -> None:
    """Write a checkpoint as pyannote trains them."""
    model.specifications = specifications
    model.build()
    if isinstance(model, PyanNet):
        centre(model)
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": importlib.metadata.version("lightning"),
    }
    model.on_save_checkpoint(checkpoint)
    folder.mkdir(parents=True)
    torch.save(checkpoint, folder / "pytorch_model.bin")


def save_plda(folder: Path) -> None:
    """Write a PLDA that turns the embedding space and halves it, and weighs its dimensions ever less."""
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((256, 128)))[0]
    folder.mkdir(parents=True)
    np.savez(folder / "xvec_transform.npz", mean1=np.zeros(256), mean2=np.zeros(128), lda=turned)
    np.savez(folder / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.linspace(10, 1, 128))


def make(style: str, arch: str, folder: Path, voices_hz: Sequence[float] = VOICES_HZ) -> None:
    """Write a whole pipeline folder; `voices_hz` are the tones that toy networks know."""
    segmentation, embedding = networks(arch, voices_hz)
    save(segmentation, SEGMENTATION, folder / "segmentation")
    save(embedding, EMBEDDING, folder / "embedding")
    if style == "vbx":
        save_plda(folder / "plda")
    (folder / "config.yaml").write_text(yaml.safe_dump(STYLES[style], sort_keys=False))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("style", choices=STYLES)
    parser.add_argument("arch", choices=("toy", "full"))
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--voices", type=float, nargs="+", default=VOICES_HZ, help="tones of the toy networks, in hertz"
    )
    arguments = parser.parse_args()
    make(arguments.style, arguments.arch, arguments.folder, arguments.voices)


if __name__ == "__main__":
    main()
