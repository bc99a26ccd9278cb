"""What fits where, and what is said of what does not."""

from dataclasses import replace
from pathlib import Path

import pytest

from voxtral_serverless.engine.checkpoint import Weights
from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.engine.placement import KNOWN, place, refuse_without_memory
from voxtral_serverless.errors import EngineUnavailable

MINI = replace(KNOWN["mistralai/Voxtral-Mini-3B-2507"], folder=Path("/models/mini"))
SMALL = replace(KNOWN["mistralai/Voxtral-Small-24B-2507"], folder=Path("/models/small"))
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", 24_564, 24_080)
RTX_3060 = Gpu("NVIDIA GeForce RTX 3060", 12_288, 12_000)
RTX_5090 = Gpu("NVIDIA GeForce RTX 5090", 32_607, 32_100)
A100_40 = Gpu("NVIDIA A100-SXM4-40GB", 40_960, 40_500)
A100_80 = Gpu("NVIDIA A100-SXM4-80GB", 81_920, 81_000)


def refusal(weights: Weights, *gpus: Gpu) -> str:
    with pytest.raises(EngineUnavailable) as refused:
        place(weights, gpus, 16_384)
    return refused.value.message


def test_refusal_has_the_figures_and_what_would_help() -> None:
    assert refusal(SMALL, RTX_4090) == (
        "Voxtral-Small-24B-2507 needs about 53 GB of GPU memory, and 5 beside it for what else runs there; this machine "
        "has 24 GB: take a larger GPU, or 2, 4 or 8 of them, or take the smaller model "
        "(VOXTRAL_MODEL=mistralai/Voxtral-Mini-3B-2507)."
    )
    assert "needs about 29 GB of GPU memory on each of 2 GPUs" in refusal(SMALL, RTX_5090, RTX_5090)
    assert "has 32 GB on each: " in refusal(SMALL, RTX_5090, RTX_5090)
    assert "--quantization fp8" in refusal(SMALL, RTX_5090, RTX_5090)
    assert "smaller model" not in refusal(MINI, RTX_3060)


def test_model_in_the_memory_of_the_machine() -> None:
    refuse_without_memory(MINI, 24_000)
    with pytest.raises(EngineUnavailable, match="no GPU is seen"):
        refuse_without_memory(MINI, 8_000)


def test_card_that_others_use_is_not_overcommitted() -> None:
    busy = replace(A100_80, free_mib=30_000)
    assert place(MINI, [busy], 16_384).memory_share == 0.30
    with pytest.raises(EngineUnavailable, match="80 GB, of which 29 are free"):
        place(SMALL, [busy], 16_384)
