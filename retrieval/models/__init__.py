"""Model files: their metadata, and running them."""
