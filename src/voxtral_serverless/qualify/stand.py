"""What the units of an examination share: the parts under examination, and the material that they are given."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

from voxtral_serverless.qualify.material import Material
from voxtral_serverless.qualify.references import DataSet
from voxtral_serverless.qualify.units import Reading
from voxtral_serverless.services import Services
from voxtral_serverless.settings import Settings

Plan = Literal["turns", "windows"]


@dataclass(frozen=True)
class Stand:
    """The parts, ready, and the recordings."""

    services: Services
    data: DataSet
    material: Material

    @property
    def settings(self) -> Settings:
        """Those of the parts."""
        return self.services.settings

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The ways of transcribing that are possible here; the usual one, `auto`, is the first.

        A language that is not known may turn out to be one that the aligner knows, as in any job.
        """
        aligner, language = self.services.aligner, self.data.language
        windows = aligner is not None and (language is None or aligner.knows(language))
        possible: tuple[Plan, ...] = ("windows", "turns") if windows else ("turns",)
        return tuple(sorted(possible, key=lambda plan: plan != self.settings.transcription_plan))

    @property
    def recordings(self) -> Reading:
        """What units over the material are of: the names and sizes of its recordings, whatever is said of them."""
        sizes = [(call.name, call.audio.stat().st_size) for call in self.data.calls]
        return {"recordings": hashlib.sha256(repr(sizes).encode()).hexdigest()[:12]}

    def by(self, plan: Plan) -> Services:
        """The parts, with that plan."""
        settings = self.settings.model_copy(update={"transcription_plan": plan})
        return replace(self.services, settings=settings)
