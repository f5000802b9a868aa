"""Pixels to candidates."""
