"""Changing an index: syncing it with folders, checking it, replacing it."""
