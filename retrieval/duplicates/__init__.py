"""Copies among the photos of an index."""
