"""Digits as they are said: in the number words of the Unicode CLDR (`unicode_rbnf`), whole, in groups or one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxtral_serverless.transcription.lexicons import Lexicon

if TYPE_CHECKING:
    from unicode_rbnf import RbnfEngine

MAX_NUMBER_DIGITS = 12
"""A longer number is read digit by digit. So is one without separators of …"""
LONG_DIGITS = 7
"""… so many digits: a customer's number, a telephone number."""


class Numbers:
    """The number words of a language; none where CLDR has none."""

    def __init__(self, language: str, lexicon: Lexicon) -> None:
        from unicode_rbnf import RbnfEngine

        known = language in RbnfEngine.get_supported_languages()
        self._engine: RbnfEngine | None = RbnfEngine.for_language(language) if known else None
        self._lexicon = lexicon

    def said(self, number: int, *rulesets: str) -> str:
        """The number by the first of CLDR's `rulesets`, without their "spellout-", that the language has."""
        for name in (*rulesets, "numbering", "cardinal"):
            if self._engine and f"spellout-{name}" in self._engine.rulesets:
                words = self._engine.format_number(number, ruleset_names=[f"spellout-{name}"]).text
                # French schools teach these hyphens since 1990; most people, and most models' texts, go without.
                return words.replace("-et-", " et ")
        return ""

    def digits(self, digits: str) -> str:
        """One by one."""
        return " ".join(self.said(int(digit)) for digit in digits)

    def whole(self, digits: str, *rulesets: str) -> str:
        """As one number, unless nobody would say it so."""
        return self.digits(digits) if len(digits) > MAX_NUMBER_DIGITS else self.said(int(digits), *rulesets)

    def plain(self, digits: str) -> str:
        """Digits that nothing tells about: a number, a year, a code."""
        if digits.startswith("0") or len(digits) >= (5 if self._lexicon.english else LONG_DIGITS):
            return self._code(digits)
        year = self._lexicon.old_years and 1100 <= int(digits) < 2100
        return self.said(int(digits), *(["numbering-year"] if year else []))

    def _code(self, digits: str) -> str:
        if not self._lexicon.numbers_by_group or (len(digits) >= LONG_DIGITS and len(digits) % 2):
            return self.digits(digits)
        if len(digits) > 3:
            return " ".join(self._code(digits[at : at + 2]) for at in range(0, len(digits), 2))
        rest = digits.lstrip("0")
        return f"{self.digits('0' * (len(digits) - len(rest)))} {self.whole(rest) if rest else ''}"

    def group(self, digits: str) -> str:
        """A part of a telephone number."""
        return self._code(digits) if self._lexicon.numbers_by_group else self.digits(digits)

    def fraction(self, mark: str, digits: str) -> str:
        """What is said behind the whole."""
        as_number = not self._lexicon.decimals_by_digit and len(digits) == 2 and not digits.startswith("0")
        return f"{self._lexicon.symbols.get(mark, '')} {self.whole(digits) if as_number else self.digits(digits)}"
