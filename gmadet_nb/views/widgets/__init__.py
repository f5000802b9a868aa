"""Notebook widgets, their scripts and styles beside them."""
