"""Candidates to scores."""
