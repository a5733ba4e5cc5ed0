"""Weights that others have trained, and starting from weights."""
