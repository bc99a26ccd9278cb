"""The aligner: when each word of a text is spoken, found by a CTC model in the process that holds torch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording
from voxtral_serverless.errors import StageFailed
from voxtral_serverless.reporting import unheard
from voxtral_serverless.torch_process import TorchProcess
from voxtral_serverless.transcription.aligner_models import AlignerFiles
from voxtral_serverless.transcription.alignment import placed, timed
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.spelling import Spelled, spelled
from voxtral_serverless.transcription.words import Word


class CtcAligner:
    """Aligns with one model for each language.

    Attributes:
        process: Where they run.
        models: By language.
    """

    def __init__(self, process: TorchProcess, models: dict[str, AlignerFiles]) -> None:
        self.process, self.models = process, models

    def knows(self, language: str) -> bool:
        """Whether there is a model for `language`."""
        return language in self.models

    async def align(
        self, recording: Recording, clips: Sequence[Clip], texts: Sequence[str], language: str
    ) -> list[tuple[Word, ...]]:
        """The words of the text of each clip of `recording`, with their times; none where they cannot be told.

        Raises:
            StageFailed: the process died, hung or failed twice over them.
        """
        model = self.models[language]
        words = await asyncio.to_thread(lambda: [spelled(text, model.alphabet, language) for text in texts])
        windows = [_window(recording, clip, of_clip) for clip, of_clip in zip(clips, words, strict=True)]
        answer = await self.process.ask("align", {"model": str(model.folder), "windows": windows}, unheard)
        if len(answer["windows"]) != len(clips):
            raise StageFailed("the aligner's answer is none.")
        return [
            placed(timed(of_clip, found, clip.sound_s), clip.pieces) if found is not None else ()
            for clip, of_clip, found in zip(clips, words, answer["windows"], strict=True)
        ]


def _window(recording: Recording, clip: Clip, words: Sequence[Spelled]) -> dict[str, object]:
    """What the process is told of a clip: where its sound is, in samples, and what is said in it."""
    file = recording.mix if clip.channel is None else recording.planes[clip.channel]
    pieces = [[round(piece.start * SAMPLE_RATE), round(piece.end * SAMPLE_RATE)] for piece in clip.pieces]
    return {"audio": str(file), "pieces": pieces, "spoken": [spoken for word in words for spoken in word.spoken]}
