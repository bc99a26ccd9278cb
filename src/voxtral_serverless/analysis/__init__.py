"""From utterances to a summary and the sentiment of the call."""
