"""The worker's log: one line an event on stderr, never a transcript, a token or the query of a URL."""

from __future__ import annotations

import logging


def set_up_logging(level: int = logging.WARNING) -> None:
    """Send our own log to stderr; other libraries speak up from warnings on."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("voxtral_serverless").setLevel(level)
