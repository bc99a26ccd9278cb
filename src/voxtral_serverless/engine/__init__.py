"""Voxtral on vLLM: its weights, its machine, its command, its process."""
