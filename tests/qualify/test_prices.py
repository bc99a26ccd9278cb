"""What a GPU costs."""

import pytest

from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.qualify.prices import price_of


@pytest.mark.parametrize(
    ("name", "usd_per_hour"),
    [
        ("NVIDIA GeForce RTX 4090", 0.00031 * 3600), ("NVIDIA L4", 0.00019 * 3600), ("NVIDIA L40S", 0.00053 * 3600),
        ("NVIDIA RTX A5000", 0.00019 * 3600), ("NVIDIA A40", 0.00034 * 3600), ("NVIDIA RTX A6000", 0.00034 * 3600),
        ("NVIDIA RTX 6000 Ada Generation", 0.00053 * 3600), ("NVIDIA A100-SXM4-80GB", 0.00076 * 3600),
        ("NVIDIA A100 80GB PCIe", 0.00076 * 3600), ("NVIDIA H100 80GB HBM3", 0.00116 * 3600),
        ("NVIDIA H200", 0.00155 * 3600), ("NVIDIA A100-SXM4-40GB", None), ("NVIDIA GeForce RTX 5090", None),
    ],
)  # fmt: skip
def test_listed(name: str, usd_per_hour: float | None) -> None:
    price = price_of([Gpu(name, 24_000, 24_000)], None)
    assert price.usd_per_hour == (None if usd_per_hour is None else pytest.approx(usd_per_hour))
    assert "RunPod" in price.source if usd_per_hour else "--gpu-price" in price.source


def test_what_is_given_counts_more_and_several_add_up() -> None:
    two = [Gpu("NVIDIA L4", 24_000, 24_000)] * 2
    assert price_of(two, None).usd_per_hour == pytest.approx(2 * 0.00019 * 3600)
    assert price_of(two, 0.5).usd_per_hour == 0.5
    assert price_of([*two, Gpu("other", 1, 1)], None).usd_per_hour is None
    assert price_of([], None).usd_per_hour is None
