"""The catalogue of photos, in SQLite, from which everything else in an index can be made."""
