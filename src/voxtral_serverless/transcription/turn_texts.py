"""The texts of clips, gathered into the utterances of their turns."""

from __future__ import annotations

from collections.abc import Sequence

from voxtral_serverless.diarization.turns import Speech, Turn
from voxtral_serverless.transcription.plan import Clip, Utterance, utterance_of
from voxtral_serverless.transcription.words import Word


class TurnTexts:
    """Gathers the texts of clips, which come in any order, into the utterances of their turns.

    Attributes:
        turns: How many turns there are.
        finished: How many of them have the texts of all their clips.
    """

    def __init__(self, turns: Sequence[Turn], clips: Sequence[Clip], speech: Speech) -> None:
        self.turns, self.finished = len(turns), 0
        self._turns, self._clips, self._speech = turns, clips, speech
        self._texts: list[str | None] = [None] * len(clips)
        self._clips_of: list[list[int]] = [[] for _ in turns]
        for index, clip in enumerate(clips):
            self._clips_of[clip.turn].append(index)

    def heard(self, index: int, text: str) -> Utterance | None:
        """Take the text of a clip; the utterance, where it was the last one of its turn."""
        self._texts[index] = text
        turn = self._clips[index].turn
        if any(self._texts[other] is None for other in self._clips_of[turn]):
            return None
        self.finished += 1
        return self.utterance(turn)

    @property
    def lost(self) -> int:
        """How many clips have no text."""
        return self._texts.count(None)

    def words(self, turn: int, of_clips: Sequence[tuple[Word, ...]]) -> tuple[Word, ...]:
        """The words of the turn, out of those of all clips; none where those of one of its texts are not known."""
        own = self._clips_of[turn]
        if any(self._texts[index] and not of_clips[index] for index in own):
            return ()
        return tuple(word for index in own for word in of_clips[index])

    def utterance(self, turn: int) -> Utterance:
        """The turn with what has been heard of it."""
        return utterance_of(self._turns[turn], [self._texts[index] for index in self._clips_of[turn]], self._speech)
