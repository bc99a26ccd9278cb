"""From a `Recording` to turns: who speaks when."""
