"""What a GPU costs: as given, or as RunPod's documentation lists it. Pure.

The list is a copy of a page that changes: whoever knows their own price gives it (`--gpu-price`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from voxtral_serverless.engine.machine import Gpu

SOURCE = "RunPod's price of a serverless flex worker, as its documentation had it on 2026-11-23"
USD_PER_S = {
    r"\b(RTX A4000|RTX A4500|RTX 4000)\b": 0.00016,
    r"\b(L4|RTX A5000|RTX 3090)\b": 0.00019,
    r"\bRTX 4090\b": 0.00031,
    r"\b(RTX A6000|A40)\b": 0.00034,
    r"\b(L40|L40S|RTX 6000 Ada)\b": 0.00053,
    r"\bA100\b.*\b80GB\b": 0.00076,
    r"\bH100\b": 0.00116,
    r"\bH200\b": 0.00155,
    r"\bB200\b": 0.00240,
}
"""By what `nvidia-smi` calls a GPU, dollars for a second of it (docs.runpod.io, Serverless, GPU configuration)."""


@dataclass(frozen=True)
class Price:
    """What an hour of the machine costs, in US dollars, and who says so; None where nobody does."""

    usd_per_hour: float | None
    source: str


def price_of(gpus: Sequence[Gpu], given: float | None) -> Price:
    """The price given, else that of the list for all of the GPUs together."""
    if given is not None:
        return Price(given, "as given")
    each = [_listed(gpu.name) for gpu in gpus]
    known = [price for price in each if price is not None]
    if not gpus or len(known) < len(each):
        return Price(None, "not known; give it with --gpu-price")
    return Price(round(sum(known) * 3600, 4), SOURCE)


def _listed(name: str) -> float | None:
    return next((price for pattern, price in USD_PER_S.items() if re.search(pattern, name)), None)
