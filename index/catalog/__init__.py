"""What is stored of photos, in SQLite: the truth about an index."""
