"""What vLLM's own log tells of the phases of its start. Lines of any other form are passed over.

The forms are those of vLLM 0.32; what is compiled, captured or tuned is told on a GPU alone.
"""

from __future__ import annotations

import re
from typing import Final

PHASES: Final = {
    "weights_loaded": re.compile(r"Loading weights took (\d+(?:\.\d+)?) seconds"),
    "model_loaded": re.compile(r"Model loading took .{1,40}? memory and (\d+(?:\.\d+)?) seconds"),
    "compiled": re.compile(r"torch\.compile took (\d+(?:\.\d+)?) s in total"),
    "kernels_warmed_up": re.compile(r"JIT kernel warmup finished in (\d+(?:\.\d+)?)s"),
    "graphs_captured": re.compile(r"\bGraph capturing finished in (\d+(?:\.\d+)?) secs"),
    "audio_warmed_up": re.compile(r"Multi-modal warmup completed in (\d+(?:\.\d+)?)s"),
    "core_initialised": re.compile(r"init engine \(.{1,80}?\) took (\d+(?:\.\d+)?) s"),
}
"""By name, in the order in which they come; the last one holds those of the core."""


class BootLog:
    """The phases that have been told so far.

    Attributes:
        phases: Seconds, by name. Where several processes tell of a phase, those of the slowest.
    """

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}

    def hear(self, line: str) -> None:
        """Take in a line of the log."""
        for name, form in PHASES.items():
            if told := form.search(line):
                self.phases[name] = max(float(told[1]), self.phases.get(name, 0.0))
