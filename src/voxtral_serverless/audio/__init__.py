"""From a URL, bytes or a file to a `Recording` and the stretches of speech in it."""
