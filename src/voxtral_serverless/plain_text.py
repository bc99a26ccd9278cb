"""Text as it can be seen: on one line, without characters that nobody sees and a machine reads."""

from __future__ import annotations

import re
import unicodedata

INVISIBLE_CATEGORIES = {"Cc", "Cf", "Co", "Cs"}
"""Controls, formats (zero width, direction, tags), private use, halves of characters."""
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\ufffe\uffff"
    "\U00016fe4\U0001d159\U000e0000-\U000e0fff]"
)
"""What is invisible in other categories: fillers, joiners, variation selectors, the plane of tags."""
JOINED = re.compile("(?<=[\u0600-\u06ff\u0900-\u0dff])[\u200c\u200d]|[\u0600-\u0605\u06dd]")
"""Formats that Arabic and Indian scripts are written with: joiners behind a letter, and signs that can be seen."""


def plain(text: str) -> str:
    """The text on one line, without what cannot be seen."""
    spaced = "".join(" " if character.isspace() else character for character in text)
    bare = INVISIBLE.sub("", spaced)
    needed = {match.start() for match in JOINED.finditer(bare)}
    seen = (
        one
        for index, one in enumerate(bare)
        if unicodedata.category(one) not in INVISIBLE_CATEGORIES or index in needed
    )
    return " ".join("".join(seen).split())
