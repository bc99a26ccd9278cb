"""The examination of a machine before the work: what the worker needs, whether it is there, and what to do where not."""
