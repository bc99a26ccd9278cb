"""Write call.ctm: when each word of the bundled call is spoken, as the synthesiser that spoke it tells.

Needs Debian's `flite` 2.2, whose libraries are asked (its command prints when it speaks each phone, and not which word
a phone belongs to):

    python3 tests/engines/tiny_aligner/make_ctm.py

Refuses where this flite speaks a turn of `examples/call.stm` in another time than the recording holds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
STM = HERE.parents[2] / "examples" / "call.stm"
VOICES = {"agent": "rms", "customer": "slt"}
FIRST_PHONE = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"
LAST_PHONE = b"R:SylStructure.daughtern.daughtern.R:Segment.end"
ROUNDING_S = 0.002


class Flite:
    """The synthesiser's own libraries."""

    def __init__(self) -> None:
        ctypes.CDLL("libflite_usenglish.so.1", mode=ctypes.RTLD_GLOBAL)
        self._flite = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
        self._flite.flite_init()
        pointer = ctypes.c_void_p
        self._synthesise = self._function("flite_synth_text", pointer, ctypes.c_char_p, pointer)
        self._relation = self._function("utt_relation", pointer, pointer, ctypes.c_char_p)
        self._head = self._function("relation_head", pointer, pointer)
        self._next = self._function("item_next", pointer, pointer)
        self._time = self._function("ffeature_float", ctypes.c_float, pointer, ctypes.c_char_p)
        self._name = self._function("ffeature_string", ctypes.c_char_p, pointer, ctypes.c_char_p)
        self._voices = {role: self._voice(name) for role, name in VOICES.items()}

    def words(self, role: str, text: str) -> Iterator[tuple[str, float, float]]:
        """Each word with its start and end in seconds, from the start of its first phone to the end of its last."""
        utterance = self._synthesise(text.encode(), self._voices[role])
        word = self._head(self._relation(utterance, b"Word"))
        while word:
            yield self._name(word, b"name").decode(), self._time(word, FIRST_PHONE), self._time(word, LAST_PHONE)
            word = self._next(word)

    def _voice(self, name: str) -> int:
        register = ctypes.CDLL(f"libflite_cmu_us_{name}.so.1")[f"register_cmu_us_{name}"]
        register.restype, register.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
        voice: int = register(None)
        return voice

    def _function(self, name: str, returns: type, *takes: type) -> ctypes._NamedFuncPointer:
        function = self._flite[name]
        function.restype, function.argtypes = returns, takes
        return function


def main() -> None:
    """Speak each turn once more, and place its words where the call has the turn."""
    flite, lines = Flite(), []
    for row in STM.read_text().splitlines():
        _, _, role, start, end, text = row.split(maxsplit=5)
        words = list(flite.words(role, text))
        # The turn was cut out at its first and last phones.
        shift = float(start) - words[0][1]
        if abs(words[-1][2] + shift - float(end)) > ROUNDING_S or len(words) != len(text.split()):
            raise SystemExit(f"This flite speaks otherwise: {text}")
        lines += [f"call 1 {first + shift:.3f} {last - first:.3f} {name}" for name, first, last in words]
    (HERE / "call.ctm").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
