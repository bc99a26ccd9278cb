"""Hostile media files, and what the jailed decoder makes of them."""
